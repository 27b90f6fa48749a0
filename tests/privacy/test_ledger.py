import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Exhausted, HedgerowError, Misconfigured, Refused, Tampered
from hedgerow.privacy import Charge, Ledger, Reservation, SampledGaussian, State, epsilon

DELTA = 1e-5
CHARGE = Charge(
    dataset="ward-7",
    noise_multiplier=2.0,
    sampling_rate=0.1,
    clip=1.0,
    steps=10,
    delta=DELTA,
    job="job-a",
    run="run-1",
    round=1,
    model="sha256:0",
    randomness="operating system generator",
)


def price(steps: int) -> float:
    return epsilon([SampledGaussian(q=0.1, noise_multiplier=2.0, steps=steps)], DELTA, "rdp")


def spent(ledger: Ledger, dataset: str = "ward-7") -> float:
    return ledger.spent(dataset, delta=DELTA).epsilon


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_reservation_counts_before_and_after_its_release(path: Path) -> None:
    with Ledger.open(path) as ledger:
        reservation = ledger.reserve(CHARGE, limit_epsilon=5.0)
        assert spent(ledger) == price(10)
        ledger.release(reservation)
        ledger.release(reservation)
        report = ledger.spent("ward-7", delta=DELTA)
    assert (report.epsilon, report.delta, report.events, report.steps) == (price(10), DELTA, 1, 10)


def test_rounds_jobs_and_restarts_add_up_as_one_composition(path: Path) -> None:
    last = 0.0
    for job in ("job-a", "job-b"):
        for number in range(3):
            with Ledger.open(path) as ledger:  # a new process each round: the price starts where it was
                assert spent(ledger) == last
                ledger.release(ledger.reserve(replace(CHARGE, job=job, round=number), limit_epsilon=9.0))
                last = spent(ledger)
    assert last == price(60)


