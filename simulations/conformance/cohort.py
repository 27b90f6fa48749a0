"""Record level in the cohort engine: the batched path that a simulation of the job would take, beside Opacus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.job import Job
from hedgerow.privacy import RecordPlan, SimulatedRandomness, site_plan
from hedgerow.privacy.conformance import Batches, Finding, conformance, gaussian_noise
from hedgerow.simulations.cohort.choosing import Choice, choose
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.paths import Chunk, Path
from hedgerow.simulations.conformance.answer import LEVEL, Part, noise_caught
from hedgerow.simulations.conformance.siterounds import coordinates, fresh_model
from hedgerow.task import Site, Task
from hedgerow.update import Layout, Vector

__all__ = ["cohort_part"]

Floats = NDArray[np.float64]

SITES = 12
ROUNDS = 8
NUMBERS = 4_000_000
TOLERANCE = 1e-5  # of a step's length: float32 sums in another order
ROUNDING = 2.0**-23  # of the model's length: an update is the difference of two models


def cohort_part(job: Job, task: Task, sites: Sequence[Site], *, seed: int) -> Part:
    """Test the path that the cohort engine would choose for the job.

    Its optimiser is plain SGD here, whose update is the step: what follows the noisy sums is no part of the mechanism.
    """
    plain = job.override(
        {
            "local.optimizer": "sgd",
            "local.lr": 1.0,
            "local.momentum": 0.0,
            "local.weight_decay": 0.0,
            "local.proximal": 0.0,
        }
    )
    data = CohortData.of(task, sites, rounds=job.rounds)
    module = fresh_model(task)
    model = Layout.of(module).flatten(module)
    choice = choose(plain, task, sites, data, model=model, seed=seed)
    with_records = [place for place in range(len(sites)) if len(data.rows(sites[place], place, 1))][:SITES]
    rounds = max(2, min(ROUNDS, NUMBERS // max(1, len(with_records) * len(model))))
    chunks = [_chunk(plain, sites, data, with_records, seed=seed, round=number) for number in range(1, rounds + 1)]
    noise = np.concatenate([_noise(choice.path, model, chunk, module) for chunk in chunks])
    plans = chunks[0].plans
    sizes = np.concatenate([_sizes(chunk, plans[0]) for chunk in chunks])
    sampled = plans[0].sampling_rate < 1
    found = conformance(
        noise,
        claim=gaussian_noise(1.0),
        batches=Batches(sizes=sizes, records=plans[0].records, rate=plans[0].sampling_rate) if sampled else None,
        level=LEVEL,
    )
    caught = noise_caught(noise.size, len(found))
    return Part(
        title=f"records at {len(with_records)} simulated sites, {rounds} rounds",
        path=f"cohort, {choice.path.name} ({choice.path.private})",
        source=SimulatedRandomness.description,
        releases=len(noise),
        numbers=noise.shape[1],
        findings=(*found, _same(choice, model, chunks[0])),
        catches=(f"noise that is {100 * caught:.2g} % too small or too large, with 99 % power",),
        unseen=(
            "a release: seeded noise protects nobody",
            "steps after a round's first one, beyond the few on which the engine compares its paths",
        ),
    )


def _chunk(job: Job, sites: Sequence[Site], data: CohortData, places: Sequence[int], *, seed: int, round: int) -> Chunk:
    rows = {place: data.rows(sites[place], place, round) for place in places}
    plans = {place: site_plan(job, len(rows[place])) for place in places}
    order = sorted(places, key=lambda place: -plans[place].steps_per_round)
    return Chunk(
        seed=seed,
        round=round,
        sites=[sites[place].index for place in order],
        rows=[rows[place] for place in order],
        records=data.records(order),
        settings=job.local,
        plans=[plans[place] for place in order],
    )


def _updates(path: Path, model: Vector, chunk: Chunk) -> Floats:
    out = np.empty((len(chunk.sites), len(model)), np.float32)
    path.train(model, chunk, out)
    return out.astype(np.float64)


def _trained(module: torch.nn.Module) -> NDArray[np.bool_]:
    """Which coordinates of the flat model are trained."""
    layout = Layout.of(module)
    moved = {name for name, p in module.named_parameters() if p.requires_grad}
    parts = [np.full(math.prod(shape), name in moved) for name, shape in zip(layout.names, layout.shapes, strict=True)]
    return np.concatenate(parts)


def _noise(path: Path, model: Vector, chunk: Chunk, module: torch.nn.Module) -> Floats:
    """The noise of a round's first step, over its claimed standard deviation, of some coordinates (k, d).

    It is what is left of the step with noise when the same one without is taken off.
    """
    first, bare = _one_step(chunk, 1.0), _one_step(chunk, 0.0)
    updates = (_updates(path, model, first) - _updates(path, model, bare))[:, _trained(module)]
    updates = updates[:, coordinates(updates.shape[1])]
    factors = [plan.expected_batch / (plan.noise_multiplier * plan.clip) for plan in chunk.plans]
    noise: Floats = -updates * np.array(factors)[:, None] / chunk.settings.lr
    return noise


def _one_step(chunk: Chunk, noise: float) -> Chunk:
    """The chunk with rounds of a step, and so many times the noise."""
    plans = [replace(plan, steps_per_round=1, noise_multiplier=noise * plan.noise_multiplier) for plan in chunk.plans]
    return replace(chunk, plans=plans)


def _sizes(chunk: Chunk, plan: RecordPlan) -> NDArray[np.int64]:
    """The sizes of the batches of the clients with this plan."""
    schedule = chunk.schedule()
    counts = np.diff(schedule.steps)
    client = np.repeat(np.arange(len(chunk.sites)), schedule.lengths)
    sizes: NDArray[np.int64] = counts[np.array([own == plan for own in chunk.plans])[client]]
    return sizes


def _same(choice: Choice, model: Vector, chunk: Chunk) -> Finding:
    """A step's sum on the true records, by this path and by Opacus, from the same draws: with noise and without."""
    worst = 0.0
    for noise in (0.0, 1.0):
        step = _one_step(chunk, noise)
        own, opacus = (_updates(path, model, step) for path in (choice.path, choice.alone))
        away = np.linalg.norm(own - opacus, axis=1)
        slack = ROUNDING * np.linalg.norm(model)
        lengths = np.linalg.norm(opacus, axis=1)
        ratios = np.maximum(away - slack, 0.0) / np.maximum(lengths, np.finfo(np.float64).tiny)
        worst = max(worst, float(ratios.max())) if np.isfinite(ratios).all() else math.inf
    passed = worst <= TOLERANCE
    return Finding(
        name="Opacus's sums",
        statistic=worst if math.isfinite(worst) else 1e300,
        p=1.0 if passed else 0.0,
        passed=passed,
        meaning=f"steps on the same masks and noise are at most {worst:.1e} of their length away from Opacus's",
    )
