"""A model that mixes the records of one site only keeps no promise: the run ends, on each engine alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.simulations.halves import Halves

from hedgerow import Aggregate, Cohort, Data, Job, Privacy, Run, Scenario, Secure, Site, Split
from hedgerow.errors import Misconfigured
from hedgerow.simulations import simulate
from hedgerow.simulations.cohort.mixing import MixingSites
from hedgerow.update import Layout

SITES, FAR = 5, 3
JOB = Job(
    rounds=2,
    cohort=Cohort(quorum=2),
    privacy=Privacy(unit="record", epsilon=3.0, delta=1e-3),
    aggregate=Aggregate(rule="mean", before="none", byzantine=0),
    secure=Secure(mode="off"),
)


class Mixing(torch.nn.Module):
    """Takes the mean of the batch away where the records are far from zero."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.branches = branches

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        if not self.branches:
            return torch.where(x.mean() > 5, out - out.mean(0), out)
        return out - out.mean(0) if float(x.mean()) > 5 else out


class OneFar(Halves):
    """One site, neither among the first that are tried nor the last, has records far from zero."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        self.branches = branches

    def model(self) -> torch.nn.Module:
        return Mixing(branches=self.branches)

    def data(self, site: Site) -> Data:
        data = super().data(site)
        return Data(Split(data.train.x + np.float32(20 * (site.index == FAR)), data.train.y), data.test)


@pytest.mark.parametrize("engine", ["cohort", "in-process"])
@pytest.mark.parametrize("branches", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_run_ends_before_anything_of_the_round_is_released(branches: bool, engine: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        simulate(
            JOB, OneFar(branches=branches), scenario=Scenario(sites=SITES), engine=engine, runs=tmp_path, name="run"
        )
    assert caught.value.code == "E130" and "in round 1 on the records of site-04" in caught.value.message
    run = Run(tmp_path / "run")
    assert (run.status, run.rounds, run.events("round-closed")) == ("failed", 0, ())
    assert run.events("run-finished")[-1]["code"] == "E130"
    assert len(run.epsilon) >= SITES - 1  # what the others have spent is told all the same


def test_each_site_is_asked_once_and_only_the_one_that_mixes_is_found() -> None:
    task = OneFar(branches=False)
    sites = [Site(name=f"site-{n}", index=n, count=SITES) for n in range(SITES)]
    layout = Layout.of(task.model())
    mixing = MixingSites(task, layout, sites)
    model = layout.flatten(task.model())
    assert mixing.found(model, [0, 1]) == {}
    assert mixing.found(model, range(SITES)) == {FAR: "E130"}
    assert mixing.found(model, range(SITES)) == {}
