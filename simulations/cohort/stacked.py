"""Train a chunk of clients at once, step by step, with or without differential privacy.

Each client starts from the same model and takes its own steps. Clients stand in the order of their number of steps, so
those that still train are the first ones, and one whose data ran out keeps its parameters and its momentum untouched.
Where the gradients come from is a `Gradients`: batched products by layers (`layered.py`) or `torch.func`
(`vmapped.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hedgerow.job import Local
from hedgerow.privacy.randomness import SimulatedNoise
from hedgerow.simulations.cohort.schedule import Padded
from hedgerow.simulations.cohort.stepping import Stepper

__all__ = ["Batch", "Gradients", "Private", "Records", "clip_weights", "train_stacked"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Records:
    """All records that a cohort may train on, x (N, …) float32 and y (N,) int64, and how each client's differ.

    `scale` and `offset`, by client (k, …), are applied to its records; `None` where all see the same.
    """

    x: Tensor
    y: Tensor
    scale: Tensor | None = None
    offset: Tensor | None = None

    def at(self, held: Records) -> Records:
        """The same records where all of them are `held`: on another device."""
        if self.scale is None or self.offset is None:
            return held
        place = held.x.device
        return replace(held, scale=self.scale.to(place), offset=self.offset.to(place))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Records by row numbers (A, B): x (A, B, …) and y (A, B)."""
        flat = rows.reshape(-1)
        x = self.x.index_select(0, flat).view(*rows.shape, *self.x.shape[1:])
        if self.scale is not None and self.offset is not None:
            x = torch.addcmul(self.offset[: len(rows), None], x, self.scale[: len(rows), None])
        return x, self.y.index_select(0, flat).view(rows.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One step of A clients: x (A, B, …), y (A, B), and `here` (A, B): what is a record rather than padding.

    `divisors` (A,) divide a client's sum of gradients: its number of records, or its constant denominator.
    """

    x: Tensor
    y: Tensor
    here: Tensor
    divisors: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Private:
    """What DP-SGD adds: `clip` C, and by client the noise multiplier z, the denominator and the noise's stream."""

    clip: float
    multipliers: Sequence[float]
    denominators: NDArray[np.float64]
    noise: Sequence[SimulatedNoise]


class Gradients(Protocol):
    """Adds the gradients of a batch to where a `Stepper` wants them."""

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the parameters that training moves, in the order of the module, which is the noise's."""
        ...

    def add(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper) -> None:
        """The sums of the records' gradients over the divisors."""
        ...

    def add_clipped(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper, clip: float) -> None:
        """The same, each record's gradient clipped to length `clip`; one that is not finite adds nothing."""
        ...


def train_stacked(
    gradients: Gradients,
    *,
    model: Mapping[str, Tensor],
    records: Records,
    batches: Padded,
    settings: Local,
    private: Private | None = None,
) -> dict[str, Tensor]:
    """The trained parameters of k clients, (k, *shape) by name; the caller must copy them before the next call.

    Without `private` a step follows the mean loss of its batch. With it, a step follows the sum of the records'
    gradients, each clipped to length C over all parameters together, plus Gaussian noise of z · C, divided by the
    client's constant denominator (Abadi et al., arXiv 1607.00133, algorithm 1; as `hedgerow.privacy.private_steps`).

    `model` and `records` lie on one device, where everything happens; the schedule is moved there whole, the noise step
    by step.
    """
    count = batches.rows.shape[1]
    names = gradients.trained
    with torch.no_grad():
        stepper = Stepper([model[name] for name in names], count, settings, private=private is not None)
        every = {name: value.expand(count, *value.shape) for name, value in model.items()}
        every.update(zip(names, stepper.parameters, strict=True))
        place = records.x.device
        rows, taken = torch.from_numpy(batches.rows).to(place), torch.from_numpy(batches.taken).to(place)
        counts = np.maximum(batches.counts, 1) if private is None else private.denominators[None]
        divisors = torch.from_numpy(np.broadcast_to(counts, batches.counts.shape).astype(np.float32)).to(place)
        for step, (active, width) in enumerate(zip(batches.active, batches.widths, strict=True)):
            current = {name: value[:active] for name, value in every.items()}
            stepper.begin(active)
            if width:
                x, y = records.batch(rows[step, :active, :width])
                batch = Batch(x=x, y=y, here=taken[step, :active, :width], divisors=divisors[step, :active])
                if private is None:
                    gradients.add(batch, current, stepper)
                else:
                    gradients.add_clipped(batch, current, stepper, private.clip)
            else:
                stepper.scale()
            if private is not None:
                _add_noise(stepper, private, divisors[step, :active])
            stepper.finish(step + 1)
    return dict(zip(names, stepper.parameters, strict=True))


def clip_weights(squares: Tensor, batch: Batch, clip: float) -> tuple[Tensor, Tensor]:
    """By what to multiply each record's gradient, (A, B), and whether its squared norm is finite, from those norms."""
    norms = squares.sqrt()
    finite = norms.isfinite()
    weights = (clip / (norms + 1e-6)).clamp_(max=1.0)
    return torch.where(batch.here & finite, weights, 0.0).div_(batch.divisors[:, None]), finite


def _add_noise(stepper: Stepper, private: Private, divisors: Tensor) -> None:
    """Each client's own noise, drawn for all parameters together in the order of the module.

    It is drawn on the CPU, whatever the device: a device's own generator has other streams.
    """
    sizes = [target[0].numel() for target in stepper.targets]
    noise = torch.empty((len(divisors), sum(sizes)), pin_memory=divisors.is_cuda)  # pinned pages move without waiting
    for client, row in enumerate(noise):
        private.noise[client].fill(row)
        row *= private.multipliers[client] * private.clip
    noise = noise.to(divisors.device, non_blocking=True).div_(divisors[:, None])
    for target, part in zip(stepper.targets, torch.split(noise, sizes, dim=1), strict=True):
        target.add_(part.view(target.shape), alpha=stepper.alpha)
