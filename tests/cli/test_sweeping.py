"""`hedgerow sim --seeds --sweep`: one folder, one table, one report, and every mistake told before any of it."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hedgerow import Run, simulate
from hedgerow.cli.sweeping import read_sweeps
from hedgerow.events import Listener
from hedgerow.simulations.sweeps import Sweep

PUBLIC = {'privacy.unit = "record"\nprivacy.epsilon = 3.0\nprivacy.delta = 1e-3\n': 'privacy.unit = "none"\n'}
SWEEP = ("sim", "tiny", "--seeds", "2", "--sweep", "aggregate.rule=median,krum", "-c", "rounds=1")


@pytest.fixture
def public(project: Any) -> Callable[..., Path]:
    """A project without privacy, which trains faster."""

    def make(**changes: Any) -> Path:
        made: Path = project(replace=PUBLIC, **changes)
        return made

    return make


def test_a_sweep_answers_with_every_cell(hedgerow: Any, public: Any) -> None:
    public()
    data = hedgerow(*SWEEP, "--json").data
    assert {"sweep", "report", "cells"} <= data.keys()
    assert [cell["settings"] for cell in data["cells"]] == [{"aggregate.rule": rule} for rule in ("median", "krum")]
    for cell in data["cells"]:
        assert (cell["seeds"], cell["metric"], cell["failed"]) == (2, "accuracy", [])
        assert cell["low"] <= cell["mean"] <= cell["high"] and cell["epsilon"] is None
        for run in cell["runs"]:
            path = Path(data["folder"], "cells", run["run"])
            assert (path / "report.html").exists() and Run(path).final["accuracy"] == run["value"]
    assert Path(data["report"]).exists()


def test_the_terminal_tells_a_line_per_run_and_the_table(hedgerow: Any, public: Any) -> None:
    public()
    answer = hedgerow(*SWEEP)
    assert answer.exit_code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("sweep ") and "2 cells × 2 seeds = 4 runs" in lines[1]
    done = [line for line in lines if re.match(r"\d/4 aggregate.rule=", line)]
    assert [line[0] for line in done] == ["1", "2", "3", "4"]
    assert all("accuracy 0." in line for line in done) and "left" in done[0] and "left" not in done[3]
    assert not any(line.startswith("round ") for line in lines)
    assert [line.split()[:2] for line in lines[-3:-1]] == [["median", "2"], ["krum", "2"]]
    assert lines[-1].startswith("report: runs/")


def test_seeds_alone_repeat_the_job(hedgerow: Any, public: Any) -> None:
    public()
    (cell,) = hedgerow("sim", "tiny", "--seeds", "3", "-c", "rounds=1", "-s", "seed=8", "--json").data["cells"]
    assert [run["seed"] for run in cell["runs"]] == [8, 9, 10]


def test_one_seed_is_an_ordinary_run(hedgerow: Any, public: Any) -> None:
    public()
    assert "run" in hedgerow("sim", "tiny", "--seeds", "1", "-c", "rounds=1", "--json").data


def test_each_runs_own_command_gives_the_same_model(hedgerow: Any, public: Any) -> None:
    public(scenario='attack = "sign-flip"\nattackers = 1')
    words = ("--seeds", "2", "--sweep", "attackers=0,1", "--sweep", "local.lr=0.3", "--sites", "4")
    data = hedgerow("sim", "tiny", *words, "-c", "rounds=1 local.lr=0.1", "-s", "strength=2", "--json").data
    for name in ("attackers-0_lr-0.3_seed-1", "attackers-1_lr-0.3_seed-0"):
        run = Run(Path(data["folder"], "cells", name))
        command = shlex.split(run.events("run-started")[0]["command"])
        assert command[0] == "hedgerow" and not {"--seeds", "--sweep"} & set(command)
        assert hedgerow(*command[1:], "--json").data["model_sha256"] == run.model_sha256


def test_privacy_swept_off_has_a_command_of_its_own(hedgerow: Any, project: Any) -> None:
    project()
    words = ("--sweep", "privacy.unit=none,record", "-c", "rounds=1 privacy.epsilon=2")
    data = hedgerow("sim", "tiny", *words, "--json").data
    assert [(cell["epsilon"] is None, cell["delta"]) for cell in data["cells"]] == [(True, None), (False, 1e-3)]
    for cell in data["cells"]:
        run = Run(Path(data["folder"], "cells", cell["runs"][0]["run"]))
        command = shlex.split(run.events("run-started")[0]["command"])
        assert hedgerow(*command[1:], "--json").data["model_sha256"] == run.model_sha256


@pytest.mark.parametrize(
    ("words", "code", "place", "hint"),
    [
        (["--sweep", "privacy.epsilom=1,3"], "E101", "--sweep, privacy.epsilom", "did you mean 'privacy.epsilon'?"),
        (["--sweep", "local.lr="], "E103", "--sweep, local.lr", ""),
        (["--sweep", "local.lr=0.1,,0.2"], "E103", "--sweep, local.lr", ""),
        (["--sweep", "local.lr"], "E102", "--sweep", "--sweep privacy.epsilon=1,3,8"),
        (["--sweep", "=1"], "E102", "--sweep", ""),
        (["--sweep", "local.lr=1,1.0"], "E105", "--sweep, local.lr", ""),
        (["--sweep", "local.lr=1", "--sweep", "local.lr=2"], "E105", "--sweep, local.lr", "one --sweep"),
        (["--sweep", "local.lr=1,-1"], "E103", "--sweep, cell local.lr=-1 seed=0", ""),
        (["--sweep", "local.lr=1,fast"], "E102", "--sweep, cell local.lr=fast seed=0", ""),
        (["--sweep", "cohort.quorum=3,99"], "E105", "--sweep, cell cohort.quorum=99 seed=0, cohort.quorum", "lower"),
        (["--sweep", "seed=1,2"], "E105", "--sweep, seed", "--seeds"),
        (["--seeds", "0"], "E103", "--seeds", ""),
        (["--seeds", "2", "-s", "sites=1"], "E105", "--seeds, cell seed=0", ""),
        (["--seeds", "2", "--sites", "3", "-s", "sites=4"], "E105", "--sites", ""),
        (["--seeds", "2", "--engine", "coohrt"], "E103", "--engine", ""),
        (["--seeds", "2", "--address", "head:6379"], "E105", "--address", "--engine ray"),
        (["--seeds", "2", "--memory", "much"], "E103", "--memory", "4GB"),
        (["--seeds", "2", "--workers", "0"], "E103", "--workers", ""),
    ],
)
def test_a_mistake_names_its_option_before_anything_is_written(
    hedgerow: Any, public: Any, words: list[str], code: str, place: str, hint: str
) -> None:
    public()
    answer = hedgerow("sim", "tiny", *words, "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, code)
    assert answer.error["place"].startswith(place) and hint in answer.error["hint"]
    assert not Path("runs").exists()


def test_values_are_read_as_after_c() -> None:
    grid = read_sweeps(['latency="lognormal:1,1", none', "rounds= 1, 2", "local.lr=1e-3,0.5", "aggregate.rule=krum"])
    assert grid == {
        "latency": ("lognormal:1,1", "none"),
        "rounds": (1, 2),
        "local.lr": (0.001, 0.5),
        "aggregate.rule": ("krum",),
    }


@pytest.fixture
def interrupted(hedgerow: Any, public: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a sweep whose third run was stopped by Ctrl-C before its second round was kept."""
    public()
    heard = 0

    def press(event: Any) -> None:
        nonlocal heard
        heard += event["event"] == "round-closed"
        if heard == 6:
            heard += 1
            raise KeyboardInterrupt

    def listened(*arguments: Any, listeners: list[Listener], **named: Any) -> Run:
        return simulate(*arguments, listeners=[*listeners, press], **named)

    with monkeypatch.context() as patch:
        patch.setattr("hedgerow.simulations.sweeps.through.simulate", listened)
        answer = hedgerow(*SWEEP[:-1], "rounds=2")
    assert (answer.exit_code, answer.err.splitlines()[0]) == (130, "E901 interrupted")
    command = shlex.split(answer.err.rpartition("go on with: ")[2])
    assert command[:2] == ["hedgerow", "resume"] and (Path("runs", command[2]) / "sweep.json").exists()
    return command[2]


