"""Ctrl-C after the last round costs no result: what takes a moment is finished, what takes longer goes on later."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.simulations.halves import Halves

import hedgerow.simulations.engine
from hedgerow import Aggregate, Cohort, Job, Leakage, Privacy, Run, Scenario, Secure
from hedgerow.simulations import resume, simulate
from hedgerow.simulations.stage import Stage

JOB = Job(
    rounds=2,
    cohort=Cohort(quorum=2),
    privacy=Privacy(unit="none"),
    aggregate=Aggregate(rule="mean", before="none", byzantine=0),
    secure=Secure(mode="off"),
    leakage=Leakage(gate="auc <= 0.999"),
)


def interrupted_at(kind: str, runs: Path, *, engine: str = "cohort", number: int = 1) -> Run:
    """A run whose user presses Ctrl-C when an event of this kind is told for the `number`-th time."""
    heard = 0

    def listen(event: Mapping[str, Any]) -> None:
        nonlocal heard
        heard += event["event"] == kind
        if event["event"] == kind and heard == number:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        simulate(JOB, Halves(), scenario=Scenario(sites=3), runs=runs, name="run", engine=engine, listeners=[listen])
    return Run(runs / "run")


def without_time(run: Run) -> list[dict[str, Any]]:
    passing = {"time", "seq", "seconds"}
    return [{key: value for key, value in event.items() if key not in passing} for event in run.events()]


@pytest.mark.parametrize("kind", ["leakage-measured", "gate-checked", "run-finished"])
@pytest.mark.parametrize("engine", ["cohort", "in-process"])
def test_after_the_measurement_the_run_is_finished_with_its_report(kind: str, engine: str, tmp_path: Path) -> None:
    run = interrupted_at(kind, tmp_path, engine=engine)
    assert (run.status, run.rounds) == ("finished", 2)
    assert run.report.exists() and len(run.leakage) == 4 and len(run.events("gate-checked")) == 1


def test_while_it_is_measured_the_run_stops_and_goes_on_without_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted_at("leakage-started", tmp_path)
    assert (run.status, run.rounds, run.report.exists()) == ("interrupted", 2, True)

    whole = simulate(JOB, Halves(), scenario=Scenario(sites=3), runs=tmp_path, name="whole")

    def never(stage: Stage) -> None:
        raise AssertionError("every round is there")

    monkeypatch.setattr(hedgerow.simulations.engine, "ENGINES", {"cohort": never})
    again = resume(run.folder, Halves())
    assert again.status == "finished" and again.model_sha256 == whole.model_sha256
    passed_over = ("run-started", "run-resumed")  # the first has the run's name
    told, expected = ([e for e in without_time(one) if e["event"] not in passed_over] for one in (again, whole))
    assert told == expected


def test_a_last_round_that_nobody_evaluated_is_evaluated_when_the_run_goes_on(tmp_path: Path) -> None:
    run = interrupted_at("leakage-started", tmp_path)
    before = run.history
    lines = run.folder.events.read_text().splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines) if '"event":"evaluated"' in line)
    run.folder.events.write_text("".join(lines[:last]))  # as a kill between the round and its evaluation leaves it
    assert len(Run(run.path).history) == len(before) - 1 == 2
    assert resume(run.folder, Halves()).history == before
