"""Site level: the coordinator's noise on updates that are zero, its cohorts, and its adaptive clip's count."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hedgerow.job import Job
from hedgerow.privacy import SimulatedRandomness, SiteLevelPlan, site_level_plan
from hedgerow.privacy.conformance import Batches, Finding, conformance, gaussian_noise
from hedgerow.runs import RunFolder
from hedgerow.server.site_privacy import SiteNoise, SitePrivacy
from hedgerow.simulations.conformance.answer import LEVEL, Part, noise_caught, rate_caught
from hedgerow.simulations.conformance.siterounds import coordinates
from hedgerow.store import STORE_VARIABLE
from hedgerow.update import Vector

__all__ = ["coordinator_part"]

Floats = NDArray[np.float64]

ROUNDS = 48
COHORTS = 400
COUNTS = 4000
NUMBERS = 4_000_000
PRESENT = 8
PLANTED = (0.5, 1.0, 1e6)  # times the clip: how long a planted update is


def coordinator_part(job: Job, sites: int, model: Vector) -> Part:
    """Test what the coordinator of a deployment would add to the sum of its sites' updates, in a ledger of its own."""
    plan = site_level_plan(job, sites)
    with _privacy(job, plan) as privacy:
        noise = privacy.reserve(1, model)
        rounds = max(4, min(ROUNDS, NUMBERS // len(model)))
        present = 1 + np.arange(rounds) % PRESENT
        released = np.stack([_released(noise, len(model), int(number)) for number in present])
        cohorts = np.array([len(privacy.cohort(number, range(sites))) for number in range(COHORTS)], np.int64)
    sampled = plan.q < 1
    found = conformance(
        released,
        claim=gaussian_noise(1.0),
        participants=present,
        batches=Batches(sizes=cohorts, records=sites, rate=plan.q) if sampled else None,
        lengths=_lengths(noise, len(model)),
        clip=plan.clip,
        level=LEVEL / 2,
    )
    counted = _counted(noise) if plan.quantile else ()
    checks = 2 * len(found)
    catches = [f"noise that is {100 * noise_caught(released.size, checks):.2g} % off, with 99 % power"]
    if sampled:
        off = rate_caught(COHORTS * sites, plan.q, checks)
        catches.append(f"a share of sites that is {100 * off:.2g} % off, and cohorts of a fixed size")
    if counted:
        catches.append(f"noise on the clip's count that is {100 * noise_caught(COUNTS, 2 * len(counted)):.2g} % off")
    return Part(
        title=f"sites at the coordinator, {rounds} rounds",
        path="coordinator",
        source=noise.randomness.description,
        releases=rounds,
        numbers=released.shape[1],
        findings=(*found, *counted),
        catches=tuple(catches),
        unseen=(
            "a generator whose numbers look right and can still be predicted",
            "reuse of noise after a restart",
            "what the coordinator itself sees of the updates",
        ),
    )


@contextmanager
def _privacy(job: Job, plan: SiteLevelPlan) -> Iterator[SitePrivacy]:
    """A coordinator's privacy as in a deployment, whose ledger is thrown away."""
    before = os.environ.get(STORE_VARIABLE)
    with tempfile.TemporaryDirectory() as store:
        os.environ[STORE_VARIABLE] = store
        try:
            folder = RunFolder(path=Path(store), job=job, scenario=None, engine="audit", task="audit")
            yield SitePrivacy(folder, plan, federation="audit")
        finally:
            if before is None:
                os.environ.pop(STORE_VARIABLE)
            else:
                os.environ[STORE_VARIABLE] = before


def _released(noise: SiteNoise, size: int, present: int) -> Floats:
    """A round in which so many sites sent a zero update, over the standard deviation that the plan claims."""
    plan = noise.plan
    made = noise(np.zeros((present, size), np.float32), np.zeros(present), plan.clip)
    scaled: Floats = made.mean[coordinates(size)] * plan.denominator / (plan.sum_multiplier * plan.clip)
    return scaled


def _lengths(noise: SiteNoise, size: int) -> Floats:
    """By how much a planted update moves the sum, with the same seeded noise and other updates beside it."""
    rng = np.random.default_rng(0)
    others = rng.normal(0.0, 1.0, (PRESENT, size))
    lengths = []
    for factor in PLANTED:
        update = rng.normal(0.0, 1.0, (1, size))
        update *= factor * noise.plan.clip / np.linalg.norm(update)
        sums = []
        for rows in (others, np.concatenate([others, update])):
            seeded = replace(noise, randomness=SimulatedRandomness(1))
            mean = seeded(rows, np.linalg.norm(rows, axis=1), noise.plan.clip).mean
            sums.append(mean * noise.plan.denominator)
        lengths.append(float(np.linalg.norm(sums[1] - sums[0])))
    return np.array(lengths)


def _counted(noise: SiteNoise) -> tuple[Finding, ...]:
    """The noise on the number of updates within an adaptive clip."""
    plan = noise.plan
    shares = [noise(np.zeros((2, 1)), np.zeros(2), plan.clip).within for _ in range(COUNTS)]
    noises = (np.array(shares, np.float64) - 0.5) * plan.denominator - (2 - 2 / 2)
    found = conformance(noises[None] / plan.count_noise, claim=gaussian_noise(1.0), level=LEVEL / 2)
    return tuple(replace(finding, name=f"count: {finding.name}") for finding in found)