def test_ctrl_c_keeps_what_is_done_and_resume_does_the_rest(hedgerow: Any, interrupted: str) -> None:
    stopped = Sweep(Path("runs", interrupted))
    assert [run.status for run in stopped.outcomes] == ["finished", "finished", "interrupted", "waiting"]
    logs = {run.name: stopped.path / "cells" / run.name / "events.jsonl" for run in stopped.outcomes if run.done}
    before = {name: log.read_bytes() for name, log in logs.items()}
    answer = hedgerow("resume")
    assert answer.exit_code == 0
    assert "2 of them are finished" in answer.out
    assert {name: log.read_bytes() for name, log in logs.items()} == before
    assert len(re.findall(r"^\d/4 ", answer.out, re.MULTILINE)) == 2
    done = Sweep(stopped.path)
    assert done.status == "finished"
    (resumed,) = done.runs["rule-median_seed-1"].events("run-resumed")
    assert resumed["after_round"] == 1
    assert "--seeds" not in done.runs["rule-krum_seed-1"].events("run-started")[0]["command"]


def test_a_stopped_sweep_is_listed_and_reported(hedgerow: Any, interrupted: str) -> None:
    assert f"{interrupted}  unfinished  auto     2 of 4 runs" in hedgerow("ls").out
    page = Path(hedgerow("report", interrupted, "--json").data["report"])
    assert "2 runs are not done yet" in page.read_text(encoding="utf-8")


