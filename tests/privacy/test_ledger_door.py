"""The ledger for any events: `with ledger.reserve(events, dataset=, unit=, budget=)`, units apart, limits kept."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hedgerow.errors import HedgerowError, Misconfigured, Refused, Tampered
from hedgerow.privacy import (
    DiscreteGaussian,
    Event,
    Gaussian,
    Laplace,
    Ledger,
    Limit,
    SampledGaussian,
    Skellam,
    State,
    epsilon,
)
from hedgerow.privacy.export import as_csv, as_json, verified_export
from hedgerow.privacy.reading import read_ledger
from hedgerow.privacy.statement import standings

STEPS = SampledGaussian(q=0.1, noise_multiplier=2.0, steps=10)
EVENTS: list[Event] = [
    STEPS,
    Gaussian(noise_multiplier=5.0, steps=2),
    Laplace(scale=4.0),
    Skellam(variance=1e4, l1=30.0, l2=10.0),
    DiscreteGaussian(variance=1e4, l1=30.0, l2=10.0, dimension=9, parties=3),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def of(ledger: Ledger, unit: str = "record") -> float:
    return ledger.epsilon(dataset="ward-7", unit=unit, delta=1e-5)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_priced_with_the_others_and_reads_back(path: Path, event: Event) -> None:
    with Ledger(path) as ledger:
        for one in (STEPS, event):
            with ledger.reserve(one, dataset="ward-7", unit="record", budget=(50.0, 1e-5)) as reservation:
                reservation.release()
        assert ledger.events(dataset="ward-7") == (STEPS, event)
        assert of(ledger) == epsilon([STEPS, event], 1e-5)
        written = ledger.entries()
    with Ledger(path) as ledger:
        assert ledger.entries() == written and of(ledger) == epsilon([STEPS, event], 1e-5)


def test_leaving_without_release_takes_it_back_and_an_exception_after_it_does_not(path: Path) -> None:
    with Ledger(path) as ledger:
        with ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(5.0, 1e-5)):
            assert of(ledger) == epsilon([STEPS], 1e-5)
        with pytest.raises(RuntimeError), ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(5.0, 1e-5)):
            raise RuntimeError
        assert of(ledger) == 0.0 and ledger.events(dataset="ward-7") == ()
        for settle in ("release", "keep"):
            before = of(ledger)
            with pytest.raises(RuntimeError):
                with ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(5.0, 1e-5)) as reservation:
                    getattr(reservation, settle)()
                    raise RuntimeError
            assert of(ledger) > before


def test_units_have_accounts_of_their_own_and_one_release_may_cost_several_or_none(path: Path) -> None:
    both: dict[str, Event] = {"record": STEPS, "site": Gaussian(noise_multiplier=2.0)}
    with Ledger(path) as ledger:
        ledger.reserve(both, dataset="ward-7", budget={"record": (5.0, 1e-5), "site": (3.0, 1e-5)}).release()
        assert of(ledger) == epsilon([STEPS], 1e-5) and of(ledger, "site") == epsilon([both["site"]], 1e-5)
        assert of(ledger, "person") == 0.0
        before = ledger.head()
        with pytest.raises(Refused, match="E201.*per site"):
            ledger.reserve(both, dataset="ward-7", budget={"record": (5.0, 1e-5), "site": (2.1, 1e-5)})
        assert ledger.head() == before


def test_an_operators_limit_holds_beside_every_jobs_own(path: Path) -> None:
    one = epsilon([STEPS], 1e-5)
    with Ledger(path) as ledger:
        assert ledger.set_limit("ward-7", Limit(unit="record", epsilon=one, delta=1e-5)) is None
        ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(50.0, 1e-5)).release()
    with Ledger(path) as ledger:
        with pytest.raises(Refused, match="operator's limit"):
            ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(50.0, 1e-5))
        ledger.reserve(STEPS, dataset="ward-7", unit="site", budget=(50.0, 1e-5))
        ledger.set_limit("ward-7", Limit(unit="record", epsilon=9.0))
        ledger.reserve(STEPS, dataset="ward-7", unit="record", budget=(50.0, 1e-5))
        limits = [entry.limit for entry in ledger.entries() if entry.state is State.LIMITED]
    assert [limit.epsilon for limit in limits if limit is not None] == [one, 9.0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"budget": (0.0, 1e-5)}, "E103"),
        ({"budget": (float("nan"), 1e-5)}, "E103"),
        ({"budget": (1.0, 1.0)}, "E103"),
        ({"unit": "patient"}, "E104"),
        ({"dataset": ""}, "E103"),
        ({"relation": "replace_one", "accountant": "rdp"}, "E105"),
    ],
)
def test_nonsense_is_refused_and_charges_nothing(path: Path, changes: dict[str, object], code: str) -> None:
    asked = {"dataset": "ward-7", "unit": "record", "budget": (5.0, 1e-5), **changes}
    with Ledger(path) as ledger:
        before = ledger.head()
        with pytest.raises(Misconfigured, match=code):
            ledger.reserve(STEPS, **asked)  # type: ignore[call-overload]  # wrong on purpose
        assert ledger.head() == before


def test_numpys_numbers_are_written_as_plain_ones(path: Path) -> None:
    event = Gaussian(noise_multiplier=np.float32(2.1), steps=np.int64(3))  # type: ignore[arg-type]
    with Ledger(path) as ledger:
        ledger.reserve(event, dataset="ward-7", unit="record", budget=(50.0, 1e-5)).release()
        assert ledger.events(dataset="ward-7") == (event,)


def test_an_export_verifies_and_a_changed_one_does_not(path: Path, tmp_path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.reserve(STEPS, dataset="wärd,\n7", unit="record", budget=(5.0, 1e-5)).release()
    pages = read_ledger(path)
    for data in (as_csv(pages.rows), as_json(pages.rows, pages.head)):
        file = tmp_path / "export"
        file.write_bytes(data)
        assert verified_export(file) == pages.head
        file.write_bytes(data.replace(b"0.1", b"0.2"))
        with pytest.raises(Tampered, match="E402"):
            verified_export(file)
    (line,) = standings(pages.entries)
    assert (line.epsilon, line.charges, line.pending) == (epsilon([STEPS], 1e-5), 1, 0)


def test_a_kill_inside_the_block_keeps_the_charge(path: Path) -> None:
    code = (
        "import os, sys\nfrom hedgerow.privacy import Gaussian, Ledger\n"
        "with Ledger(sys.argv[1]) as ledger:\n"
        "    with ledger.reserve(Gaussian(noise_multiplier=5.0), dataset='ward-7', unit='record', budget=(5, 1e-5)):\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    with Ledger(path) as ledger:
        assert of(ledger) == epsilon([Gaussian(noise_multiplier=5.0)], 1e-5)


def test_a_file_that_is_no_ledger_is_named_when_it_is_only_read(path: Path) -> None:
    path.write_bytes(b"patients,ward\n" * 300)
    with pytest.raises(HedgerowError, match="E402"):
        read_ledger(path)
