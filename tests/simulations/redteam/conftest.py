"""A task that trains in milliseconds, and a job without privacy for it."""

import pytest
from tests.simulations.halves import Halves

from hedgerow import Aggregate, Cohort, Job, Privacy, Scenario, Secure, Task


@pytest.fixture
def task() -> Task:
    return Halves()


@pytest.fixture
def job() -> Job:
    return Job(
        rounds=2,
        cohort=Cohort(quorum=2),
        privacy=Privacy(unit="none"),
        aggregate=Aggregate(rule="median", before="none", byzantine=1),
        secure=Secure(mode="off"),
    )


@pytest.fixture
def scenario() -> Scenario:
    return Scenario(sites=5, seed=4)
