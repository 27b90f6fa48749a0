"""`hedgerow attack`: one folder, the worst case first, an exit code for a pipeline, and every mistake told first."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hedgerow import Job, Run, Scenario, attack, simulate
from hedgerow.errors import Exhausted
from hedgerow.events import Listener
from hedgerow.project import Project
from hedgerow.simulations.redteam import RedTeam

PUBLIC = {
    'privacy.unit = "record"\nprivacy.epsilon = 3.0\nprivacy.delta = 1e-3\n': 'privacy.unit = "none"\n'
    'aggregate.rule = "median"\naggregate.before = "none"\n'
}
WORDS = ("--attacks", "sign-flip:9,label-flip", "--defences", "mean", "--f", "1", "--seeds", "2", "-c", "rounds=1")
ATTACK = ("attack", "tiny", *WORDS)
ONCE = (*ATTACK, "--seeds", "1")


@pytest.fixture
def public(project: Any) -> Callable[..., Path]:
    """A project without privacy whose rule is the median."""

    def make(**changes: Any) -> Path:
        made: Path = project(replace=PUBLIC, **changes)
        return made

    return make


def test_the_command_line_and_python_find_the_same(hedgerow: Any, public: Any) -> None:
    folder = public()
    data = hedgerow(*ATTACK, "--json").data
    project = Project.open(folder)
    task = project.task()
    assert task is not None
    found = attack(
        project.job().override({"rounds": 1}),
        task,
        attacks=["sign-flip:9", "label-flip"],
        defences=["mean"],
        f=[1],
        seeds=2,
        scenario=project.scenario(),
        runs="elsewhere",
    )
    assert _timeless(data["table"]) == _timeless(found.table)
    assert _timeless(data["worst"]) == _timeless(found.worst)
    assert [row["attack"] for row in data["table"][:3]] == ["none", "sign-flip:9", "label-flip"]
    assert data["own"] == "median" and data["worst"][0]["defence"] == "median"
    assert data["recommended"] is None and data["gates"] == []
    assert Path(data["report"]).exists()


def _timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_the_terminal_tells_a_line_per_run_and_the_worst_cases(hedgerow: Any, public: Any) -> None:
    public()
    answer = hedgerow(*ATTACK, "--recommend")
    assert answer.exit_code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("red team ") and "14 runs: 2 attacks on 2 defences, 2 seeds" in lines[1]
    assert "median (the job's own), mean" in lines[3]
    assert [line.split("/")[0].strip() for line in lines if re.match(r" *\d+/14 split=", line)] == [
        str(k) for k in range(1, 15)
    ]
    head = next(k for k, line in enumerate(lines) if line.startswith("defence "))
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["median", "mean"]
    assert "recommended: median" in lines and "mean was passed over: it tolerates no hostile site." in answer.out
    (settings,) = (line.strip() for line in lines if line.startswith("  -c "))
    assert shlex.split(settings)[1] == "aggregate.rule=median aggregate.before=none aggregate.byzantine=1"
    assert lines[-1].startswith("report: runs/")


def test_what_is_recommended_can_be_pasted(hedgerow: Any, public: Any) -> None:
    public()
    out = hedgerow(*ONCE, "--recommend").out
    settings = next(line for line in out.splitlines() if line.startswith("  -c "))
    assert hedgerow("check", "tiny", *shlex.split(settings)).exit_code == 0


def test_the_gate_sets_the_exit_code_both_ways(hedgerow: Any, public: Any) -> None:
    public()
    passed = hedgerow(*ONCE, "--gate", "worst.accuracy >= 0.05", "--gate", "clean.cost <= 1", "--json").data
    assert [gate["passed"] for gate in passed["gates"]] == [True, True]
    lowest = passed["worst"][0]["worst"]
    assert passed["gates"][0]["measured"] == lowest
    answer = hedgerow(*ONCE, "--gate", f"worst.accuracy >= {lowest + 0.01:.3f}", "--json")
    assert (answer.exit_code, answer.error["code"]) == (6, "E507")
    assert f"failed, {lowest:.3f} by " in answer.error["message"]
    assert answer.error["worst"][0]["worst"] == lowest and Path(answer.error["report"]).exists()
    told = hedgerow("resume", answer.error["red_team"])
    assert told.exit_code == 6 and "E507" in told.err and "median" in told.out


@pytest.mark.parametrize(
    ("words", "code", "place", "hint"),
    [
        (["--attacks", "sing-flip"], "E103", "--attacks", "did you mean 'sign-flip'?"),
        (["--attacks", "sign-flip,,label-flip"], "E103", "--attacks", ""),
        (["--defences", "trimed-mean"], "E103", "--defences", "did you mean 'trimmed-mean'?"),
        (["--defences", "nmm|median"], "E103", "--defences", "did you mean 'nnm'?"),
        (["--f", "two"], "E102", "--f", "--f 1,2"),
        (["--f", "9"], "E105", "--f", ""),
        (["--split", "dirichlet"], "E103", "--split", "dirichlet:0.5"),
        (["--seeds", "0"], "E103", "--seeds", ""),
        (["--gate", "worst.acuracy >= 0.8"], "E103", "--gate", "did you mean 'worst.accuracy'?"),
        (["--gate", "worst.accuracy => 0.8"], "E103", "--gate", "worst.accuracy >= 0.8"),
        (["--gate", "backdoor.success <= 0.05", "--attacks", "alie"], "E105", "--gate", "badnets"),
        (["--defences", "mean|update_momentum=2"], "E103", "--defences", ""),
        (["--engine", "coohrt"], "E103", "--engine", "did you mean 'cohort'?"),
        (["--workers", "0"], "E103", "--workers", ""),
        (["--memory", "much"], "E103", "--memory", "4GB"),
        (["--name", "a/b"], "E103", "runs", ""),
        (["-c", "rounsd=3"], "E101", "-c", "did you mean 'rounds'?"),
        (["-s", "sits=3"], "E101", "-s", "did you mean 'sites'?"),
        (["-c", "evaluate=none"], "E105", "-c, evaluate", "server"),
        (["-c", "cohort.quorum=99"], "E105", "cell split=iid", ""),
    ],
)
def test_a_mistake_names_its_option_before_anything_is_written(
    hedgerow: Any, public: Any, words: list[str], code: str, place: str, hint: str
) -> None:
    public()
    answer = hedgerow("attack", "tiny", *words, "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, code)
    assert answer.error["place"].startswith(place) and hint in answer.error["hint"]
    assert not any(Path("runs").glob("*/*"))


def test_each_runs_own_command_gives_the_same_model(hedgerow: Any, public: Any) -> None:
    public(scenario='attack = "gaussian:3"\nattackers = 2')
    data = hedgerow(*ATTACK, "-s", "sites=6", "--name", "mine", "--json").data
    assert data["red_team"] == "mine"
    for name in ("plain-mean_seed-1", "mean_none_seed-0", "mean_sign-flip-9_seed-0", "median_label-flip_seed-1"):
        run = Run(Path("runs/mine/cells", name))
        command = shlex.split(run.events("run-started")[0]["command"])
        assert command[:2] == ["hedgerow", "sim"]
        assert hedgerow(*command[1:], "--json").data["model_sha256"] == run.model_sha256


@pytest.fixture
def interrupted(hedgerow: Any, public: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a red team whose fifth run was stopped by Ctrl-C."""
    public()
    heard = 0

    def press(event: Any) -> None:
        nonlocal heard
        heard += event["event"] == "round-closed"
        if heard == 5:
            heard += 1
            raise KeyboardInterrupt

    def listened(*arguments: Any, listeners: list[Listener], **named: Any) -> Run:
        return simulate(*arguments, listeners=[*listeners, press], **named)

    with monkeypatch.context() as patch:
        patch.setattr("hedgerow.simulations.sweeps.through.simulate", listened)
        answer = hedgerow(*ATTACK)
    assert (answer.exit_code, answer.err.splitlines()[0]) == (130, "E901 interrupted")
    command = shlex.split(answer.err.rpartition("go on with: ")[2])
    assert command[:2] == ["hedgerow", "resume"] and (Path("runs", command[2]) / "redteam.json").exists()
    return command[2]


