"""Two sites trained in two ways, to see whether a faster way gives the updates of one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

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
    """A first round of two sites, cut to a few batches whose last ones differ, and their updates one by one (k, d)."""

    model: Vector
    chunk: Chunk
    expected: NDArray[np.float32]

    @classmethod
    def of(cls, job: Job, sites: Sequence[Site], data: CohortData, alone: Path, *, model: Vector, seed: int) -> Trial:
        """Train two sites one by one.

        The learning rate is the job's, or as much larger as makes the updates stand out from float32's rounding.

        Raises:
            Untriable: no site has records, the sites fail alone, or their updates are not finite or too small.
        """
        chunk = _chunk(job, sites, data, seed)
        for _ in range(2):
            try:
                expected = _updates(alone, model, chunk)
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

    def difference(self, path: Path) -> float:
        """How far a path's updates are from the expected ones, as a share of their length; inf if not finite."""
        updates = _updates(path, self.model, self.chunk).astype(np.float64)
        away = np.linalg.norm(updates - self.expected, axis=1) / np.linalg.norm(self.expected, axis=1)
        return float(away.max()) if np.isfinite(away).all() else np.inf


def _updates(path: Path, model: Vector, chunk: Chunk) -> NDArray[np.float32]:
    out = np.empty((len(chunk.sites), len(model)), np.float32)
    path.train(model, chunk, out)
    return out


def _chunk(job: Job, sites: Sequence[Site], data: CohortData, seed: int) -> Chunk:
    """The site with most records and the one with fewest, which is cut so that its last batch is another size.

    Only then does a batch hold padding, which a model or a loss that mixes the records of a batch would see.
    """
    rows = {place: _finite(data, data.rows(sites[place], place, 1)) for place in range(len(sites))}
    places = sorted(
        (place for place, share in rows.items() if len(share)), key=lambda place: (-len(rows[place]), place)
    )
    if not places:
        raise Untriable("no site has records to try another way on")
    batch = job.local.batch
    chosen = {places[0]: rows[places[0]][: 3 * batch + 1]}
    if len(places) > 1:
        few = rows[places[-1]][: max(1, 2 * batch - 1)]
        same = len(few) > 1 and (len(few) - len(chosen[places[0]])) % batch == 0
        chosen[places[-1]] = few[:-1] if same else few
    plans = {}
    if job.privacy.unit == "record":
        plans = {place: _short(job, len(data.rows(sites[place], place, 1)), len(chosen[place])) for place in chosen}
    steps = {place: plans[place].steps_per_round if plans else -(-len(few) // batch) for place, few in chosen.items()}
    order = sorted(chosen, key=lambda place: -steps[place])
    return Chunk(
        seed=seed,
        round=1,
        sites=[sites[place].index for place in order],
        rows=[chosen[place] for place in order],
        records=data.records(order),
        settings=job.local,
        plans=[plans[place] for place in order if place in plans],
    )


def _short(job: Job, whole: int, records: int) -> RecordPlan:
    """A site's plan, for as many of its records and a few steps."""
    plan = site_plan(job, whole)
    batch = min(plan.expected_batch, max(1, records // 2))
    return replace(
        plan,
        records=records,
        expected_batch=batch,
        sampling_rate=batch / records,
        steps_per_round=min(plan.steps_per_round, TRIED_STEPS),
    )


def _finite(data: CohortData, share: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first rows of a share whose records are finite: one that is not would hide every difference."""
    first = share[:1000]
    if not len(first):
        return first
    usable = torch.isfinite(data.x[torch.from_numpy(np.ascontiguousarray(first))].flatten(1)).all(dim=1)
    kept: NDArray[np.int64] = first[usable.numpy()]
    return kept
