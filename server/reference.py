"""The server's own update, for rules that compare every site's with one that the server trusts."""

from __future__ import annotations

import numpy as np

from hedgerow.aggregation import make_rule, wanted
from hedgerow.job import Job
from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness
from hedgerow.task import Task
from hedgerow.update import Layout, Vector

__all__ = ["ServerUpdate"]

REFERENCE_STREAM = 10  # the server's own training in a simulation's seed


class ServerUpdate:
    """Trains the round's model on the task's `root` records, as a site without privacy would on its own."""

    def __init__(self, job: Job, task: Task, layout: Layout, *, seed: int | None) -> None:
        self._job = job
        self._task = task
        self._layout = layout
        self._seed = seed

    @classmethod
    def wanted_by(cls, job: Job, task: Task, layout: Layout, *, seed: int | None) -> ServerUpdate | None:
        """For a job whose rule wants a reference; `None` for any other."""
        named = job.aggregate
        rule = make_rule(named.rule, byzantine=named.byzantine, before=named.before)
        return cls(job, task, layout, seed=seed) if "reference" in wanted(rule) else None

    def __call__(self, round: int, model: Vector) -> Vector | None:
        """The update (d,) of this round; `None` if the server has no records."""
        import torch

        from hedgerow.training import local_epochs

        records = self._task.root()
        if records is None or not len(records):
            return None
        module = self._task.model()
        self._layout.load(model, module)
        randomness: Randomness = OsRandomness()
        if self._seed is not None:
            randomness = SimulatedRandomness(self._seed, REFERENCE_STREAM, round)
        local_epochs(
            module,
            torch.from_numpy(np.ascontiguousarray(records.x)),
            torch.from_numpy(np.ascontiguousarray(records.y)),
            settings=self._job.local,
            loss=self._task.loss,
            randomness=randomness,
        )
        update: Vector = self._layout.flatten(module) - model
        return update
