"""Sweeps from Python: finished runs never run again, failed ones do not stop the others, nothing random is shared."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from hedgerow import Job, Privacy, Run, Scenario, Task, simulate, sweep
from hedgerow.errors import Exhausted, Misconfigured, Tampered
from hedgerow.simulations.sweeps import Step, Sweep, SweepFolder, resume_sweep

GRID = {"local.lr": [0.1, 0.5]}


class Interrupt:
    """A listener that raises at the n-th event of a kind: Ctrl-C, unless it is told what."""

    def __init__(self, kind: str, number: int, error: type[BaseException] | BaseException = KeyboardInterrupt) -> None:
        self._kind = kind
        self._left = number
        self._error = error

    def __call__(self, event: Mapping[str, Any]) -> None:
        self._left -= event["event"] == self._kind
        if self._left == 0:
            self._left = -1
            raise self._error


def states(path: Path) -> dict[Path, tuple[int, int]]:
    """Each file's time and size, without what a lock or a reading database touches."""
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".lock", "ledger."))]
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


def models(done: Sweep) -> dict[str, str]:
    return {name: run.model_sha256 for name, run in done.runs.items()}


def test_each_run_is_what_it_would_be_alone(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    done = sweep(job, task, grid=GRID, seeds=2, scenario=scenario, runs=tmp_path)
    assert (done.status, done.done, len(done.rows)) == ("finished", 4, 2)
    for cell in done.folder.cells:
        alone = simulate(cell.job, task, scenario=cell.scenario, runs=tmp_path / "alone")
        assert models(done)[cell.name] == alone.model_sha256


def test_only_the_job_differs_between_cells_of_one_seed(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    scenario = scenario.override({"attack": "sign-flip", "attackers": 1})
    done = sweep(job, task, grid={"aggregate.rule": ["mean", "median"]}, seeds=2, scenario=scenario, runs=tmp_path)
    told: dict[int, set[str]] = {}
    for run in done.runs.values():
        (start,) = run.events("run-started")
        told.setdefault(start["scenario"]["seed"], set()).add(json.dumps(start["scenario"], sort_keys=True))
    assert {seed: len(scenarios) for seed, scenarios in told.items()} == {4: 1, 5: 1}


@pytest.mark.parametrize(("kind", "number"), [("round-closed", 5), ("run-started", 3), ("run-finished", 2)])
def test_a_stopped_sweep_goes_on_without_running_anything_twice(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, kind: str, number: int
) -> None:
    whole = sweep(job, task, grid=GRID, seeds=2, scenario=scenario, runs=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sweep(
            job,
            task,
            grid=GRID,
            seeds=2,
            scenario=scenario,
            runs=tmp_path / "stopped",
            listeners=[Interrupt(kind, number)],
        )
    (path,) = (tmp_path / "stopped").iterdir()
    stopped = Sweep(path)
    finished = [run.name for run in stopped.outcomes if run.done]
    assert stopped.status == "unfinished" and stopped.report.exists()
    assert 0 < len(finished) < 4
    whole_ones = [name for name in finished if (path / "cells" / name / "report.html").exists()]
    before = {name: states(path / "cells" / name) for name in whole_ones}

    started: list[str] = []

    def hear(event: Mapping[str, Any]) -> None:
        if event["event"] in ("run-started", "run-resumed"):
            started.append(event["event"])

    done = resume_sweep(stopped.folder, task, listeners=[hear])
    assert {name: states(path / "cells" / name) for name in whole_ones} == before
    assert all((path / "cells" / name / "report.html").exists() for name in finished)
    assert len(started) <= 4 - len(finished)
    assert models(done) == models(whole)
    assert done.status == "finished"
    assert [row["mean"] for row in done.table] == [row["mean"] for row in whole.table]


def test_a_run_that_was_interrupted_goes_on_from_its_checkpoint(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path, listeners=[Interrupt("evaluated", 2)])
    (path,) = tmp_path.iterdir()
    assert Run(path / "cells" / "seed-4").status == "interrupted"
    resume_sweep(SweepFolder.open(path), task)
    assert [event["after_round"] for event in Run(path / "cells" / "seed-4").events("run-resumed")] == [1]


@pytest.mark.parametrize(("kind", "number"), [("round-closed", 3), ("run-finished", 1), ("run-started", 2)])
def test_a_sweep_that_was_killed_ends_as_one_that_was_not(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, kind: str, number: int
) -> None:
    whole = sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path / "whole")
    left = number

    def kill(event: Mapping[str, Any]) -> None:
        nonlocal left
        left -= event["event"] == kind
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path / "killed", listeners=[kill])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    (path,) = (tmp_path / "killed").iterdir()
    assert Sweep(path).status == "unfinished"
    done = resume_sweep(SweepFolder.open(path), task)
    assert (done.status, models(done)) == ("finished", models(whole))


def test_a_finished_sweep_is_left_as_it_is(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    done = sweep(job, task, grid=GRID, scenario=scenario, runs=tmp_path)
    before = states(done.path / "cells")
    assert resume_sweep(done.folder, task).status == "finished"
    assert states(done.path / "cells") == before


def test_a_folder_that_a_kill_left_before_it_had_its_job_is_made_again(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path, listeners=[Interrupt("run-started", 1)])
    (path,) = tmp_path.iterdir()
    (path / "cells" / "seed-5" / "models").mkdir(parents=True)
    assert resume_sweep(SweepFolder.open(path), task).done == 2


def test_a_gate_that_fails_is_written_down_and_the_sweep_goes_on(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    gates = {"leakage.gate": ["auc <= 0.01", "auc <= 1"]}
    steps: list[Step[SweepFolder]] = []
    done = sweep(job, task, grid=gates, seeds=2, scenario=scenario, runs=tmp_path, told=steps.append)
    assert (done.status, done.done) == ("failed", 4)
    first, second = done.table
    assert (first["failed"], second["failed"]) == ({4: "E507", 5: "E507"}, {})
    assert (first["seeds"], first["mean"]) == (2, second["mean"])
    assert [step.error is not None for step in steps] == [False, True, False, True, False]
    assert resume_sweep(done.folder, task).status == "failed"


def test_a_run_whose_rounds_release_nothing_does_not_stop_the_others(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    job = job.override({"rounds": 4})
    done = sweep(job, task, grid={"local.lr": [0.1, 1e39]}, scenario=scenario, runs=tmp_path)
    good, bad = done.table
    assert (good["failed"], bad["failed"]) == ({}, {4: "E501"})
    assert (good["seeds"], bad["seeds"], bad["mean"]) == (1, 0, None)
    assert done.failed[0].reason


def test_what_keeps_a_run_from_having_a_folder_stops_the_sweep(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **named: Any) -> Run:
        raise Misconfigured("E105", "not this one")

    monkeypatch.setattr("hedgerow.simulations.sweeps.through.simulate", refused)
    with pytest.raises(Misconfigured):
        sweep(job, task, scenario=scenario, runs=tmp_path)


def test_a_mistake_in_the_users_code_is_one_failed_run_each(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def metrics(logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ZeroDivisionError("record 42")
        return {"accuracy": 0.5}

    monkeypatch.setattr(task, "metrics", metrics)
    done = sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path)
    assert done.table[0]["failed"] == {4: "E900"}
    assert "record 42" not in done.report.read_text(encoding="utf-8")
    assert resume_sweep(done.folder, task).status == "finished"  # what failed is tried again


def test_a_full_disk_stops_the_sweep_and_it_goes_on_when_there_is_room(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    full = Interrupt("round-closed", 3, Exhausted("E503", "no space left"))
    with pytest.raises(Exhausted) as caught:
        sweep(job, task, seeds=3, scenario=scenario, runs=tmp_path, listeners=[full])
    assert caught.value.code == "E503"
    (path,) = tmp_path.iterdir()
    assert [run.status for run in Sweep(path).outcomes] == ["finished", "failed", "waiting"]
    assert resume_sweep(SweepFolder.open(path), task).status == "finished"


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"grid": {"local.lrr": [1]}}, "E101", "local.lrr"),
        ({"grid": {"local.lr": [0.1, -1]}}, "E103", "cell local.lr=-1 seed=4"),
        ({"grid": {"cohort.quorum": [2, 9]}}, "E105", "cell cohort.quorum=9 seed=4, cohort.quorum"),
        ({"grid": {"split": ["iid", "nonsense"]}}, "E103", "cell split=nonsense seed=4"),
        ({"seeds": 0}, "E103", "seeds"),
        ({"engine": "coohrt"}, "E103", "engine"),
        ({"engine": "in-process", "grid": {"dropout": [0.0, 0.1]}}, "E105", "cell dropout=0.1 seed=4, engine"),
    ],
)
def test_what_is_wrong_with_any_cell_is_told_before_anything_is_written(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, changes: dict[str, Any], code: str, place: str
) -> None:
    if "split" in changes.get("grid", {}):
        from hedgerow.tasks import breast_cancer

        task = breast_cancer()
    with pytest.raises(Misconfigured) as caught:
        sweep(job, task, scenario=scenario, runs=tmp_path / "runs", **changes)
    assert caught.value.code == code
    assert caught.value.place.startswith(place)
    assert not (tmp_path / "runs").exists()


def test_the_check_looks_at_every_seed(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    seen = []

    class Late(type(task)):  # type: ignore[misc]  # the fixture's own class
        def held_out(self) -> Any:
            seen.append(1)
            return super().held_out()

    job = job.override({"rounds": 1})
    sweep(job, Late(), seeds=2, scenario=scenario, runs=tmp_path / "two")
    twice = len(seen)
    seen.clear()
    sweep(job, Late(), seeds=4, scenario=scenario, runs=tmp_path / "four")
    assert len(seen) == 2 * twice


def test_another_run_in_a_cells_place_is_noticed(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    done = sweep(job, task, seeds=2, scenario=scenario, runs=tmp_path)
    cells = done.path / "cells"
    (cells / "seed-4").rename(cells / "kept")
    (cells / "seed-5").rename(cells / "seed-4")
    with pytest.raises(Tampered) as caught:
        resume_sweep(done.folder, task)
    assert caught.value.code == "E401"


def test_a_sweep_runs_once_at_a_time(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    done = sweep(job, task, scenario=scenario, runs=tmp_path)
    with done.folder.lock(), pytest.raises(Exhausted) as caught:
        resume_sweep(done.folder, task)
    assert caught.value.code == "E506"


def test_the_steps_count_the_runs_and_say_what_is_left(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    steps: list[Step[SweepFolder]] = []
    sweep(job, task, grid=GRID, seeds=2, scenario=scenario, runs=tmp_path, told=steps.append)
    assert [step.done for step in steps] == [0, 1, 2, 3, 4]
    assert steps[0].cell is None and steps[-1].left == 0
    assert all(step.left is not None and step.left >= 0 for step in steps[1:])


def test_a_private_sweep_says_what_each_cell_spent(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    private = Privacy(unit="record", epsilon=3.0, delta=1e-3)
    job = Job(rounds=1, cohort=job.cohort, privacy=private, aggregate=job.aggregate, secure=job.secure)
    done = sweep(job, task, grid={"privacy.epsilon": [1, 8]}, scenario=scenario, runs=tmp_path)
    spent = [row["epsilon"] for row in done.table]
    assert isinstance(spent[0], float) and isinstance(spent[1], float)
    assert 0 < spent[0] <= 1 < spent[1] <= 8