def test_ctrl_c_keeps_what_is_done_and_resume_does_the_rest(hedgerow: Any, interrupted: str) -> None:
    stopped = RedTeam(Path("runs", interrupted))
    assert [run.status for run in stopped.outcomes[:6]] == [*["finished"] * 4, "interrupted", "waiting"]
    logs = {run.name: stopped.path / "cells" / run.name / "events.jsonl" for run in stopped.outcomes if run.done}
    before = {name: log.read_bytes() for name, log in logs.items()}
    answer = hedgerow("resume")
    assert answer.exit_code == 0 and "4 of them are finished" in answer.out
    assert {name: log.read_bytes() for name, log in logs.items()} == before
    assert len(re.findall(r"^ *\d+/14 ", answer.out, re.MULTILINE)) == 10
    assert RedTeam(stopped.path).status == "finished"


def test_a_full_disk_names_the_command_that_goes_on(
    hedgerow: Any, public: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    public()
    left = 2

    def full(*arguments: Any, **named: Any) -> Run:
        nonlocal left
        left -= 1
        if left < 0:
            place = str(Path(named["runs"], "mean"))
            raise Exhausted("E503", "no space left", place=place, hint="hedgerow resume RUN")
        return simulate(*arguments, **named)

    monkeypatch.setattr("hedgerow.simulations.sweeps.through.simulate", full)
    for words in (ONCE, ("resume",)):
        error = hedgerow(*words, "--json").error
        (path,) = Path("runs").iterdir()
        assert error["code"] == "E503" and error["place"]
        assert error["hint"].endswith(f"go on with: hedgerow resume {path.name}")


def test_a_stopped_red_team_is_listed_and_reported(hedgerow: Any, interrupted: str) -> None:
    assert f"{interrupted}  unfinished  auto     4 of 14 runs" in hedgerow("ls").out
    (row,) = hedgerow("ls", "--json").data["red_teams"]
    assert (row["red_team"], row["runs"], row["of"]) == (interrupted, 4, 14)
    page = Path(hedgerow("report", interrupted, "--json").data["report"])
    assert "10 runs are not done yet" in page.read_text(encoding="utf-8")
    cell = f"runs/{interrupted}/cells/mean_none_seed-0"
    assert hedgerow("report", interrupted, cell, "--json").error["code"] == "E105"
    assert hedgerow("report", cell, interrupted, "--json").error["code"] in ("E112", "E113")


def test_a_red_team_that_was_changed_on_the_disk_is_not_gone_on_with(hedgerow: Any, interrupted: str) -> None:
    path = Path("runs", interrupted, "redteam.json")
    path.write_text(path.read_text().replace('"seeds": 2', '"seeds": 1'))
    answer = hedgerow("resume", interrupted, "--json")
    assert (answer.exit_code, answer.error["code"]) == (5, "E401")
    assert interrupted not in hedgerow("ls").out


def test_a_red_team_from_python_says_how_it_goes_on(hedgerow: Any, public: Any) -> None:
    from hedgerow import Privacy, Secure
    from hedgerow.tasks import breast_cancer

    job = Job(rounds=1, privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    tried: dict[str, Any] = {"attacks": ["label-flip"], "defences": [], "seeds": 1}
    attack(job, breast_cancer(), scenario=Scenario(sites=5), runs="runs", **tried)
    error = hedgerow("resume", "--json").error
    assert error["code"] == "E113" and "resume_attack" in error["hint"]


def test_a_run_that_stops_with_nobody_attacking_is_an_error_of_its_own(
    hedgerow: Any, public: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = """
class Broken(Tiny):
    def metrics(self, logits, y):
        raise ZeroDivisionError


task = Broken()
"""
    public(code=broken)
    answer = hedgerow(*ONCE, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "E900")
    assert "7 of 7 runs failed" in answer.error["message"]
    assert f"hedgerow resume {answer.error['red_team']}" in answer.error["hint"]
