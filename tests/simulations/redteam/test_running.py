"""Red teams from Python: finished runs never run again, every run is what it would be alone, mistakes come first."""

import math
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.simulations.halves import Halves

from hedgerow import Job, Scenario, Site, Task, simulate
from hedgerow.errors import Exhausted, Misconfigured, Tampered
from hedgerow.simulations.redteam import RedTeam, RedTeamFolder, attack, resume_attack
from hedgerow.simulations.sweeps.batch import Step

TRIED: dict[str, Any] = {"attacks": ["sign-flip:9", "label-flip"], "defences": ["mean"], "f": [1], "splits": ["iid"]}


def states(path: Path) -> dict[Path, tuple[int, int]]:
    """Each file's time and size, without what a lock or a reading database touches."""
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".lock", "ledger."))]
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


def models(found: RedTeam) -> dict[str, str]:
    return {name: run.model_sha256 for name, run in found.runs.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RedTeam:
    """One that was not stopped."""
    from hedgerow import Aggregate, Cohort, Privacy, Secure

    job = Job(
        rounds=2,
        cohort=Cohort(quorum=2),
        privacy=Privacy(unit="none"),
        aggregate=Aggregate(rule="median", before="none", byzantine=1),
        secure=Secure(mode="off"),
    )
    runs = tmp_path_factory.mktemp("whole")
    return attack(job, Halves(), seeds=2, scenario=Scenario(sites=5, seed=4), runs=runs, **TRIED)


def test_each_run_is_what_it_would_be_alone(tmp_path: Path, whole: RedTeam, task: Task) -> None:
    assert (whole.status, whole.done) == ("finished", 2 * (1 + 2 * 3))
    for cell in whole.folder.cells[:7]:
        alone = simulate(cell.job, task, scenario=cell.scenario, runs=tmp_path)
        assert models(whole)[cell.name] == alone.model_sha256
        (run,) = (run for run in whole.outcomes if run.name == cell.name)
        assert run.value == alone.final["accuracy"]


def test_the_table_has_a_line_per_pair_and_the_worst_is_its_least(whole: RedTeam) -> None:
    assert [(row["defence"], row["attack"]) for row in whole.table] == [
        (defence, name) for defence in ("median", "mean") for name in ("none", "sign-flip:9", "label-flip")
    ]
    for worst in whole.worst:
        lowest = {row["attack"]: row["lowest"] for row in whole.table if row["defence"] == worst["defence"]}
        attacked = {name: value for name, value in lowest.items() if name != "none"}
        assert worst["worst"] == min(attacked.values()) and worst["by"] in attacked  # type: ignore[type-var]
    assert whole.recommended is not None and whole.recommended.defence == "median"


def test_only_the_runs_behind_the_worst_cases_have_a_report(whole: RedTeam) -> None:
    drawn = {path.parent.name for path in whole.path.glob("cells/*/report.html")}
    assert len(drawn) == len(whole.worst) == 2
    assert all(not run.leakage for run in whole.runs.values())
    page = whole.report.read_text(encoding="utf-8")
    assert all(f"cells/{name}/report.html" in page for name in drawn)


@pytest.mark.parametrize(("kind", "number"), [("round-closed", 7), ("run-started", 3), ("run-finished", 5)])
def test_one_that_was_killed_ends_as_one_that_was_not_and_repeats_nothing(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, whole: RedTeam, kind: str, number: int
) -> None:
    left = number

    def kill(event: Mapping[str, Any]) -> None:
        nonlocal left
        left -= event["event"] == kind
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            attack(job, task, seeds=2, scenario=scenario, runs=tmp_path, listeners=[kill], **TRIED)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    (path,) = tmp_path.iterdir()
    stopped = RedTeam(path)
    assert stopped.status == "unfinished" and stopped.recommended is None
    finished = [run.name for run in stopped.outcomes if run.done]
    assert 0 < len(finished) < 14
    before = {name: states(path / "cells" / name) for name in finished}

    begun: list[str] = []

    def hear(event: Mapping[str, Any]) -> None:
        begun.extend([event["event"]] if event["event"] in ("run-started", "run-resumed") else [])

    done = resume_attack(stopped.folder, task, listeners=[hear])
    assert len(begun) == 14 - len(finished)
    drawn = {file: state for name in finished for file, state in states(path / "cells" / name).items()}
    assert all(drawn[file] == state for each in before.values() for file, state in each.items())
    assert {file.name for file in drawn.keys() - {f for each in before.values() for f in each}} <= {
        "report.html",
        "report.json",
    }  # a run behind a worst case
    assert (done.status, models(done)) == ("finished", models(whole))
    assert strip(done.table) == strip(whole.table) and strip(done.worst) == strip(whole.worst)


def strip(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Without what a clock said."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_ctrl_c_leaves_a_page_that_says_what_is_missing(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    heard = 0

    def press(event: Mapping[str, Any]) -> None:
        nonlocal heard
        heard += event["event"] == "run-finished"
        if heard == 3:
            heard += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack(
            job,
            task,
            seeds=1,
            scenario=scenario,
            runs=tmp_path,
            gates=["worst.accuracy >= 0"],
            listeners=[press],
            **TRIED,
        )
    (path,) = tmp_path.iterdir()
    stopped = RedTeam(path)
    assert not any(gate.passed for gate in stopped.gates)
    page = stopped.report.read_text(encoding="utf-8")
    assert f"hedgerow resume {stopped.name}" in page and "worse may come" in page
    done = resume_attack(RedTeamFolder.open(path), task)
    assert done.status == "finished" and all(gate.passed for gate in done.gates)


def test_a_finished_one_is_left_as_it_is(whole: RedTeam, task: Task) -> None:
    before = states(whole.path / "cells")
    assert resume_attack(whole.folder, task).status == "finished"
    assert states(whole.path / "cells") == before


def test_an_attack_that_destroys_the_model_is_the_worst_case_and_no_error(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def metrics(logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return {"accuracy": math.nan if logits.abs().max() > 1e6 else float((logits.argmax(1) == y).double().mean())}

    monkeypatch.setattr(task, "metrics", metrics)
    found = attack(
        job,
        task,
        attacks=["gaussian:1e9"],
        defences=["mean"],
        seeds=1,
        scenario=scenario,
        gates=["worst.accuracy >= 0.5"],
        runs=tmp_path,
        splits=["iid"],
    )
    own, mean = found.worst
    assert own["lost"] == 0 and own["worst"] is not None
    assert (mean["worst"], mean["by"], mean["lost"]) == (None, "gaussian:1e9", 1)
    assert "no model" in found.report.read_text(encoding="utf-8")


def test_a_defence_whose_precondition_does_not_hold_is_not_run_nor_recommended(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    found = attack(
        job, task, attacks=["label-flip"], defences=["krum"], f=[2], seeds=1, scenario=scenario, runs=tmp_path
    )
    own, krum = found.worst
    assert own["worst"] is not None and own["unfit"] == ""
    assert krum["worst"] is None and "it needs 7 updates a round" in str(krum["unfit"])
    assert found.recommended is not None and found.recommended.defence == "median"
    assert {row["defence"] for row in found.table} == {"median"}
    assert "krum was not run" in found.report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"attacks": ["sing-flip"]}, "E103", "attacks"),
        ({"attacks": []}, "E103", "attacks"),
        ({"attacks": ["badnets:0.5,7"]}, "E103", "cell split=iid f=1 defence=median attack=badnets:0.5,7"),
        ({"defences": ["trimed-mean"]}, "E103", "defences"),
        ({"defences": ["krum"], "f": [3]}, "E105", "defences"),
        ({"f": [0]}, "E103", "f"),
        ({"f": [1, 1]}, "E105", "f"),
        ({"f": [6]}, "E105", "f"),
        ({"f": []}, "E103", "f"),
        ({"splits": []}, "E103", "splits"),
        ({"splits": ["iid", "iid"]}, "E105", "splits"),
        ({"splits": ["iid", "labels:1"]}, "E105", "splits"),
        ({"splits": ["nonsense"]}, "E103", "split"),
        ({"seeds": 0}, "E103", "seeds"),
        ({"gates": ["worst.acuracy >= 0.8"]}, "E103", "gate"),
        ({"gates": ["worst.accuracy >= 0.1", "backdoor.success <= 0.5"]}, "E105", "gate"),
        ({"engine": "coohrt"}, "E103", "engine"),
        ({"defences": ["mean|update_momentum=2"]}, "E103", "defences"),
        ({"defences": ["median|cohort.quorum=9"]}, "E105", "cell split=iid"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, changes: dict[str, Any], code: str, place: str
) -> None:
    with pytest.raises(Misconfigured) as caught:
        attack(job, task, scenario=scenario, runs=tmp_path / "runs", **{**TRIED, **changes})
    assert (caught.value.code, caught.value.place[: len(place)]) == (code, place)
    assert not (tmp_path / "runs").exists()


def test_a_job_that_measures_nothing_is_refused(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    with pytest.raises(Misconfigured) as caught:
        attack(job.override({"evaluate": "none"}), task, scenario=scenario, runs=tmp_path / "runs", **TRIED)
    assert (caught.value.code, caught.value.place) == ("E105", "evaluate")


def test_a_gate_on_backdoors_that_nobody_tries_is_refused(tmp_path: Path, job: Job, scenario: Scenario) -> None:
    tried = {**TRIED, "attacks": ["badnets"], "gates": ["backdoor.success <= 0.5"]}
    with pytest.raises(Misconfigured) as caught:
        attack(job.override({"evaluate": "sites"}), Halves(own=8), scenario=scenario, runs=tmp_path / "runs", **tried)
    assert (caught.value.code, caught.value.place) == ("E105", "gate") and "evaluate" in caught.value.message
    found = attack(job, Halves(), scenario=scenario, runs=tmp_path / "runs", seeds=1, **tried)
    assert found.gates[0].measured is not None


def test_a_job_in_which_nothing_is_learned_is_said_to_tell_no_defence_from_another(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    labels = np.concatenate([task.data(Site(name=str(k), index=k, count=5)).train.y for k in range(5)])
    tried = {**TRIED, "attacks": ["label-flip"]}
    for changes, learns in (({"local.lr": 1e-6}, False), ({"local.lr": 0.5, "rounds": 10}, True)):
        found = attack(job.override(changes), task, seeds=1, scenario=scenario, runs=tmp_path, **tried)
        assert found.summary.guessing == {"iid": pytest.approx(np.bincount(labels).max() / 150)}
        page = found.report.read_text(encoding="utf-8")
        assert ("Even the plain mean that nobody attacks reaches only accuracy" in page) is not learns


def test_a_task_that_holds_nothing_out_is_refused(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(task), "held_out", lambda self: None)
    with pytest.raises(Misconfigured) as caught:
        attack(job, task, scenario=scenario, runs=tmp_path / "runs", **TRIED)
    assert (caught.value.code, caught.value.place) == ("E105", "evaluate")


def test_the_number_of_hostile_sites_is_the_scenarios_or_else_what_the_job_was_told(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    tried = {**TRIED, "attacks": ["label-flip"], "f": None}
    hostile = scenario.override({"attack": "sign-flip", "attackers": 2})
    assert attack(job, task, seeds=1, scenario=hostile, runs=tmp_path, **tried).folder.f == (2,)
    assert attack(job, task, seeds=1, scenario=scenario, runs=tmp_path, **tried).folder.f == (1,)


def test_another_run_in_a_cells_place_is_noticed(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    done = attack(job, task, seeds=1, scenario=scenario, runs=tmp_path, **TRIED)
    cells = done.path / "cells"
    (cells / "mean_none_seed-4").rename(cells / "kept")
    (cells / "mean_label-flip_seed-4").rename(cells / "mean_none_seed-4")
    with pytest.raises(Tampered) as caught:
        resume_attack(done.folder, task)
    assert caught.value.code == "E401"


def test_a_full_disk_stops_it_and_it_goes_on_when_there_is_room(
    tmp_path: Path, job: Job, task: Task, scenario: Scenario
) -> None:
    heard = 0

    def full(event: Mapping[str, Any]) -> None:
        nonlocal heard
        heard += event["event"] == "round-closed"
        if heard == 5:
            heard += 1
            raise Exhausted("E503", "no space left")

    with pytest.raises(Exhausted) as caught:
        attack(job, task, seeds=1, scenario=scenario, runs=tmp_path, listeners=[full], **TRIED)
    assert caught.value.code == "E503"
    (path,) = tmp_path.iterdir()
    assert resume_attack(RedTeamFolder.open(path), task).status == "finished"


def test_the_steps_count_the_runs(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> None:
    steps: list[Step[RedTeamFolder]] = []
    attack(job, task, seeds=1, scenario=scenario, runs=tmp_path, told=steps.append, **TRIED)
    assert [step.done for step in steps] == list(range(8))
    assert steps[0].cell is None and steps[-1].left == 0
