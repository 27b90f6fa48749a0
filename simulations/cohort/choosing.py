"""Which way a job's sites are trained: the fastest that gives, on a few of them, what one by one gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import nearest
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.cohort.compiled import Compiled, dense_network
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.layered import LayeredGradients, cross_entropy_gradient, gradient_of
from hedgerow.simulations.cohort.network import Unstackable
from hedgerow.simulations.cohort.paths import OneByOne, Path, Stacked
from hedgerow.simulations.cohort.reading import read_network
from hedgerow.simulations.cohort.sizing import Footprint
from hedgerow.simulations.cohort.trial import TOLERANCE, Trial, Untriable
from hedgerow.simulations.partition import SplitTask
from hedgerow.task import Site, Task
from hedgerow.update import Layout, Vector

__all__ = ["PATHS", "Choice", "choose"]

log = logging.getLogger("hedgerow.simulations")

PATHS = ("kernel", "layers", "vmap", "one-by-one")
LARGE_CONVOLUTIONS = 300_000  # products a record beyond which torch's own convolutions win (bench/paths.py)
WORTH_LOADING = 5e7  # steps times parameters: a third of a second of stacked layers, about what loading takes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The path, why not a faster one, and how far it was from one by one (relative to the update's length).

    `alone` is one by one itself, to fall back to. `draws`: whether the module draws from torch's global generator, so
    that threads would disturb each other.
    """

    path: Path
    alone: OneByOne
    reason: str
    difference: float | None
    draws: bool
    footprint: Footprint


def choose(
    job: Job, task: Task, sites: Sequence[Site], data: CohortData, *, model: Vector, seed: int, wanted: str = ""
) -> Choice:
    """Try the ways to train from the fastest on; `wanted` names the only one to try beside one by one.

    Raises:
        Misconfigured: E103 for an unknown path.
    """
    if wanted and wanted not in PATHS:
        raise Misconfigured("E103", f"unknown path '{wanted}'", hint=nearest(wanted, PATHS))
    module = task.model()
    module.train()
    layout = Layout.of(module)
    alone = OneByOne(task, layout)
    footprint, draws = Footprint.of(module, data), _draws(module, task, data)

    def chosen(path: Path, reason: str, difference: float | None = None) -> Choice:
        return Choice(path=path, alone=alone, reason=reason, difference=difference, draws=draws, footprint=footprint)

    if wanted == "one-by-one":
        return chosen(alone, "it was asked for")
    if not wanted and footprint.convolutions > LARGE_CONVOLUTIONS:
        return chosen(alone, f"convolutions of {footprint.convolutions:,} products a record are faster one by one")
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        return chosen(alone, "BatchNorm keeps statistics of its batches")
    if draws:
        return chosen(alone, "the model draws random numbers as it trains")
    try:
        trial = Trial.of(job, sites, data, alone, model=model, seed=seed)
    except Untriable as error:
        return chosen(alone, str(error))
    makers: Mapping[str, Callable[[], Path]] = {
        "kernel": lambda: _kernel(job, task, module, layout, data, even_if_slower=wanted == "kernel"),
        "layers": lambda: _layers(task, module, layout),
        "vmap": lambda: _vmap(task, layout),
    }
    reasons = []
    for name, make in makers.items():
        if wanted not in ("", name):
            continue
        try:
            path = make()
            difference = trial.difference(path)
        except Unstackable as error:
            reasons.append(f"{name}: {error}")
        except (Exception, SystemExit) as error:  # what torch.func cannot map raises many things
            reasons.append(f"{name}: {_first_line(error)}")
        else:
            if difference <= TOLERANCE:
                return chosen(path, "; ".join(reasons), difference)
            reasons.append(f"{name}: it gave other updates than one by one")
    return chosen(alone, "; ".join(reasons))


def _kernel(job: Job, task: Task, module: nn.Module, layout: Layout, data: CohortData, *, even_if_slower: bool) -> Path:
    if not kernel.available():
        raise Unstackable("it needs the extra 'fast'")
    visits = job.local.epochs * sum(len(rows) for rows in data.shares)
    steps = job.rounds * job.cohort.fraction * max(visits / job.local.batch, len(data.shares))
    if steps * layout.size < WORTH_LOADING and not even_if_slower:
        raise Unstackable("the job is too short to load it")
    if not _plain_loss(task):
        raise Unstackable("the task has a loss of its own")
    dense = dense_network(read_network(module), layout)
    if not kernel.compiled():
        log.warning("compiling the kernel for dense networks, once on this machine: about ten seconds")
    return Compiled(dense, data, job.local)


def _layers(task: Task, module: nn.Module, layout: Layout) -> Path:
    loss = cross_entropy_gradient if _plain_loss(task) else gradient_of(task.loss)
    return Stacked("layers", "ghost norms", layout, LayeredGradients(network=read_network(module), loss=loss))


def _vmap(task: Task, layout: Layout) -> Path:
    from hedgerow.simulations.cohort.vmapped import VmappedGradients  # its first use takes seconds

    return Stacked("vmap", "per-record gradients", layout, VmappedGradients(task.model, task.loss))


def _plain_loss(task: Task) -> bool:
    """Whether the task's loss is the cross entropy that a task has unless it says otherwise."""
    own = task.inner if isinstance(task, SplitTask) else task
    return type(own).loss is Task.loss


def _draws(module: nn.Module, task: Task, data: CohortData) -> bool:
    """Whether a forward pass in training mode moves torch's generator (dropout does)."""
    rows = next((rows for rows in data.shares if len(rows)), None)
    if rows is None:
        return False
    first = torch.from_numpy(rows[:2].copy())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        try:
            with torch.no_grad():
                task.loss(module(data.x[first]), data.y[first])
        except Exception:  # a user's own code: the sites that are tried will fail too
            return False
        return not torch.equal(before, torch.get_rng_state())


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}{f' ({words[0][:80]})' if words else ''}"
