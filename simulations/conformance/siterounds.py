"""Run a site's private rounds as a deployed site runs them, and keep what its optimiser was given in every step.

Nothing of the mechanism is rebuilt: the plan, the steps, the optimiser and the source of randomness are the job's. The
records weigh nothing unless asked otherwise, so that what is left of a step is its noise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hedgerow.client.site import SiteSetup
from hedgerow.job import Job
from hedgerow.privacy import Randomness, RecordPlan, private_steps, site_plan
from hedgerow.task import Site, Split, Task
from hedgerow.training import make_optimizer

__all__ = ["Steps", "coordinates", "deployed", "fresh_model", "joined", "site_steps"]

Floats = NDArray[np.float64]

WATCHED = 100_000  # coordinates of a large model that are looked at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """What k private steps released: `sums` (k, d), each the noisy sum of clipped gradients, and who was in it.

    `beside` is the largest share of its movement by which a model was not where those sums alone bring it.
    """

    sums: Floats
    batches: tuple[NDArray[np.int64], ...]
    beside: float

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many records each step had, (k,)."""
        return np.array([len(batch) for batch in self.batches], np.int64)


def fresh_model(task: Task) -> nn.Module:
    """A first model, which leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        return task.model()


def deployed(site: Site) -> Callable[[int], Randomness]:
    """The randomness of a round, as a site that is no simulation has it."""
    setup = SiteSetup(site=site, store=Path(), dataset=site.name, epsilon_limit=None, approved_job="", seed=None)
    return setup.randomness


def coordinates(parameters: int) -> NDArray[np.int64]:
    """The coordinates that are looked at: all, or of a large model evenly spread ones."""
    return np.unique(np.linspace(0, parameters - 1, min(parameters, WATCHED)).astype(np.int64))


def site_steps(
    job: Job,
    task: Task,
    records: Split,
    *,
    randomness: Callable[[int], Randomness],
    rounds: Iterable[int],
    model: nn.Module | None = None,
    weights: torch.Tensor | None = None,
    steps: int | None = None,
) -> Steps:
    """Private rounds on a site's records, each from the same first model.

    Every record's loss is multiplied by its weight, which is 0 unless `weights` (n,) says otherwise. `steps` shortens
    the rounds.
    Raises: what `site_plan` and `private_steps` do.
    """
    plan = site_plan(job, len(records))
    plan = plan if steps is None else replace(plan, steps_per_round=min(steps, plan.steps_per_round))
    first = fresh_model(task) if model is None else model
    run = _Watched(job, task, records, plan, torch.zeros(len(records)) if weights is None else weights)
    for number in rounds:
        run.round(copy.deepcopy(first), randomness(number))
    return Steps(sums=np.stack(run.sums), batches=tuple(run.batches), beside=run.beside)


class _Watched:
    """Rounds with an optimiser that tells what it is given, and a loss that tells whose it is."""

    def __init__(self, job: Job, task: Task, records: Split, plan: RecordPlan, weights: torch.Tensor) -> None:
        self.sums: list[Floats] = []
        self.batches: list[NDArray[np.int64]] = []
        self.beside = 0.0
        self._job = job
        self._task = task
        self._plan = plan
        self._weights = weights
        self._x, self._labels = (torch.from_numpy(np.ascontiguousarray(part)) for part in (records.x, records.y))
        self._batch = np.empty(0, np.int64)
        self._anchors: list[torch.Tensor] = []
        self._parameters: list[nn.Parameter] = []
        self._twins: list[nn.Parameter] = []
        self._beside: torch.optim.Optimizer | None = None
        self._watched = np.empty(0, np.int64)

    def round(self, model: nn.Module, randomness: Randomness) -> None:
        fixed = {name: value.clone() for name, value in model.state_dict().items()}
        private_steps(
            model,
            self._x,
            torch.arange(len(self._labels)),  # in the place of labels: whose gradient it is
            plan=self._plan,
            loss=self._loss,
            make_optimizer=self._optimizer,
            randomness=randomness,
            proximal=self._job.local.proximal,
        )
        moved, away = _farthest(self._parameters, self._anchors), _farthest(self._parameters, self._twins)
        trained = {id(p) for p in self._parameters}
        names = {name for name, p in model.named_parameters() if id(p) in trained}
        others = [float((v - fixed[n]).abs().max()) for n, v in model.state_dict().items() if n not in names]
        self.beside = max(self.beside, max([away, *others]) / (moved or 1.0))

    def _loss(self, outputs: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        self._batch = np.concatenate([self._batch, who.numpy()])
        return self._task.loss(outputs, self._labels[who]) * self._weights[who]

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The job's own, with a second one beside it that is given the same and nothing else."""
        make = make_optimizer(self._job.local)
        self._parameters = list(parameters)
        self._anchors = [p.detach().clone() for p in self._parameters]
        self._twins = [nn.Parameter(anchor.clone()) for anchor in self._anchors]
        self._beside = make(self._twins)
        self._batch = np.empty(0, np.int64)
        self._watched = coordinates(sum(p.numel() for p in self._parameters))
        optimizer = make(self._parameters)
        optimizer.register_step_pre_hook(self._given)
        return optimizer

    def _given(self, *_: Any) -> None:
        """Before a step: the gradients are the noisy sum over the plan's denominator, and FedProx's pull."""
        pull = self._job.local.proximal
        own = self._parameters, self._anchors
        noisy = [
            _gradient(p) - pull * (p.detach() - anchor) if pull else _gradient(p)
            for p, anchor in zip(*own, strict=True)
        ]
        flat = torch.cat([part.double().flatten() for part in noisy]).numpy()
        self.sums.append(flat[self._watched] * self._plan.expected_batch)
        self.batches.append(self._batch)
        self._batch = np.empty(0, np.int64)
        for twin, p in zip(self._twins, self._parameters, strict=True):
            twin.grad = _gradient(p).clone()
        assert self._beside is not None
        self._beside.step()


def _farthest(here: Sequence[torch.Tensor], there: Sequence[torch.Tensor]) -> float:
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in zip(here, there, strict=True))


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def joined(parts: Sequence[Steps]) -> Steps:
    """The steps of several sites or processes one after another."""
    return Steps(
        sums=np.concatenate([part.sums for part in parts]),
        batches=tuple(batch for part in parts for batch in part.batches),
        beside=max(part.beside for part in parts),
    )
