"""The job's own mechanism passes its audit, and each planted bug makes it fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hedgerow import Data, Job, Site, Split, Task
from hedgerow.client.site import SiteSetup
from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness, SimulatedRandomness, private_steps
from hedgerow.privacy.conformance import conformance, gaussian_noise
from hedgerow.privacy.dpsgd import RecordOptimizer
from hedgerow.server import site_privacy
from hedgerow.settings import Scalar
from hedgerow.simulations.cohort import choosing, stacked
from hedgerow.simulations.conformance import Audit, audit_conformance, coordinator, record, siterounds
from hedgerow.simulations.conformance.answer import noise_caught
from hedgerow.simulations.conformance.siterounds import site_steps


class Plane(Task):
    labels = ("in", "out")

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

    def data(self, site: Site) -> Data:
        x = np.random.default_rng(site.index).standard_normal((60 + 12 * site.index, 4)).astype(np.float32)
        split = Split(x, (x[:, 0] > 0).astype(np.int64))
        return Data(split, split.take(np.arange(2)))


TASK = Plane()
SITES = [Site(name=f"site-{index}", index=index, count=3) for index in range(3)]
RECORD: dict[str, Scalar] = {
    "rounds": 4,
    "local.batch": 12,
    "local.lr": 0.3,
    "privacy.unit": "record",
    "privacy.epsilon": 3.0,
    "privacy.delta": 1e-3,
    "privacy.accountant": "rdp",
    "secure.mode": "off",
}
SITE: dict[str, Scalar] = RECORD | {
    "privacy.unit": "site",
    "privacy.delta": 1e-5,
    "privacy.epsilon": 4.0,
    "cohort.fraction": 0.2,
    "cohort.quorum": 1,
    "aggregate.rule": "mean",
    "aggregate.before": "none",
    "aggregate.byzantine": 0,
}
MANY = [Site(name=f"site-{index}", index=index, count=400) for index in range(400)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps and draws than an audit takes: the planted bugs are large."""
    monkeypatch.setattr(record, "STEPS", 48)
    monkeypatch.setattr(record, "ROUNDS", 2)
    monkeypatch.setattr(record, "TRIES", 2)
    monkeypatch.setattr(coordinator, "COUNTS", 400)
    monkeypatch.setattr(coordinator, "ROUNDS", 16)


def audited(path: str = "opacus", **more: Any) -> Audit:
    return audit_conformance(Job.from_flat(RECORD | more), TASK, SITES, path=path)


def failed(audit: Audit) -> set[str]:
    return {finding.name for _, finding in audit.failed}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"local.momentum": 0.9, "local.weight_decay": 0.01, "local.proximal": 0.1},
        {"local.optimizer": "adam", "local.epochs": 2},
        {"local.batch": 1000},
    ],
)
def test_a_jobs_own_steps_pass_whatever_its_optimiser(more: dict[str, Any]) -> None:
    audit = audited(**more)
    assert failed(audit) == set()
    assert audit.parts[0].source == OsRandomness.description and audit.parts[0].numbers == 114


def test_the_batched_steps_of_a_simulation_pass_and_are_opacus_s() -> None:
    (part,) = audited("cohort").parts
    assert part.passed and "cohort, " in part.path and "one-by-one" not in part.path
    assert "Opacus's sums" in {finding.name for finding in part.findings}


def half_the_noise(patch: pytest.MonkeyPatch) -> None:
    draw = OsRandomness.gaussian
    patch.setattr(OsRandomness, "gaussian", lambda self, shape, std, dtype=None: draw(self, shape, std / 2, dtype))


def no_clip(patch: pytest.MonkeyPatch) -> None:
    clip = RecordOptimizer.clip_and_accumulate

    def without(self: RecordOptimizer) -> None:
        kept, self.max_grad_norm = self.max_grad_norm, 1e9
        clip(self)
        self.max_grad_norm = kept

    patch.setattr(RecordOptimizer, "clip_and_accumulate", without)


def fixed_batches(patch: pytest.MonkeyPatch) -> None:
    def fixed(self: OsRandomness, records: int, rate: float) -> np.ndarray:
        mask = np.zeros(records, np.bool_)
        mask[np.random.default_rng().permutation(records)[: round(records * rate)]] = True
        return mask

    patch.setattr(OsRandomness, "poisson_mask", fixed)


def the_same_records(patch: pytest.MonkeyPatch) -> None:
    draw = OsRandomness.poisson_mask
    patch.setattr(OsRandomness, "poisson_mask", lambda self, n, rate: np.sort(draw(self, n, rate))[::-1].copy())


def a_seed_for_every_site(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SiteSetup, "randomness", lambda self, number: SimulatedRandomness(0, number))


def a_seed_for_every_round(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SiteSetup, "randomness", lambda self, number: SimulatedRandomness(0, self.site.index))


def realised_denominator(patch: pytest.MonkeyPatch) -> None:
    scale = RecordOptimizer.scale_grad

    def realised(self: RecordOptimizer) -> None:
        kept, self.expected_batch_size = self.expected_batch_size, max(1, self.records)
        scale(self)
        self.expected_batch_size = kept

    patch.setattr(RecordOptimizer, "scale_grad", realised)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (half_the_noise, "noise size"),
        (no_clip, "clip"),
        (fixed_batches, "batch sizes"),
        (the_same_records, "records drawn alike"),
        (a_seed_for_every_site, "reuse between releases"),
        (a_seed_for_every_round, "reuse between releases"),
        (realised_denominator, "constant denominator"),
    ],
)
def test_a_bug_planted_in_a_sites_steps_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert found in failed(audited())