def test_a_charge_over_the_limit_is_refused_and_leaves_no_trace(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.reserve(CHARGE, limit_epsilon=price(20))
        ledger.reserve(CHARGE, limit_epsilon=price(20))
        head = ledger.head()
        with pytest.raises(Refused) as caught:
            ledger.reserve(CHARGE, limit_epsilon=price(20))
        assert ledger.head() == head and spent(ledger) == price(20)
    assert caught.value.code == "E201"
    for fact in ("ward-7", f"{price(20):.4g}", f"{price(30):.4g}", f"{price(20):g}"):
        assert fact in caught.value.message


def test_a_limit_that_is_used_up_stays_used_up_for_a_job_with_a_larger_delta(path: Path) -> None:
    """ε falls as δ grows: the coordinator, who chooses a job's δ, must not gain steps by that, in either order."""
    loose = replace(CHARGE, delta=1e-2, job="job-b")
    with Ledger.open(path) as ledger:
        ledger.reserve(CHARGE, limit_epsilon=price(10))
        with pytest.raises(Refused, match="at delta 1e-05"):
            ledger.reserve(loose, limit_epsilon=price(10))
    with Ledger.open(path.with_name("other.sqlite")) as ledger:
        voided = ledger.reserve(CHARGE, limit_epsilon=price(10))
        ledger.void(voided)
        ledger.reserve(loose, limit_epsilon=price(9))  # what was voided promises nothing
        with pytest.raises(Refused):
            ledger.reserve(CHARGE, limit_epsilon=price(10))


def test_the_tighter_accountant_lets_a_job_in_that_the_cheap_one_refuses(path: Path) -> None:
    charge = replace(CHARGE, sampling_rate=1.0, noise_multiplier=5.0, steps=20)
    events = [charge.event()]
    limit = (epsilon(events, DELTA, "rdp") + epsilon(events, DELTA, "prv")) / 2
    with Ledger.open(path) as ledger:
        with pytest.raises(Refused):
            ledger.reserve(charge, limit_epsilon=limit, accountant="rdp")
        ledger.reserve(charge, limit_epsilon=limit, accountant="prv")
        assert ledger.spent("ward-7", delta=DELTA, accountant="prv").epsilon <= limit


def test_a_limit_that_is_not_a_number_and_a_step_without_noise_are_refused(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(Refused):
            ledger.reserve(CHARGE, limit_epsilon=math.nan)
        with pytest.raises(Refused):
            ledger.reserve(replace(CHARGE, noise_multiplier=0.0), limit_epsilon=1e9)
        assert spent(ledger) == 0.0


def test_only_a_reservation_of_which_nothing_left_can_be_voided(path: Path) -> None:
    with Ledger.open(path) as ledger:
        unused, used = (ledger.reserve(CHARGE, limit_epsilon=5.0) for _ in range(2))
        ledger.release(used)
        assert ledger.void(unused) and not ledger.void(used)
        assert ledger.void(unused)
        assert spent(ledger) == price(10)
        with pytest.raises(Refused, match="E204"):
            ledger.release(unused)
        assert [entry.state for entry in ledger.entries("ward-7")] == [
            State.RESERVED, State.RESERVED, State.RELEASED, State.VOIDED,
        ]  # fmt: skip


def test_a_reservation_of_another_ledger_is_refused(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.open(tmp_path / "other.sqlite", clock=lambda: 1.0) as other:
        reservation = ledger.reserve(CHARGE, limit_epsilon=5.0)
        other.reserve(CHARGE, limit_epsilon=5.0)
        for settle in (other.release, other.void):
            with pytest.raises(Refused, match="E204"):
                settle(reservation)


def test_a_repeated_real_release_is_charged_again(path: Path) -> None:
    with Ledger.open(path) as ledger:
        first, second = (ledger.reserve(CHARGE, limit_epsilon=5.0) for _ in range(2))
        assert first.fresh and second.fresh and first.seq != second.seq
        assert spent(ledger) == price(20)


def test_a_repeated_seeded_round_is_charged_once_if_nothing_about_it_changed(path: Path) -> None:
    seeded = replace(CHARGE, stream="seed 7, site 3, round 1", randomness="seeded generator")
    with Ledger.open(path) as ledger:
        first = ledger.reserve(seeded, limit_epsilon=5.0)
    with Ledger.open(path) as ledger:
        again = ledger.reserve(seeded, limit_epsilon=5.0)
        assert (again.seq, again.fresh) == (first.seq, False)
        assert not ledger.void(again)  # the first attempt may have let something out
        ledger.release(again)
        assert spent(ledger) == price(10)
        ledger.reserve(replace(seeded, noise_multiplier=2.5), limit_epsilon=5.0)
        ledger.reserve(replace(seeded, model="sha256:1"), limit_epsilon=5.0)
        assert ledger.spent("ward-7", delta=DELTA).steps == 30


def test_a_voided_seeded_round_is_charged_when_it_is_tried_again(path: Path) -> None:
    seeded = replace(CHARGE, stream="seed 7")
    with Ledger.open(path) as ledger:
        ledger.void(ledger.reserve(seeded, limit_epsilon=5.0))
        assert ledger.reserve(seeded, limit_epsilon=5.0).fresh
        assert spent(ledger) == price(10)


def test_data_sets_in_one_file_have_their_own_budgets(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.reserve(CHARGE, limit_epsilon=price(10))
        ledger.reserve(replace(CHARGE, dataset="ward-8"), limit_epsilon=price(10))
        assert spent(ledger) == spent(ledger, "ward-8") == price(10)
        assert spent(ledger, "never seen") == 0.0
        assert [entry.dataset for entry in ledger.entries("ward-8")] == ["ward-8"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "shuffle"},
        {"sampler": "none", "sampling_rate": 0.5},
        {"relation": "replace_one"},
        {"unit": "person"},
        {"mechanism": "laplace"},
    ],
)
def test_what_has_no_known_price_is_refused(changes: dict[str, str | float]) -> None:
    with pytest.raises(Misconfigured, match="E105"):
        replace(CHARGE, **changes)  # type: ignore[arg-type]  # wrong on purpose


def test_full_batches_are_charged_without_amplification(path: Path) -> None:
    shuffled = replace(CHARGE, sampler="none", sampling_rate=1.0)
    with Ledger.open(path) as ledger:
        ledger.reserve(shuffled, limit_epsilon=100.0)
        assert spent(ledger) > 3 * price(10)


@pytest.mark.parametrize(
    "changes", [{"clip": 0.0}, {"steps": 0}, {"delta": 1.0}, {"noise_multiplier": math.inf}, {"dataset": ""}]
)
def test_charges_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(Misconfigured, match=f"E103 {next(iter(changes))}"):
        replace(CHARGE, **changes)  # type: ignore[arg-type]  # wrong on purpose


def test_entries_read_back_as_they_were_written(path: Path) -> None:
    charge = replace(CHARGE, noise_multiplier=float(np.float32(1.1)), steps=np.int64(3), clip=1)  # type: ignore[arg-type]
    with Ledger.open(path, clock=lambda: 12.5) as ledger:
        reservation = ledger.reserve(charge, limit_epsilon=50.0)
        ledger.release(reservation)
        written = ledger.entries()
    with Ledger.open(path) as ledger:
        assert ledger.entries() == written
        assert (ledger.head().seq, ledger.head().hash) == (3, written[-1].hash)
    assert written[1].charge == charge and written[1].time == 12.5
    assert [entry.of for entry in written] == [0, 2, 2]


def test_the_file_says_whether_it_survives_a_power_loss(path: Path) -> None:
    for durable in (False, False, True):
        Ledger.open(path, durable=durable).close()
    with Ledger.open(path) as ledger:
        assert [entry.durable for entry in ledger.entries()] == [False, True]
        assert ledger._file.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def alter(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = replace(body, '\"steps\":10', '\"steps\":1') WHERE seq = 4",
        "UPDATE entries SET dataset = 'ward-8' WHERE seq = 2",
        "UPDATE entries SET state = 'voided' WHERE seq = 4",
        "UPDATE entries SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 1",
        "UPDATE entries SET seq = seq + 1 WHERE seq = 5",
        "INSERT INTO entries SELECT 6, dataset, state, body, hash FROM entries WHERE seq = 5",
    ],
)
def test_any_change_to_the_file_is_noticed_when_it_is_opened(path: Path, statement: str) -> None:
    with Ledger.open(path) as ledger:
        for _ in range(2):
            reservation = ledger.reserve(CHARGE, limit_epsilon=9.0)
            ledger.release(reservation)
    alter(path, statement)
    with pytest.raises(Tampered, match="E402"):
        Ledger.open(path)


@pytest.mark.parametrize("change", ["DELETE FROM entries", "UPDATE entries SET hash = 'x'"])
def test_a_ledger_in_use_notices_that_its_last_entry_changed(path: Path, change: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.reserve(CHARGE, limit_epsilon=9.0)
        alter(path, f"{change} WHERE seq = 2")
        actions: list[Callable[[], object]] = [
            lambda: ledger.reserve(CHARGE, limit_epsilon=9.0), lambda: ledger.spent("ward-7", delta=DELTA), ledger.head,
        ]  # fmt: skip
        for action in actions:
            with pytest.raises(Tampered, match="E402"):
                action()


def test_a_file_that_is_no_ledger_is_named_as_such(path: Path) -> None:
    path.write_bytes(b"patients,ward\n" * 300)
    with pytest.raises(Tampered, match="E402"):
        Ledger.open(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(Exhausted, match="E504"):
        Ledger.open(tmp_path / "missing" / "ledger.sqlite")
    with Ledger.open(path) as ledger:
        ledger._file.connection.execute("PRAGMA query_only = 1")
        with pytest.raises(Exhausted, match="E504"):
            ledger.reserve(CHARGE, limit_epsilon=5.0)


def test_a_full_disk_stops_the_reservation_and_keeps_what_was_charged(path: Path) -> None:
    with Ledger.open(path) as ledger:
        connection = ledger._file.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        charged = 0
        with pytest.raises(Exhausted, match="E503"):
            for charged in range(1000):
                ledger.reserve(CHARGE, limit_epsilon=1e9)
        assert ledger.spent("ward-7", delta=DELTA).events == charged > 0
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        ledger.reserve(CHARGE, limit_epsilon=1e9)
    with Ledger.open(path) as ledger:
        assert ledger.spent("ward-7", delta=DELTA).events == charged + 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_kill_between_reserve_and_release_keeps_the_charge(path: Path, durable: bool) -> None:
    code = (
        "import os, sys\n"
        "from hedgerow.privacy import Charge, Ledger\n"
        f"ledger = Ledger.open(sys.argv[1], durable={durable})\n"
        f"ledger.reserve({CHARGE!r}, limit_epsilon=5.0)\n"
        "print('reserved', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and done.stdout == "reserved\n"
    with Ledger.open(path) as ledger:
        assert spent(ledger) == price(10)
        assert [entry.state for entry in ledger.entries("ward-7")] == [State.RESERVED]


RACE = """
import os, sys
from hedgerow.errors import Refused
from hedgerow.privacy import Charge, Ledger
from hedgerow.privacy.accounting import rdp_curve
charge = eval(sys.argv[2], {"Charge": Charge})
rdp_curve(charge.noise_multiplier, charge.sampling_rate)
children = []
for number in range(50):
    child = os.fork()
    if not child:
        won = 0
        ledger = Ledger.open(sys.argv[1], durable=False)
        try:
            while True:
                ledger.release(ledger.reserve(charge, limit_epsilon=float(sys.argv[3])))
                won += 1
        except Refused:
            os._exit(won)
        finally:
            os._exit(255)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start fifty processes quickly")
def test_fifty_processes_racing_for_one_budget_never_overspend(path: Path) -> None:
    limit = price(10 * 23)
    done = subprocess.run(
        [sys.executable, "-c", RACE, str(path), repr(CHARGE), repr(limit)], capture_output=True, text=True, check=True
    )
    wins = json.loads(done.stdout)
    assert len(wins) == 50 and sum(wins) == 23
    with Ledger.open(path) as ledger:
        assert spent(ledger) == limit
        assert ledger.spent("ward-7", delta=DELTA).events == 23
        assert len(ledger.entries("ward-7")) == 46


def test_threads_of_one_process_share_a_ledger_without_overspending(path: Path) -> None:
    with Ledger.open(path, durable=False) as ledger, ThreadPoolExecutor(8) as pool:

        def attempt(_: int) -> bool:
            try:
                ledger.release(ledger.reserve(CHARGE, limit_epsilon=price(50)))
            except HedgerowError:
                return False
            return True

        assert sum(pool.map(attempt, range(40))) == 5
        assert spent(ledger) == price(50)


@settings(max_examples=15, deadline=None)
@given(
    moves=st.lists(st.tuples(st.sampled_from(["reserve", "release", "void", "reopen"]), st.integers(0, 5)), max_size=25)
)
def test_any_sequence_of_operations_counts_exactly_what_was_not_voided(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("moves") / "ledger.sqlite"
    ledger = Ledger.open(path, durable=False)
    reservations: list[Reservation] = []
    states: list[str] = []
    for move, which in moves:
        i = which % max(len(reservations), 1)
        if move == "reserve":
            reservations.append(ledger.reserve(CHARGE, limit_epsilon=1e6))
            states.append("reserved")
        elif move == "reopen":
            ledger.close()
            ledger = Ledger.open(path, durable=False)
        elif reservations and move == "void":
            assert ledger.void(reservations[i]) == (states[i] != "released")
            states[i] = "released" if states[i] == "released" else "voided"
        elif reservations and states[i] == "voided":
            with pytest.raises(Refused):
                ledger.release(reservations[i])
        elif reservations:
            ledger.release(reservations[i])
            states[i] = "released"
        counted = sum(state != "voided" for state in states)
        assert ledger.spent("ward-7", delta=DELTA).events == counted
        assert spent(ledger) == price(10 * counted)
    ledger.close()


def one_by_one(ledger: Ledger, charges: list[Charge], limits: list[float]) -> list[Reservation | Refused]:
    answers: list[Reservation | Refused] = []
    for charge, limit in zip(charges, limits, strict=True):
        try:
            answers.append(ledger.reserve(charge, limit_epsilon=limit))
        except Refused as refused:
            answers.append(refused)
    return answers


def said(answers: list[Reservation | Refused]) -> list[object]:
    """Answers without the place, which is the file's."""
    return [answer if isinstance(answer, Reservation) else (answer.code, answer.message) for answer in answers]


seeded_and_not = st.builds(
    lambda ward, noise, delta, stream: replace(
        CHARGE, dataset=f"ward-{ward}", noise_multiplier=noise, delta=delta, stream=stream
    ),
    st.integers(0, 2),
    st.sampled_from([2.0, 3.0, float(np.float32(2.1))]),
    st.sampled_from([1e-5, 1e-3]),
    st.sampled_from(["", "seed 7", "seed 8"]),
)
batch = st.lists(st.tuples(seeded_and_not, st.sampled_from([0.9, 1.3, 9.0])), max_size=6)
picks = st.lists(st.integers(0, 9), max_size=5)
moves_of_batches = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), batch),
        st.tuples(st.just("release"), picks),
        st.tuples(st.just("void"), picks),
        st.tuples(st.just("reopen"), st.just([])),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(moves=moves_of_batches)
def test_batches_write_the_entries_and_give_the_answers_of_single_calls(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, list[Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    paths = [folder / "single.sqlite", folder / "batched.sqlite"]
    single, batched = (Ledger.open(path, durable=False, clock=lambda: 7.0) for path in paths)
    kept: list[Reservation] = []
    for move, what in moves:
        if move == "reserve":
            charges, limits = [charge for charge, _ in what], [limit for _, limit in what]
            answers = batched.reserve_each(charges, limits=limits)
            assert said(answers) == said(one_by_one(single, charges, limits))
            kept += [answer for answer in answers if isinstance(answer, Reservation)]
        elif move == "release":
            chosen = [kept[i % len(kept)] for i in what if kept]
            try:
                batched.release_each(chosen)
                outcome = ""
            except Refused as refused:
                outcome = refused.message
            try:
                for one in chosen:
                    single.release(one)
                assert outcome == ""
            except Refused as refused:
                assert outcome == refused.message
        elif move == "void":
            for one in [kept[i % len(kept)] for i in what if kept]:
                assert single.void(one) == batched.void(one)
        else:
            single.close()
            batched.close()
            single, batched = (Ledger.open(path, durable=False, clock=lambda: 7.0) for path in paths)
        wards = [f"ward-{n}" for n in range(4)]
        assert batched.spent_each(wards, delta=DELTA) == [single.spent(ward, delta=DELTA) for ward in wards]
        assert batched.head() == single.head()
    assert batched.entries() == single.entries()
    single.close()
    batched.close()


def test_in_a_batch_the_refused_are_told_in_their_place_and_the_rest_is_reserved(path: Path) -> None:
    charges = [replace(CHARGE, dataset=f"ward-{n}") for n in (7, 8, 7, 9)]
    with Ledger.open(path) as ledger:
        first, second, third, fourth = ledger.reserve_each(charges, limits=[price(10), price(5), price(10), price(10)])
        assert isinstance(first, Reservation) and isinstance(fourth, Reservation)
        assert isinstance(second, Refused) and isinstance(third, Refused)  # ward 7 has spent its limit in this batch
        assert (second.code, third.code, third.place) == ("E201", "E201", str(path))
        assert [entry.dataset for entry in ledger.entries()][1:] == ["ward-7", "ward-9"]
        assert [one.events for one in ledger.spent_each(["ward-7", "ward-8", "ward-9"], delta=DELTA)] == [1, 0, 1]


def test_a_seeded_charge_twice_in_a_batch_is_charged_once(path: Path) -> None:
    seeded = replace(CHARGE, stream="seed 7")
    with Ledger.open(path) as ledger:
        first, again = ledger.reserve_each([seeded, seeded], limits=[5.0, 5.0])
        assert isinstance(first, Reservation) and isinstance(again, Reservation)
        assert (first.seq, first.fresh, again.seq, again.fresh) == (first.seq, True, first.seq, False)
        ledger.release_each([first, again, first])
        assert [entry.state for entry in ledger.entries("ward-7")] == [State.RESERVED, State.RELEASED]


def test_a_seeded_charge_that_was_released_is_known_again_after_a_restart(path: Path) -> None:
    seeded = replace(CHARGE, stream="seed 7")
    with Ledger.open(path) as ledger:
        first = ledger.reserve(seeded, limit_epsilon=5.0)
        ledger.release(first)
        assert ledger.reserve(seeded, limit_epsilon=5.0) == replace(first, fresh=False)
    with Ledger.open(path) as ledger:
        assert ledger.reserve(seeded, limit_epsilon=5.0) == replace(first, fresh=False)
        ledger.release(first)
        assert not ledger.void(first)
        assert len(ledger.entries("ward-7")) == 2


def test_a_batch_that_meets_a_full_disk_charges_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        before = ledger.head()
        connection = ledger._file.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(Exhausted, match="E503"):
            ledger.reserve_each([CHARGE] * 100, limits=[1e9] * 100)
        assert ledger.head() == before and ledger.spent("ward-7", delta=DELTA).events == 0
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        ledger.reserve_each([CHARGE] * 100, limits=[1e9] * 100)
    with Ledger.open(path) as ledger:
        assert ledger.spent("ward-7", delta=DELTA).events == 100


def test_a_batch_with_another_number_of_limits_is_refused_and_an_empty_one_changes_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        with pytest.raises(Misconfigured, match="E126"):
            ledger.reserve_each([CHARGE], limits=[])
        before = ledger.head()
        assert ledger.reserve_each([], limits=[]) == [] and ledger.spent_each([], delta=DELTA) == []
        ledger.release_each([])
        assert ledger.head() == before


def test_a_charge_in_numpys_numbers_is_counted_as_it_reads_back(path: Path) -> None:
    charge = replace(CHARGE, noise_multiplier=np.float32(2.1), steps=np.int64(10))  # type: ignore[arg-type]
    with Ledger.open(path) as ledger:
        ledger.reserve_each([charge] * 3, limits=[9.0] * 3)
        counted = spent(ledger)
    with Ledger.open(path) as ledger:
        assert spent(ledger) == counted


def test_what_is_kept_in_memory_does_not_grow_with_released_rounds(path: Path) -> None:
    with Ledger.open(path, durable=False) as ledger:
        for number in range(3):
            charges = [replace(CHARGE, dataset=f"ward-{n}", round=number) for n in range(20)]
            answers = ledger.reserve_each(charges, limits=[9.0] * 20)
            ledger.release_each([answer for answer in answers if isinstance(answer, Reservation)])
            book = ledger._file.book
            assert (len(book.open), len(book.voided), len(book.streams), len(book.accounts)) == (0, 0, 0, 20)
