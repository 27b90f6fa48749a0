"""What keeps the cohort engine from training is refused before anything is written, also where a run goes on."""

from pathlib import Path
from typing import Any

import pytest
from tests.simulations.halves import Halves

from hedgerow import Aggregate, Cohort, Job, Privacy, Run, Scenario, Secure
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.events import Listener
from hedgerow.runs import RunFolder
from hedgerow.simulations import resume, simulate
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.sweeps import sweep

JOB = Job(
    rounds=3,
    cohort=Cohort(quorum=2),
    privacy=Privacy(unit="none"),
    aggregate=Aggregate(rule="mean", before="none", byzantine=0),
    secure=Secure(mode="off"),
)
SCENARIO = Scenario(sites=3)


def stopped(runs: Path, *, path: str = "") -> RunFolder:
    """A run that was stopped after its first round, and told that it was trained by `path`."""

    def stop(event: Any) -> None:
        if event["event"] == "round-closed":
            raise Exhausted("E501", "enough")

    listeners: list[Listener] = [stop]
    with pytest.raises(Exhausted):
        simulate(JOB, Halves(), scenario=SCENARIO, runs=runs, name="run", listeners=listeners)
    log = runs / "run" / "events.jsonl"
    if path:
        log.write_text(log.read_text().replace('"path":"layers"', f'"path":"{path}"'))
    return RunFolder.open(runs / "run")


@pytest.mark.parametrize(
    ("limits", "code", "place"), [({"memory": 100}, "E105", "memory"), ({"workers": 0}, "E103", "workers")]
)
def test_a_new_run_that_does_not_fit_leaves_nothing_behind(
    limits: dict[str, int], code: str, place: str, tmp_path: Path
) -> None:
    heard: list[Any] = []
    with pytest.raises(Misconfigured) as caught:
        simulate(JOB, Halves(), scenario=SCENARIO, runs=tmp_path / "runs", listeners=[heard.append], **limits)  # type: ignore[arg-type]  # one of two keys
    assert (caught.value.code, caught.value.place) == (code, place)
    assert not (tmp_path / "runs").exists() and heard == []


def test_enough_memory_trains_the_same_model(tmp_path: Path) -> None:
    runs = [
        simulate(JOB, Halves(), scenario=SCENARIO, runs=tmp_path, name=f"run-{memory}", memory=memory)
        for memory in (None, 10**9)
    ]
    assert runs[0].model_sha256 == runs[1].model_sha256


def test_a_sweep_that_does_not_fit_names_the_cell_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        sweep(JOB, Halves(), grid={"rounds": [1, 2]}, scenario=SCENARIO, runs=tmp_path / "runs", memory=100)
    assert (caught.value.code, caught.value.place) == ("E105", "cell rounds=1 seed=0, memory")
    assert not (tmp_path / "runs").exists()


def test_a_sweep_whose_trace_is_missing_leaves_nothing_behind(tmp_path: Path) -> None:
    lost = Scenario(sites=3, availability=f"trace:{tmp_path}/lost.csv", latency="constant:1")
    with pytest.raises(Misconfigured) as caught:
        sweep(JOB, Halves(), grid={"rounds": [1, 2]}, scenario=lost, runs=tmp_path / "runs")
    assert caught.value.code == "E120" and caught.value.place.startswith("cell rounds=1 seed=0")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_goes_on_with_too_little_memory_stays_as_it_was(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    before = folder.events.read_bytes()
    with pytest.raises(Misconfigured) as caught:
        resume(folder, Halves(), memory=100)
    assert caught.value.code == "E105" and folder.events.read_bytes() == before
    assert resume(folder, Halves()).status == "finished"


def test_a_run_of_the_kernel_goes_on_only_where_it_is_installed_and_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped(tmp_path, path="kernel")
    before = folder.events.read_bytes()
    monkeypatch.setattr(kernel, "available", lambda: False)
    with pytest.raises(Misconfigured) as caught:
        resume(folder, Halves())
    assert caught.value.code == "E107" and "pip install 'hedgerow[fast]'" in caught.value.hint
    assert folder.events.read_bytes() == before and Run(folder.path).status == "failed"


def test_a_path_that_is_not_right_any_more_is_refused_and_the_run_stays_as_it_was(tmp_path: Path) -> None:
    folder = stopped(tmp_path, path="elsewhere")
    before = folder.events.read_bytes()
    with pytest.raises(Misconfigured):
        resume(folder, Halves())
    assert folder.events.read_bytes() == before
