"""Client momentum in whole runs: the same in every engine, and through a stop."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hedgerow import Job, Run, Scenario, simulate
from hedgerow.errors import Exhausted
from hedgerow.runs import RunFolder
from hedgerow.settings import Scalar
from hedgerow.simulations.engine import resume
from hedgerow.tasks import digits

PRIVATE: dict[str, Scalar] = {"privacy.unit": "record", "privacy.epsilon": 5.0, "privacy.delta": 1e-3}


def job(**changes: Scalar) -> Job:
    flat: dict[str, Scalar] = {
        "rounds": 5,
        "local.update_momentum": 0.9,
        "cohort.fraction": 0.6,
        "privacy.unit": "none",
        "secure.mode": "off",
        "aggregate.byzantine": 0,
    }
    return Job.from_flat({**flat, **changes})


def run(folder: Path, engine: str, a_job: Job) -> Run:
    return simulate(a_job, digits(hidden=0), scenario=Scenario(sites=6, seed=3), engine=engine, runs=folder)


def vector(found: Run) -> np.ndarray:
    latest = RunFolder.open(found.path).latest()
    assert latest is not None
    return latest[1].model


@pytest.mark.parametrize("private", [{}, PRIVATE], ids=["plain", "private"])
def test_a_cohort_sends_what_its_sites_would_send(tmp_path: Path, private: dict[str, Scalar]) -> None:
    together = vector(run(tmp_path, "cohort", job(**private)))
    alone = vector(run(tmp_path, "in-process", job(**private)))
    np.testing.assert_allclose(together, alone, atol=2e-5)
    without = vector(run(tmp_path, "cohort", job(**private, **{"local.update_momentum": 0.0})))
    assert np.abs(together - without).max() > 1e-3


@pytest.mark.parametrize("engine", ["cohort", "in-process"])
def test_a_run_that_goes_on_remembers(tmp_path: Path, engine: str) -> None:
    whole = run(tmp_path, engine, job())

    class Stop(Exception):
        pass

    def stop(event: Mapping[str, object]) -> None:
        if event["event"] == "round-closed" and event["round"] == 3:
            raise Stop

    with pytest.raises((Stop, Exhausted)):
        simulate(
            job(),
            digits(hidden=0),
            scenario=Scenario(sites=6, seed=3),
            engine=engine,
            runs=tmp_path,
            name="stopped",
            listeners=[stop],
        )
    again = resume(RunFolder.open(tmp_path / "stopped"), digits(hidden=0))
    assert np.array_equal(vector(again), vector(whole))
