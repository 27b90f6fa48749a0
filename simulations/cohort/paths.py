"""The ways to train a chunk of clients: one after another, or stacked. All give the same updates to float precision."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hedgerow.client.site import STREAM
from hedgerow.job import Local
from hedgerow.privacy import RecordPlan, SimulatedRandomness
from hedgerow.privacy.randomness import SimulatedNoise
from hedgerow.simulations.cohort.device import CPU, Device, exact_products
from hedgerow.simulations.cohort.onebyone import train_alone
from hedgerow.simulations.cohort.schedule import Schedule, padded, poisson_steps, shuffled_epochs
from hedgerow.simulations.cohort.stacked import Gradients, Private, Records, train_stacked
from hedgerow.splitmix import stream_start
from hedgerow.task import Task
from hedgerow.update import Layout, Vector

__all__ = ["Chunk", "OneByOne", "Path", "Stacked"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Clients of one round that are trained together, those with most steps first.

    `sites` are their indices, which name their random streams; `rows[j]` are client j's records; `plans[j]` is its
    privacy plan, and empty without privacy.
    """

    seed: int
    round: int
    sites: Sequence[int]
    rows: Sequence[Rows]
    records: Records
    settings: Local
    plans: Sequence[RecordPlan] = ()
    _starts: list[int] = field(init=False, repr=False, default_factory=list)

    def schedule(self) -> Schedule:
        """The batches that each client would draw alone."""
        starts = np.array(self._streams(), np.uint64)
        if not self.plans:
            return shuffled_epochs(self.rows, starts=starts, batch=self.settings.batch, epochs=self.settings.epochs)
        return poisson_steps(
            self.rows,
            starts=starts,
            rates=np.array([plan.sampling_rate for plan in self.plans]),
            steps=np.array([plan.steps_per_round for plan in self.plans], np.int64),
        )

    def private(self) -> Private | None:
        """What privacy adds to their steps."""
        if not self.plans:
            return None
        return Private(
            clip=self.plans[0].clip,
            multipliers=[plan.noise_multiplier for plan in self.plans],
            denominators=np.array([plan.expected_batch for plan in self.plans], np.float64),
            noise=[SimulatedNoise(start) for start in self._streams()],
        )

    def only(self, place: int) -> Chunk:
        """One of its clients."""
        alone = slice(place, place + 1)
        records = self.records
        if records.scale is not None and records.offset is not None:
            records = replace(records, scale=records.scale[alone], offset=records.offset[alone])
        return replace(self, sites=self.sites[alone], rows=self.rows[alone], records=records, plans=self.plans[alone])

    def _streams(self) -> list[int]:
        """Where each client's random stream starts, computed once."""
        if not self._starts:
            self._starts.extend(stream_start(self.seed, STREAM, site, self.round) for site in self.sites)
        return self._starts


class Path(Protocol):
    """A way to train a chunk."""

    @property
    def name(self) -> str:
        """As `EngineChosen` tells it."""
        ...

    @property
    def private(self) -> str:
        """How records' gradients are clipped, in words."""
        ...

    def train(self, model: Vector, chunk: Chunk, out: NDArray[np.float32]) -> None:
        """Write the updates of the k clients into `out` (k, d), from the model (d,)."""
        ...


class OneByOne:
    """One client after another, by the code of a real site; each thread has a module of its own."""

    name = "one-by-one"
    private = "opacus"

    def __init__(self, task: Task, layout: Layout) -> None:
        self._task = task
        self._layout = layout
        self._own = threading.local()

    def train(self, model: Vector, chunk: Chunk, out: NDArray[np.float32]) -> None:
        for place, site in enumerate(chunk.sites):
            rows = torch.from_numpy(np.asarray(chunk.rows[place]))
            x, y = chunk.records.x[rows], chunk.records.y[rows]
            if chunk.records.scale is not None and chunk.records.offset is not None:
                x = x * chunk.records.scale[place] + chunk.records.offset[place]
            out[place] = train_alone(
                self._module(),
                self._layout,
                model,
                x,
                y,
                settings=chunk.settings,
                loss=self._task.loss,
                randomness=SimulatedRandomness(chunk.seed, STREAM, site, chunk.round),
                plan=chunk.plans[place] if chunk.plans else None,
            )

    def _module(self) -> nn.Module:
        """This thread's module, with its integer buffers as they were built: they are no part of the model."""
        if not hasattr(self._own, "module"):
            self._own.module = self._task.model()
            self._own.counters = {
                name: value.clone()
                for name, value in self._own.module.state_dict().items()
                if not value.is_floating_point()
            }
        module: nn.Module = self._own.module
        state = module.state_dict()
        for name, value in self._own.counters.items():
            state[name].copy_(value)
        return module


class Stacked:
    """All clients of the chunk at once, by layers or by `torch.func`.

    On a `device` apart all records are `held` there, and a chunk's updates come back in one piece.
    """

    def __init__(
        self,
        name: str,
        private: str,
        layout: Layout,
        gradients: Gradients,
        *,
        device: Device = CPU,
        held: Records | None = None,
    ) -> None:
        self.name = name
        self.private = private
        self._layout = layout
        self._gradients = gradients
        self._device = device
        self._held = held

    def train(self, model: Vector, chunk: Chunk, out: NDArray[np.float32]) -> None:
        with exact_products(self._device):
            place = self._device.place
            flat = torch.from_numpy(model).to(place)
            parts, start = {}, 0
            for name, part in self._layout.split(model).items():
                parts[name] = flat[start : start + part.size].view(part.shape)
                start += part.size
            trained = train_stacked(
                self._gradients,
                model=parts,
                records=chunk.records if self._held is None else chunk.records.at(self._held),
                batches=padded(chunk.schedule()),
                settings=chunk.settings,
                private=chunk.private(),
            )
            updates = torch.empty(out.shape, device=place) if self._device.apart else torch.from_numpy(out)
            start = 0
            for name, value in parts.items():
                stop = start + value.numel()
                if name in trained:
                    torch.sub(trained[name].flatten(1), value.flatten(), out=updates[:, start:stop])
                else:
                    updates[:, start:stop] = 0.0
                start = stop
            if self._device.apart:
                torch.from_numpy(out).copy_(updates)
