"""`hedgerow local`: real servers and a process per site end with the model of the simulation."""

from pathlib import Path

import pytest

from hedgerow.errors import Exhausted, HedgerowError, Misconfigured
from hedgerow.job import Job, Privacy, Secure
from hedgerow.new import create_project
from hedgerow.project import Project
from hedgerow.run import Run
from hedgerow.simulations import simulate
from hedgerow.simulations.local import LocalOutcome
from hedgerow.simulations.locally import _error
from hedgerow.tasks import digits


def outcome(*tail: str, details: str = "") -> LocalOutcome:
    return LocalOutcome(
        status="failed",
        run_id=1,
        seconds_to_ready=0.0,
        seconds_total=0.0,
        details=details,
        tail=tail,
        lost=(),
    )


def test_the_coordinator_s_own_error_reaches_the_caller() -> None:
    error = _error(outcome("Traceback", "hedgerow.errors.Exhausted: E501 0 usable updates", "bye"), Path("logs"))
    assert isinstance(error, Exhausted)
    assert (error.code, error.message, error.place) == ("E501", "0 usable updates", "logs")


def test_an_end_without_a_code_names_the_logs() -> None:
    error = _error(outcome("Killed", details="exit code 137"), Path("logs"))
    assert type(error) is HedgerowError
    assert (error.code, error.place) == ("E902", "logs")
    assert "exit code 137" in error.message


def test_without_a_project_there_is_nothing_that_sites_could_run(tmp_path: Path) -> None:
    job = Job(rounds=1, privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    with pytest.raises(Misconfigured, match="E111"):
        simulate(job, digits(hidden=0), engine="local", runs=tmp_path)


@pytest.mark.live
def test_real_servers_end_with_the_model_of_the_simulation_attackers_included(tmp_path: Path) -> None:
    project = Project.open(create_project(tmp_path / "project").folder)
    task = project.task()
    assert task is not None
    job = project.job({"rounds": 2, "cohort.quorum": 3, "aggregate.byzantine": 1})
    scenario = project.scenario({"sites": 3, "attack": "sign-flip", "attackers": 1, "strength": 4.0})
    heard: list[str] = []
    runs: dict[str, Run] = {}
    for engine in ("in-process", "local"):
        runs[engine] = simulate(
            job,
            task,
            scenario=scenario,
            engine=engine,
            runs=tmp_path / engine,
            project=str(project.folder),
            listeners=[lambda event: heard.append(event["event"])],
        )
    here, there = runs["in-process"], runs["local"]
    assert there.model_sha256 == here.model_sha256
    assert there.epsilon == here.epsilon and len(there.epsilon) == 3
    assert there.final == here.final
    assert heard.count("round-closed") == 4
    assert not (there.path / "flower").exists(), "keys and databases stay behind"
    assert [event["event"] for event in there.events()][-1] == "run-finished"