def test_a_failing_cell_does_not_stop_the_others_and_the_exit_code_tells(hedgerow: Any, public: Any) -> None:
    public()
    words = ("sim", "tiny", "-c", "rounds=1", "--sweep", "leakage.gate=auc <= 0.01,auc <= 1")
    answer = hedgerow(*words, "--json")
    assert (answer.exit_code, answer.error["code"]) == (6, "E507")
    assert "1 of 2 runs failed; gate-auc-0.01" in answer.error["message"]
    assert [cell["failed"] for cell in answer.error["cells"]] == [["gate-auc-0.01"], []]
    assert Path(answer.error["report"]).exists()
    assert f"hedgerow resume {answer.error['sweep']}" in answer.error["hint"]
    told = hedgerow(*words)
    assert told.exit_code == 6 and "E507 1 of 2 runs failed" in told.err
    assert "1/2 leakage.gate=auc <= 0.01 seed=0: E507" in told.out and "report: " in told.out
    again = hedgerow("resume", answer.error["sweep"], "--json")
    assert (again.exit_code, again.error["code"]) == (6, "E507")


def test_a_sweep_that_was_changed_on_the_disk_is_not_gone_on_with(hedgerow: Any, public: Any) -> None:
    public()
    data = hedgerow("sim", "tiny", "-c", "rounds=1", "--sweep", "local.lr=0.1", "--json").data
    path = Path(data["folder"], "sweep.json")
    path.write_text(path.read_text().replace('"seeds": 1', '"seeds": 2'))
    answer = hedgerow("resume", data["sweep"], "--json")
    assert (answer.exit_code, answer.error["code"]) == (5, "E401")
    assert data["sweep"] not in hedgerow("ls").out


def test_a_sweep_from_python_says_how_it_goes_on(hedgerow: Any, public: Any) -> None:
    from hedgerow import Job, Privacy, Scenario, Secure, sweep
    from hedgerow.tasks import breast_cancer

    job = Job(rounds=1, privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    sweep(job, breast_cancer(), scenario=Scenario(sites=3), runs="runs")
    error = hedgerow("resume", "--json").error
    assert error["code"] == "E113" and "resume_sweep" in error["hint"]


def test_a_run_is_not_resumed_with_an_address_that_no_engine_takes(hedgerow: Any, interrupted: str) -> None:
    error = hedgerow("resume", interrupted, "--address", "head:6379", "--json").error
    assert (error["code"], error["place"]) == ("E105", "--address")


def test_nothing_is_set_beside_a_sweep(hedgerow: Any, interrupted: str) -> None:
    cell = f"runs/{interrupted}/cells/rule-krum_seed-0"
    assert hedgerow("report", interrupted, cell, "--json").error["code"] == "E105"
    assert hedgerow("report", cell, interrupted, "--json").error["code"] == "E113"
    assert hedgerow("report", cell, "--json").data["run"] == "rule-krum_seed-0"
    listed = hedgerow("ls", "--runs", f"runs/{interrupted}/cells", "--json").data["runs"]
    assert [run["run"] for run in listed] == ["rule-krum_seed-0", "rule-median_seed-0", "rule-median_seed-1"]


def test_only_the_cells_are_judged_not_what_they_are_made_from(hedgerow: Any, public: Any) -> None:
    public()
    data = hedgerow(
        "sim", "tiny", "-c", "rounds=1", "-s", "attack=sign-flip", "--sweep", "attackers=1,2", "--json"
    ).data
    assert [cell["settings"] for cell in data["cells"]] == [{"attackers": 1}, {"attackers": 2}]
    assert all(cell["seeds"] == 1 for cell in data["cells"])


@pytest.mark.parametrize("values", ["1,20", "20,1", "20,30"])
def test_a_cell_that_cannot_be_is_named_before_anything_runs(values: str, hedgerow: Any, public: Any) -> None:
    public()
    error = hedgerow("sim", "tiny", "-s", "attack=sign-flip", "--sweep", f"attackers={values}", "--json").error
    assert error["code"] == "E105" and error["place"].startswith("--sweep, cell attackers=20")
    assert not Path("runs").exists()


def test_the_table_calls_an_epsilon_by_its_sign(hedgerow: Any, project: Any) -> None:
    project()
    lines = hedgerow("sim", "tiny", "-c", "rounds=1", "--sweep", "privacy.epsilon=1,3").out.splitlines()
    (head,) = [line for line in lines if line.startswith("ε")]
    assert re.split(r"  +", head) == ["ε", "seeds", "accuracy", "ε spent"]
