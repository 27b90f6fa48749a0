"""`CohortTrainer`: a whole round's sites in, their updates as rows out, however they are trained."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from hedgerow.errors import CODES, HedgerowError, Misconfigured
from hedgerow.events import EngineChosen
from hedgerow.job import Job
from hedgerow.privacy import RecordPlan, site_plan
from hedgerow.simulations.cohort.choosing import choose
from hedgerow.simulations.cohort.data import CohortData, Poison
from hedgerow.simulations.cohort.device import device_of, kind_told
from hedgerow.simulations.cohort.paths import Chunk
from hedgerow.simulations.cohort.sizing import fitting_workers
from hedgerow.task import Site, Split, Task
from hedgerow.update import Vector

__all__ = ["CohortTrainer", "goes_on_elsewhere", "train_cohort"]

Rows = np.ndarray

WORTH_WAKING = 10_000_000  # steps times parameters that the kernel does in about four milliseconds
NOISE_COST = 8  # times a step without privacy: drawing the noise, and every record's norm

log = logging.getLogger("hedgerow.simulations")


def train_cohort(
    job: Job, task: Task, sites: Sequence[Site], model: Vector, *, round: int = 1, seed: int = 0
) -> tuple[np.ndarray, dict[int, str]]:
    """One round of all these sites from one model (d,): their updates (n, d), and a code for each that failed.

    For more than one round keep a `CohortTrainer`, which tries its path once.
    """
    with contextlib.closing(CohortTrainer(job, task, sites, model=model, seed=seed)) as trainer:
        return trainer.train(model, range(len(sites)), round=round)


class CohortTrainer:
    """Trains any of the simulated `sites` together, from one model, with the numbers of one by one.

    Guarantee: a site's update depends on the model, the site, the round and the seed alone, not on who else trains, on
    `workers` (threads; all cores unless said) or on `memory`. Before a faster path is used it is tried on two sites
    beside the one-by-one path, and left where it differs. `path` asks for one (`kernel`, `layers`, `vmap`,
    `one-by-one`). `device` is `auto` or `cpu`, or `cuda` for PyTorch's current one, which a path is used on that was
    right there: by one thread, and its last bits may differ from call to call. `poisons` are what hostile sites make
    of their records, by their place in `sites`.

    Raises:
        Misconfigured: E103 for an unknown path or device or fewer than one worker, E105 if a round's updates do not fit
            in `memory` bytes, E107 if PyTorch finds no CUDA device.
    """

    def __init__(
        self,
        job: Job,
        task: Task,
        sites: Sequence[Site],
        *,
        model: Vector,
        seed: int,
        workers: int | None = None,
        memory: int | None = None,
        path: str = "",
        device: str = "auto",
        poisons: Mapping[int, Poison] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise Misconfigured("E103", f"{workers} workers, but there must be at least one", place="workers")
        self._job = job
        self._sites = list(sites)
        self._seed = seed
        self._rows = np.empty((0, 0), np.float32)
        self._private = job.privacy.unit == "record"
        self._data = CohortData.of(task, sites, rounds=job.rounds, poisons=poisons)
        choice = choose(job, task, sites, self._data, model=model, seed=seed, wanted=path, device=device_of(device))
        self._path = choice.path
        self._alone = choice.alone
        self._chunk, bytes_a_chunk = choice.footprint.chunk(job, choice.path.name, choice.device)
        single = choice.draws or choice.device.apart  # threads would wait for each other's turn on a device
        wanted = 1 if single else min(workers or _cores(), max(len(self._sites), 1))
        self.workers = fitting_workers(
            wanted, memory=memory, rows=len(sites) * len(model) * 4, bytes_a_chunk=bytes_a_chunk
        )
        self._pool: ThreadPoolExecutor | None = None
        if self.workers > 1:
            self._pool = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))
        self.chosen = EngineChosen(
            engine="cohort",
            path=choice.path.name,
            reason=choice.reason,
            private=choice.path.private if self._private else "",
            difference=choice.difference,
            workers=self.workers,
            chunk=self._chunk,
            device=choice.device.name,
        )

    def plan(self, place: int, round: int) -> RecordPlan:
        """A site's privacy plan in a round."""
        return site_plan(self._job, len(self.rows(place, round)))

    def rows(self, place: int, round: int) -> Rows:
        """The rows of all records that a site trains on in a round."""
        return self._data.rows(self._sites[place], place, round)

    def poison_again(self, place: int, records: Callable[[Split], Split]) -> None:
        """What a hostile site whose poison adapts makes of its records from now on."""
        self._data.poison_again(place, records)

    def visits(self, place: int, round: int) -> int:
        """How many records a site works on in a round, repeats counted; under privacy their expected number."""
        share = len(self.rows(place, round))
        if self._private and share:
            plan = site_plan(self._job, share)
            return plan.steps_per_round * plan.expected_batch
        return self._job.local.epochs * share

    def train(self, model: Vector, places: Sequence[int], *, round: int) -> tuple[np.ndarray, dict[int, str]]:
        """The updates (k, d) of the sites at these places, in their order, and a code for each that failed.

        The row of a site that failed is zero; one without records fails with E125. The rows are overwritten by the next
        call: a table of thousands of sites takes longer to get from the system than to fill.
        """
        shares = [self.rows(place, round) for place in places]
        sizes = np.array([len(share) for share in shares], np.int64)
        out = self._table(len(places), len(model))
        out[sizes == 0] = 0.0
        failed = {places[at]: "E125" for at in np.flatnonzero(sizes == 0).tolist()}
        steps = self._steps(sizes)
        order = np.argsort(-steps, kind="stable")[: len(places) - len(failed)].tolist()
        chunks = self._cut(order, work=int(steps.sum()) * len(model) * (NOISE_COST if self._private else 1))
        own = np.array(model, np.float32)

        def work(chosen: Sequence[int]) -> dict[int, str]:
            chunk = Chunk(
                seed=self._seed,
                round=round,
                sites=[self._sites[places[at]].index for at in chosen],
                rows=[shares[at] for at in chosen],
                records=self._data.records([places[at] for at in chosen]),
                settings=self._job.local,
                plans=[site_plan(self._job, int(sizes[at])) for at in chosen] if self._private else (),
            )
            together = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
            updates = (
                out[chosen[0] : chosen[0] + len(chosen)] if together else np.empty((len(chosen), len(own)), np.float32)
            )
            codes = self._try(own, chunk, updates)
            if not together:
                out[chosen] = updates
            return {places[chosen[place]]: code for place, code in codes.items()}

        generator = torch.get_rng_state()  # one-by-one threads seed and restore it, across each other
        try:
            for codes in map(work, chunks) if self._pool is None or len(chunks) == 1 else self._pool.map(work, chunks):
                failed |= codes
        finally:
            torch.set_rng_state(generator)
        return out, failed

    def _table(self, rows: int, columns: int) -> np.ndarray:
        if len(self._rows) < rows or self._rows.shape[1] != columns:
            self._rows = np.empty((rows, columns), np.float32)
        return self._rows[:rows]

    def _cut(self, order: list[int], *, work: int) -> list[list[int]]:
        """The chunks of a round, whose `work` is steps times parameters.

        Where bytes do not depend on the chunk, each worker gets one of the same work, unless there is so little that
        waking the threads would take longer.
        """
        if self._path.name == "kernel":
            if work < WORTH_WAKING:
                return [order] if order else []
            return [part for first in range(self.workers) if (part := order[first :: self.workers])]
        return [order[at : at + self._chunk] for at in range(0, len(order), self._chunk)]

    def _steps(self, sizes: np.ndarray) -> np.ndarray:
        """How many steps sites with so many records take."""
        if not self._private:
            return -(-sizes // self._job.local.batch) * self._job.local.epochs
        return np.array([site_plan(self._job, n).steps_per_round if n else 0 for n in sizes.tolist()])

    def close(self) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _try(self, model: Vector, chunk: Chunk, out: np.ndarray) -> dict[int, str]:
        """Train a chunk; where that fails, its sites one by one, so that only those fail that would fail alone."""
        if self._path is not self._alone:
            try:
                self._path.train(model, chunk, out)
            except (Exception, SystemExit):  # a user's own code, or data that only one site has
                log.exception("a chunk of sites cannot be trained together")
            else:
                return {}
        failed = {}
        for place, site in enumerate(chunk.sites):
            try:
                self._alone.train(model, chunk.only(place), out[place : place + 1])
            except HedgerowError as error:
                log.warning("%s does not take part: %s", self._sites[site].name, error)
                failed[place] = error.code
            except (Exception, SystemExit):  # a task's own sys.exit ends its round, not the run
                log.exception("site %s failed", site)
                failed[place] = "E308"
        for place in failed:
            out[place] = 0.0
        assert set(failed.values()) <= set(CODES)
        return failed


def goes_on_elsewhere(told: Mapping[str, Any], chosen: EngineChosen) -> bool:
    """Whether a run that goes on has another GPU than it told of, which must be told too.

    Raises:
        Misconfigured: E107 if it was trained by another path or on another kind of device than can be used now.
    """
    kind = kind_told(chosen.device)
    if (told["path"], kind_told(told["device"])) != (chosen.path, kind):
        raise Misconfigured(
            "E107",
            f"the run was trained by '{told['path']}' on {told['device']}, which cannot be used now: {chosen.reason}"
            f"{'' if kind == kind_told(told['device']) else f' ({chosen.device})'}",
            hint="install what it needs, or start a new run",
        )
    return kind == "cuda" and told["device"] != chosen.device


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
