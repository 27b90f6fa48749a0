"""A task of 60 points in the plane that trains in milliseconds, and a job without privacy for it."""

import numpy as np
import pytest
import torch

from hedgerow import Aggregate, Cohort, Data, Job, Privacy, Scenario, Secure, Site, Split, Task


class Halves(Task):
    """Points told apart by their first coordinate; 20 at each site."""

    name = "halves"
    labels = ("left", "right")

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(2, 2)

    def data(self, site: Site) -> Data:
        return Data(draw(site.index, 20), draw(100 + site.index, 0))

    def held_out(self) -> Split:
        return draw(999, 30)


def draw(seed: int, n: int) -> Split:
    x = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64))


@pytest.fixture
def task() -> Task:
    return Halves()


@pytest.fixture
def job() -> Job:
    return Job(
        rounds=2,
        cohort=Cohort(quorum=2),
        privacy=Privacy(unit="none"),
        aggregate=Aggregate(rule="mean", before="none", byzantine=0),
        secure=Secure(mode="off"),
    )


@pytest.fixture
def scenario() -> Scenario:
    return Scenario(sites=3, seed=4)
