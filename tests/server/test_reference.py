"""FLTrust in whole runs: the server trains on records of its own, and its update decides whom to believe."""

from pathlib import Path

import numpy as np
import pytest

from hedgerow import Job, Run, Scenario, simulate
from hedgerow.errors import Misconfigured
from hedgerow.runs import RunFolder
from hedgerow.server.reference import ServerUpdate
from hedgerow.simulations import split
from hedgerow.tasks import digits
from hedgerow.update import Layout


def job(rule: str = "fltrust", rounds: int = 6) -> Job:
    return Job.from_flat(
        {
            "rounds": rounds,
            "local.lr": 0.3,
            "aggregate.rule": rule,
            "aggregate.before": "none",
            "aggregate.byzantine": 0 if rule == "mean" else 4,
            "privacy.unit": "none",
            "secure.mode": "off",
        }
    )


def hostile(root: int) -> Scenario:
    return Scenario(sites=10, split="iid", attack="sign-flip", strength=4.0, attackers=4, root=root)


def run(folder: Path, engine: str, rule: str = "fltrust") -> Run:
    return simulate(job(rule), digits(hidden=0), scenario=hostile(root=100), engine=engine, runs=folder)


def test_a_server_with_records_of_its_own_withstands_what_outvotes_the_mean(tmp_path: Path) -> None:
    assert run(tmp_path, "cohort").final["accuracy"] > run(tmp_path, "cohort", "mean").final["accuracy"] + 0.3


def test_messages_and_cohorts_make_the_same_model(tmp_path: Path) -> None:
    models = []
    for engine in ("cohort", "in-process"):
        latest = RunFolder.open(run(tmp_path, engine).path).latest()
        assert latest is not None
        models.append(latest[1].model)
    np.testing.assert_allclose(models[0], models[1], atol=2e-5)


def test_without_records_it_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="E105 'fltrust' compares with an update of the server's own"):
        simulate(job(), digits(hidden=0), scenario=hostile(root=0), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_servers_records_are_at_no_site() -> None:
    task = split(digits(), Scenario(sites=7, split="dirichlet:0.5", root=50))
    own = task.root()
    assert own is not None and len(own) == 50
    shared = np.concatenate(task.shares)
    assert len(shared) == len(np.unique(shared)) == len(digits().pool().train) - 50
    pool = digits().pool().train
    rows = {record.tobytes() for record in pool.x[shared]}
    assert sum(record.tobytes() in rows for record in own.x) <= 1  # the data set itself has a few copies
    same = split(digits(), Scenario(sites=7, split="dirichlet:0.5"))
    assert same.root() is None and sum(map(len, same.shares)) == len(pool)
    with pytest.raises(Misconfigured, match="E125"):
        split(digits(), Scenario(sites=7, root=len(pool)))


def test_the_update_is_that_of_a_site_with_those_records() -> None:
    task = split(digits(hidden=0), Scenario(sites=3, root=40))
    module = task.model()
    layout = Layout.of(module)
    model = layout.flatten(module)
    server = ServerUpdate.wanted_by(job(), task, layout, seed=3)
    assert server is not None and ServerUpdate.wanted_by(job("median"), task, layout, seed=3) is None
    first, again, next_round = server(1, model), server(1, model), server(2, model)
    assert first is not None and again is not None and next_round is not None
    assert np.array_equal(first, again) and not np.array_equal(first, next_round)
    assert np.linalg.norm(first) > 0
