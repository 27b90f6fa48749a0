"""Every attack on each engine: the same hostile rows, the same run, and a clear refusal where it cannot be."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hedgerow import Job, Run, Scenario
from hedgerow.errors import HedgerowError, Misconfigured
from hedgerow.new import create_project
from hedgerow.project import Project
from hedgerow.runs import RunFolder
from hedgerow.scenario import BUILT_IN
from hedgerow.simulations import resume, simulate
from hedgerow.simulations.attacks import kind_of
from hedgerow.task import Data, PooledTask, Split

REAL = [name for name in BUILT_IN if not kind_of(name).collude]


def draw(seed: int, n: int) -> Split:
    x = np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 1))


class Pool(PooledTask):
    name = "pool"
    labels = ("a", "b", "c")

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))

    def pool(self) -> Data:
        return Data(draw(1, 180), draw(2, 60))


def job(**changes: Any) -> Job:
    base: dict[str, Any] = {"rounds": 3, "local.batch": 5, "privacy.unit": "none", "secure.mode": "off"}
    # Ties at NNM are decided by the last bits: ARC gives rows one length, and a free rider's zero is equally far from
    # all of them; min-max lies exactly as far out as the farthest honest row. A clip to the median parts both.
    base["aggregate.before"] = "clip+nnm"
    return Job.from_flat({**base, **{key.replace("__", "."): value for key, value in changes.items()}})


def run_of(engine: str, a_job: Job, **scenario: Any) -> Run:
    settings = Scenario(**{"sites": 7, "split": "iid", "seed": 2, "attackers": 2, **scenario})
    return simulate(a_job, Pool(), scenario=settings, engine=engine, runs=tempfile.mkdtemp(), name="run")


def model_of(run: Run) -> np.ndarray:
    latest = run.folder.latest()
    assert latest is not None
    return latest[1].model


def same(one: Run, other: Run) -> None:
    """Rows differ in their last bits, since the cohort adds in another order."""
    for left, right in zip(one.events("round-closed"), other.events("round-closed"), strict=True):
        assert sorted(left["accepted"]) == sorted(right["accepted"])
        for numbers in ("norms", "weights"):
            assert left[numbers].keys() == right[numbers].keys()
            found = [left[numbers][site] for site in right[numbers]]
            np.testing.assert_allclose(found, list(right[numbers].values()), rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(model_of(one), model_of(other), rtol=1e-3, atol=1e-4)
    measured = [[event["metrics"].keys() for event in run.events("evaluated")] for run in (one, other)]
    assert measured[0] == measured[1]


OFTEN = ("alie", "sybil", "label-flip-dynamic", "neurotoxin", "ipm-searched")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in OFTEN)) for name in BUILT_IN]
)
def test_an_attack_is_the_same_in_the_cohort_and_by_messages(name: str) -> None:
    a_job = job(cohort__fraction=0.8)
    same(run_of("cohort", a_job, attack=name), run_of("in-process", a_job, attack=name))


@pytest.mark.parametrize("attack", ["badnets+on-off:2", "label-flip-dynamic+on-off:2", "alie:1+on-off:3"])
def test_an_attack_that_rests_is_the_same_too(attack: str) -> None:
    fast, slow = (run_of(engine, job(), attack=attack) for engine in ("cohort", "in-process"))
    same(fast, slow)
    honest = run_of("cohort", job(), attack="none", attackers=0)
    told = [run.events("round-closed")[0]["norms"] for run in (fast, honest)]
    np.testing.assert_allclose(list(told[0].values()), list(told[1].values()), rtol=1e-5)  # the first round is honest


@pytest.mark.parametrize("attack", ["edge-case", "label-flip-dynamic", "model-replacement"])
def test_an_attack_on_sites_with_features_of_their_own_is_the_same_too(attack: str) -> None:
    changes = {"attack": attack, "shift": "affine:0.5"}
    same(run_of("cohort", job(), **changes), run_of("in-process", job(), **changes))


def test_a_backdoor_s_success_is_told_beside_the_accuracy_in_every_round() -> None:
    run = run_of("cohort", job(), attack="badnets:0.5,1")
    told = [event["metrics"] for event in run.events("evaluated")]
    assert len(told) == 4 and all(list(metrics) == ["accuracy", "loss", "backdoor_success"] for metrics in told)
    assert all(0 <= metrics["backdoor_success"] <= 1 for metrics in told)
    assert "backdoor_success" in run.final and run.history[0].keys() >= {"accuracy", "backdoor_success"}


def test_the_server_is_told_of_no_attack() -> None:
    run = run_of("in-process", job(), attack="alie")
    assert not any("alie" in str(event) for event in run.events() if event["event"] != "run-started")


@pytest.mark.parametrize("attack", ["alie", "mimic", "sybil"])
def test_attackers_without_an_honest_site_to_see_behave(attack: str) -> None:
    changes = {"sites": 2, "attackers": 2, "attack": attack}
    loose = job(aggregate__rule="mean", aggregate__byzantine=0, aggregate__before="none", cohort__quorum=1)
    same(run_of("cohort", loose, **changes), run_of("in-process", loose, **changes))


@pytest.mark.parametrize(
    ("engine", "attack", "code"),
    [
        ("local", "alie", "E105"),
        ("local", "ipm-searched", "E105"),
        ("cohort", "no-such-thing", "E103"),
        ("cohort", "label-flip:2", "E103"),
        ("cohort", "badnets:0.5,3", "E103"),
        ("in-process", "model-replacement-capped:1,0.5,9", "E103"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    engine: str, attack: str, code: str, tmp_path: Path
) -> None:
    scenario = Scenario(sites=5, attackers=1, attack=attack)
    with pytest.raises(Misconfigured) as caught:
        simulate(job(), Pool(), scenario=scenario, engine=engine, runs=tmp_path, project=str(tmp_path))
    assert caught.value.code == code and caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("attack", ["badnets", "min-max", "neurotoxin"])
def test_attackers_of_sites_with_momentum_are_the_same_too(attack: str) -> None:
    a_job = job(local__update_momentum=0.9, cohort__fraction=0.8)
    same(run_of("cohort", a_job, attack=attack), run_of("in-process", a_job, attack=attack))


def test_private_sites_attack_all_the_same() -> None:
    private = job(privacy__unit="record", privacy__epsilon=8.0, privacy__delta=1e-3, local__batch=8)
    for attack in ("badnets", "alie:1"):
        fast, slow = (run_of(engine, private, attack=attack) for engine in ("cohort", "in-process"))
        same(fast, slow)
        assert fast.epsilon == slow.epsilon


class Stop(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("engine", ["cohort", "in-process"])
@pytest.mark.parametrize("attack", ["neurotoxin", "drift", "alie-searched", "label-flip-dynamic+on-off:2"])
def test_a_run_that_goes_on_after_a_stop_is_attacked_as_if_it_had_not(engine: str, attack: str, tmp_path: Path) -> None:
    def stop(event: Mapping[str, Any]) -> None:
        if event["event"] == "round-started" and event["round"] == 4:
            raise Stop

    scenario = Scenario(sites=7, split="iid", seed=2, attackers=2, attack=attack)
    a_job = job(rounds=5)
    whole = simulate(a_job, Pool(), scenario=scenario, engine=engine, runs=tmp_path, name="whole")
    with contextlib.suppress(Stop, HedgerowError):
        simulate(a_job, Pool(), scenario=scenario, engine=engine, runs=tmp_path, name="half", listeners=[stop])
    assert Run(tmp_path / "half").rounds == 3
    resumed = resume(RunFolder.open(tmp_path / "half"), Pool())
    assert resumed.rounds == 5 and resumed.model_sha256 == whole.model_sha256
    assert [event["norms"] for event in resumed.events("round-closed")] == [
        event["norms"] for event in whole.events("round-closed")
    ]


@pytest.mark.ray
@pytest.mark.parametrize("attack", ["badnets", "ipm", "alie-searched", "model-replacement", "free-rider+on-off:2"])
def test_an_attack_on_ray_is_the_one_in_this_process_to_the_byte(attack: str) -> None:
    there, here = (run_of(engine, job(), attack=attack) for engine in ("ray", "in-process"))
    assert there.model_sha256 == here.model_sha256
    assert [event["norms"] for event in there.events("round-closed")] == [
        event["norms"] for event in here.events("round-closed")
    ]


@pytest.mark.live
def test_blind_sites_of_real_servers_attack_as_simulated_ones(tmp_path: Path) -> None:
    """On poisoned records, each with its part of the attack, and with a memory of the model from round to round."""
    project = Project.open(create_project(tmp_path / "project").folder)
    task = project.task()
    assert task is not None
    a_job = project.job({"rounds": 3, "cohort.quorum": 3, "aggregate.byzantine": 1})
    scenario = project.scenario({"sites": 3, "attack": "neurotoxin:0.2,0.5,1", "attackers": 1})
    here, there = (
        simulate(a_job, task, scenario=scenario, engine=engine, runs=tmp_path / engine, project=str(project.folder))
        for engine in ("in-process", "local")
    )
    assert there.model_sha256 == here.model_sha256
    assert "backdoor_success" in here.final and "backdoor_success" not in there.final