def test_what_reaches_the_model_beside_the_noisy_sums_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(model: torch.nn.Module, x: torch.Tensor, *words: Any, **named: Any) -> None:
        private_steps(model, x, *words, **named)
        with torch.no_grad():
            next(model.parameters())[0] += 0.01 * x.mean(dim=0)

    monkeypatch.setattr(siterounds, "private_steps", leaking)
    assert failed(audited()) == {"nothing beside the sums"}


def test_noise_that_comes_again_after_a_restart_is_found() -> None:
    job = Job.from_flat(RECORD)

    def again(site: Site) -> Any:
        records = TASK.data(site).train
        return site_steps(job, TASK, records, randomness=lambda number: SimulatedRandomness(5, number), rounds=[1])

    once = audit_conformance(job, TASK, SITES, path="opacus", restarts=[again])
    twice = audit_conformance(job, TASK, SITES, path="opacus", restarts=[again, again])
    assert failed(once) == set()
    assert "reuse between releases" in failed(twice)


@pytest.mark.parametrize("plant", ["half", "no clip", "realised"])
def test_a_bug_planted_in_the_batched_steps_is_found(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hedgerow.simulations.conformance import cohort

    chosen = choosing.choose

    def choose(*words: Any, **named: Any) -> Any:
        choice = chosen(*words, **named)  # the engine itself would turn to one by one
        train = stacked.train_stacked

        def wrong(gradients: Any, *, private: stacked.Private, batches: Any, **more: Any) -> Any:
            from dataclasses import replace

            if plant == "half":
                private = replace(private, multipliers=[z / 2 for z in private.multipliers])
            elif plant == "no clip":
                private = replace(private, clip=50 * private.clip, multipliers=[z / 50 for z in private.multipliers])
            else:
                private = replace(private, denominators=np.maximum(batches.counts[0], 1).astype(np.float64))
            return train(gradients, private=private, batches=batches, **more)

        monkeypatch.setattr("hedgerow.simulations.cohort.paths.train_stacked", wrong)
        return choice

    monkeypatch.setattr(cohort, "choose", choose)
    assert "Opacus's sums" in failed(audited("cohort"))


@pytest.mark.parametrize("more", [{}, {"privacy.clip_quantile": 0.5}])
def test_the_coordinators_noise_passes(more: dict[str, Any]) -> None:
    job = Job.from_flat(SITE | more)
    (part,) = audit_conformance(job, TASK, MANY).parts
    assert part.passed and part.source == OsRandomness.description
    assert any(finding.name == "count: noise size" for finding in part.findings) == bool(more)


@pytest.mark.parametrize(
    ("target", "wrong", "found"),
    [
        ("noised_mean", lambda make: lambda total, **n: make(total, **(n | {"clip": n["clip"] / 2})), "noise size"),
        ("clipped_sum", lambda make: lambda rows, norms, clip: make(rows, norms, math.inf), "clip"),
        ("next_clip", lambda make: lambda **n: (n["clip"], 0.5), "count: noise size"),
        ("OsRandomness", lambda make: lambda: SimulatedRandomness(0), "reuse between releases"),
    ],
)
def test_a_bug_planted_at_the_coordinator_is_found(
    target: str, wrong: Callable[[Any], Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_privacy, target, wrong(getattr(site_privacy, target)))
    if target == "OsRandomness":
        monkeypatch.setattr(site_privacy.SiteNoise, "__call__", _seeded(site_privacy.SiteNoise.__call__))
    audit = audit_conformance(Job.from_flat(SITE | {"privacy.clip_quantile": 0.5}), TASK, MANY)
    assert found in failed(audit)


def _seeded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A coordinator whose every round starts from the same seed."""
    from dataclasses import replace

    return lambda self, *words: call(replace(self, randomness=SimulatedRandomness(0)), *words)


def test_the_error_that_is_said_to_be_caught_is() -> None:
    rng = np.random.default_rng(0)
    checks = len(conformance(rng.normal(size=(8, 500)), claim=gaussian_noise(1.0)))
    off = noise_caught(4000, checks)
    found = [
        any(not f.passed for f in conformance(rng.normal(0, factor, (8, 500)), claim=gaussian_noise(1.0)))
        for factor in (1 - off, 1 + off)
        for _ in range(100)
    ]
    assert np.mean(found) >= 0.96
    smaller = [
        any(not f.passed for f in conformance(rng.normal(0, 1 - off / 3, (8, 500)), claim=gaussian_noise(1.0)))
        for _ in range(100)
    ]
    assert np.mean(smaller) <= 0.5


def test_a_job_without_privacy_has_no_mechanism_to_test() -> None:
    job = Job.from_flat({"privacy.unit": "none", "secure.mode": "off"})
    with pytest.raises(Misconfigured) as caught:
        audit_conformance(job, TASK, SITES)
    assert caught.value.code == "E105"


def test_an_unknown_path_is_told() -> None:
    with pytest.raises(Misconfigured) as caught:
        audited("opacs")
    assert caught.value.code == "E103" and "opacus" in caught.value.hint
