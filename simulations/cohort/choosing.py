"""Which way a job's sites are trained: the fastest that gives, on a few of them, what one by one gives."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import nearest
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.cohort.compiled import Compiled, dense_network
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.device import CPU, Device
from hedgerow.simulations.cohort.layered import LayeredGradients, cross_entropy_gradient, gradient_of
from hedgerow.simulations.cohort.network import Network, Unstackable
from hedgerow.simulations.cohort.paths import OneByOne, Path, Stacked
from hedgerow.simulations.cohort.reading import read_network
from hedgerow.simulations.cohort.sizing import Footprint
from hedgerow.simulations.cohort.stacked import Records
from hedgerow.simulations.cohort.trial import TOLERANCE, Trial, Untriable
from hedgerow.simulations.splittask import SplitTask
from hedgerow.task import Site, Task
from hedgerow.update import Layout, Vector

__all__ = ["PATHS", "Choice", "choose"]

log = logging.getLogger("hedgerow.simulations")

PATHS = ("kernel", "layers", "vmap", "one-by-one")
ON_CPU = ("kernel", "one-by-one")  # paths that never train on another device
LARGE_CONVOLUTIONS = 300_000  # products a record beyond which torch's own convolutions win on a CPU (bench/paths.py)
WORTH_LOADING = 5e7  # steps times parameters: a third of a second of stacked layers, about what loading takes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """The path, why not a faster one, and how far it was from one by one (relative to the update's length).

    `alone` is one by one itself, to fall back to. `draws`: whether the module draws from torch's global generator, so
    that threads would disturb each other. `device` is where the path trains.
    """

    path: Path
    alone: OneByOne
    reason: str
    difference: float | None
    draws: bool
    footprint: Footprint
    device: Device = CPU


def choose(
    job: Job,
    task: Task,
    sites: Sequence[Site],
    data: CohortData,
    *,
    model: Vector,
    seed: int,
    wanted: str = "",
    device: Device = CPU,
) -> Choice:
    """Try the ways to train from the fastest on; `wanted` names the only one to try beside one by one.

    On a `device` apart the stacked paths are tried first, with as many clients as it would get at a time. Where none is
    right there, the choice is that of the CPU, and the name of its device says why.

    Raises:
        Misconfigured: E103 for an unknown path, E105 for one that never leaves the CPU on a device apart.
    """
    if wanted and wanted not in PATHS:
        raise Misconfigured("E103", f"unknown path '{wanted}'", hint=nearest(wanted, PATHS))
    if device.apart and wanted in ON_CPU:
        raise Misconfigured("E105", f"the path '{wanted}' trains on the CPU, not on {device.name}", place="device")
    module = task.model()
    module.train()
    layout = Layout.of(module)
    alone = OneByOne(task, layout)
    footprint, draws = Footprint.of(module, data), _draws(module, task, data)
    slow = Choice(path=alone, alone=alone, reason="", difference=None, draws=draws, footprint=footprint)
    large = not wanted and footprint.convolutions > LARGE_CONVOLUTIONS
    convolutions = f"convolutions of {footprint.convolutions:,} products a record are faster one by one"
    if wanted == "one-by-one":
        return replace(slow, reason="it was asked for")
    if large and not device.apart:
        return replace(slow, reason=convolutions)
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        return replace(slow, reason="BatchNorm keeps statistics of its batches")
    if draws:
        return replace(slow, reason="the model draws random numbers as it trains")
    try:
        trial = Trial.of(job, sites, data, alone, model=model, seed=seed)
    except Untriable as error:
        return replace(slow, reason=str(error))
    network = functools.cache(lambda: _read(module))  # traced once, whoever asks
    if device.apart:
        left = device.holding(data.size)
        held = functools.cache(lambda: data.held(left.place))
        path, away, reason = (
            None,
            None,
            f"{data.size / 1e6:,.0f} MB of records are too much for {device.free / 1e6:,.0f} MB",
        )
        if left.free > device.free // 2:
            path, away, reason = _first_right(
                {
                    "layers": lambda: _layers(task, network(), layout, left, held),
                    "vmap": lambda: _vmap(task, layout, left, held),
                },
                wanted,
                lambda path: trial.difference(
                    path, copies=min(footprint.chunk(job, path.name, left)[0], len(sites)) // trial.clients + 1
                ),
            )
        if path is not None:
            return replace(slow, path=path, difference=away, reason=reason, device=left)
        log.warning("the sites train on the CPU, not on %s: %s", device.name, reason)
        slow = replace(slow, device=replace(CPU, name=f"cpu (not {device.name}: {reason})"))
        if large:
            return replace(slow, reason=convolutions)
    path, away, reason = _first_right(
        {
            "kernel": lambda: _kernel(job, task, network, layout, data, even_if_slower=wanted == "kernel"),
            "layers": lambda: _layers(task, network(), layout),
            "vmap": lambda: _vmap(task, layout),
        },
        wanted,
        trial.difference,
    )
    return replace(slow, path=path or alone, difference=away, reason=reason)


def _first_right(
    makers: Mapping[str, Callable[[], Path]], wanted: str, difference: Callable[[Path], float]
) -> tuple[Path | None, float | None, str]:
    """The first path whose updates are those of one by one, with their difference, and why not an earlier one."""
    reasons = []
    for name, make in makers.items():
        if wanted not in ("", name):
            continue
        try:
            path = make()
            away = difference(path)
        except Unstackable as error:
            reasons.append(f"{name}: {error}")
        except (Exception, SystemExit) as error:  # what torch.func cannot map raises many things
            reasons.append(f"{name}: {_first_line(error)}")
        else:
            if away <= TOLERANCE:
                return path, away, "; ".join(reasons)
            reasons.append(f"{name}: it gave other updates than one by one")
    return None, None, "; ".join(reasons)


def _read(module: nn.Module) -> Network | Unstackable:
    """The module's steps, or why it has none."""
    try:
        return read_network(module)
    except Unstackable as error:
        return error


def _kernel(
    job: Job,
    task: Task,
    network: Callable[[], Network | Unstackable],
    layout: Layout,
    data: CohortData,
    *,
    even_if_slower: bool,
) -> Path:
    if not kernel.available():
        raise Unstackable("it needs the extra 'fast'")
    visits = job.local.epochs * sum(len(rows) for rows in data.shares)
    steps = job.rounds * job.cohort.fraction * max(visits / job.local.batch, len(data.shares))
    if steps * layout.size < WORTH_LOADING and not even_if_slower:
        raise Unstackable("the job is too short to load it")
    if not _plain_loss(task):
        raise Unstackable("the task has a loss of its own")
    dense = dense_network(_stackable(network()), layout)
    if not kernel.compiled():
        log.warning("compiling the kernel for dense networks, once on this machine: about ten seconds")
    return Compiled(dense, data, job.local)


def _layers(
    task: Task,
    network: Network | Unstackable,
    layout: Layout,
    device: Device = CPU,
    held: Callable[[], Records | None] = lambda: None,
) -> Path:
    loss = cross_entropy_gradient if _plain_loss(task) else gradient_of(task.loss)
    gradients = LayeredGradients(network=_stackable(network), loss=loss)
    return Stacked("layers", "ghost norms", layout, gradients, device=device, held=held())


def _vmap(task: Task, layout: Layout, device: Device = CPU, held: Callable[[], Records | None] = lambda: None) -> Path:
    from hedgerow.simulations.cohort.vmapped import VmappedGradients  # its first use takes seconds

    gradients = VmappedGradients(task.model, task.loss, place=device.place)
    return Stacked("vmap", "per-record gradients", layout, gradients, device=device, held=held())


def _stackable(network: Network | Unstackable) -> Network:
    if isinstance(network, Unstackable):
        raise network
    return network


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
