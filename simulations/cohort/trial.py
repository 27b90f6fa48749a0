"""Two sites' records trained in two ways, to see whether a faster way gives the updates of one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.privacy import RecordPlan, site_plan
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.paths import Chunk, Path
from hedgerow.task import Site
from hedgerow.update import Vector

__all__ = ["TOLERANCE", "Trial", "Untriable"]

TOLERANCE = 1e-4  # of the update's length: float32 sums in another order, over the few steps that are tried
ROUNDING = 1e-6  # of the model's length: an update is the difference of two models
VISIBLE = 1000 * ROUNDING  # of the model's length: an update of which rounding is no large part
TRIED_STEPS = 4


class Untriable(Exception):
    """Why nothing can be tried."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A first round of a few clients with a few batches each, and their updates one by one (k, d)."""

    model: Vector
    chunk: Chunk
    expected: NDArray[np.float32]

    @classmethod
    def of(cls, job: Job, sites: Sequence[Site], data: CohortData, alone: Path, *, model: Vector, seed: int) -> Trial:
        """Train the clients one by one.

        The learning rate is the job's, or as much larger as makes the updates stand out from float32's rounding.

        Raises:
            Untriable: no site has records, the sites fail alone, or their updates are not finite or too small.
            Misconfigured: E130 if the model mixes records under privacy.
        """
        chunk = _chunk(job, sites, data, len(model), seed)
        for _ in range(2):
            try:
                expected = _updates(alone, model, chunk)
            except Misconfigured as error:
                if error.code == "E130":  # a model that mixes records keeps no promise at any site
                    raise
                raise Untriable(f"the sites that were tried failed ({error.code})") from None
            except (Exception, SystemExit) as error:  # a user's own code: each site will tell its own failure
                raise Untriable(f"the sites that were tried failed ({type(error).__name__})") from None
            moved, whole = np.linalg.norm(expected, axis=1), np.linalg.norm(model)
            if not np.isfinite(moved).all():
                raise Untriable("the updates of the sites that were tried are not finite")
            if moved.min() >= VISIBLE * whole and moved.min() > 0:
                return cls(model=model, chunk=chunk, expected=expected)
            if moved.min() == 0:
                break
            larger = chunk.settings.lr * 2 * VISIBLE * whole / float(moved.min())
            chunk = replace(chunk, settings=replace(chunk.settings, lr=float(larger)))
        raise Untriable("the updates of the sites that were tried are too small to compare")

    @property
    def clients(self) -> int:
        """How many are tried."""
        return len(self.chunk.sites)

    def difference(self, path: Path, *, copies: int = 1) -> float:
        """How far a path's updates are from the expected ones, as a share of their length; inf if not finite.

        Every client is trained `copies` times side by side: what a device does may depend on how much it is given.
        """
        updates = _updates(path, self.model, self.chunk if copies == 1 else _repeated(self.chunk, copies))
        away = [
            np.linalg.norm(row.astype(np.float64) - expected) / np.linalg.norm(expected)
            for expected, rows in zip(self.expected, np.split(updates, len(self.expected)), strict=True)
            for row in rows
        ]
        return float(max(away)) if np.isfinite(away).all() else np.inf


def _updates(path: Path, model: Vector, chunk: Chunk) -> NDArray[np.float32]:
    out = np.empty((len(chunk.sites), len(model)), np.float32)
    path.train(model, chunk, out)
    return out


def _repeated(chunk: Chunk, copies: int) -> Chunk:
    """The chunk with each client so many times, one beside the other."""
    places = [place for place in range(len(chunk.sites)) for _ in range(copies)]
    records = chunk.records
    if records.scale is not None and records.offset is not None:
        records = replace(records, scale=records.scale[places], offset=records.offset[places])
    return replace(
        chunk,
        sites=[chunk.sites[place] for place in places],
        rows=[chunk.rows[place] for place in places],
        records=records,
        plans=[chunk.plans[place] for place in places] if chunk.plans else (),
    )


def _chunk(job: Job, sites: Sequence[Site], data: CohortData, size: int, seed: int) -> Chunk:
    """Three clients of two sites: a long one, a short one whose last batch is smaller, and a single record.

    Then some batch holds padding beside records of another client, and one record stands alone beside others: what a
    model or a loss that mixes the records of a batch, or looks at how many there are, would see.
    """
    tried = _tried(sites, data, job.local.batch)
    plans = []
    if job.privacy.unit == "record":
        wholes = [len(data.rows(sites[place], place, 1)) for place, _ in tried]
        plans = [_short(job, whole, len(some), size) for whole, (_, some) in zip(wholes, tried, strict=True)]
    steps = [plan.steps_per_round for plan in plans] or [-(-len(some) // job.local.batch) for _, some in tried]
    order = sorted(range(len(tried)), key=lambda client: -steps[client])
    return Chunk(
        seed=seed,
        round=1,
        sites=[sites[tried[client][0]].index for client in order],
        rows=[tried[client][1] for client in order],
        records=data.records([tried[client][0] for client in order]),
        settings=job.local,
        plans=[plans[client] for client in order] if plans else [],
    )


def _tried(sites: Sequence[Site], data: CohortData, batch: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Places and rows of the clients that are tried.

    Raises:
        Untriable: no site has finite records.
    """
    found = []
    for place in sorted(range(len(sites)), key=lambda place: (-len(data.shares[place]), place)):
        rows = _finite(data, data.rows(sites[place], place, 1))
        if len(rows):
            found.append((place, rows))
        if len(found) == 2:
            break
    if not found:
        raise Untriable("no site has records to try another way on")
    long = found[0][1][: 3 * batch + 1]
    tried = [(found[0][0], long)]
    if len(found) > 1:
        place, few = found[1]
        ragged = 2 * batch - 1 if len(long) >= 2 * batch and len(few) >= 2 * batch - 1 else min(batch, len(long)) - 1
        tried += [(place, few[: max(1, ragged)]), (place, few[:1])]
    return tried


def _short(job: Job, whole: int, records: int, size: int) -> RecordPlan:
    """A site's plan for so many of its records and a few steps, its noise too small to hide a wrong gradient."""
    plan = site_plan(job, whole)
    batch = min(plan.expected_batch, max(1, records // 2))
    return replace(
        plan,
        records=records,
        expected_batch=batch,
        sampling_rate=batch / records,
        steps_per_round=min(plan.steps_per_round, TRIED_STEPS),
        noise_multiplier=min(plan.noise_multiplier, batch / size**0.5),
    )


def _finite(data: CohortData, share: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first rows of a share whose records are finite: one that is not would hide every difference."""
    first = share[:1000]
    if not len(first):
        return first
    usable = torch.isfinite(data.x[torch.from_numpy(np.ascontiguousarray(first))].flatten(1)).all(dim=1)
    kept: NDArray[np.int64] = first[usable.numpy()]
    return kept
