"""How much a client's training works on, and so how many clients are trained at a time and by how many workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.modes import in_mode
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.device import CPU, Device

__all__ = ["Footprint", "fitting_workers"]

CACHE = 8 << 20  # bytes that a chunk may work on: a core's share of a last-level cache, roughly
LEAST, MOST = 4, 100
MOST_APART = 1024  # on a device of its own: enough to fill it
SPARE = 4  # copies of what a client works on that may be there at once, temporaries and the allocator's gaps included
PASSED = 1 << 27  # bytes of a chunk's updates, and of a step's noise, that pass through this machine's memory
ALONE = 16  # one by one nothing is shared: enough that a thread is not woken for every client


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one client trains on. It depends on the model and the data alone, so the same job is cut the same way.

    `parameters` of the model; for one record the `activations` that its layers make, patches of convolutions included,
    and the multiplications of its `convolutions`.
    """

    parameters: int
    activations: int
    convolutions: int

    @classmethod
    def of(cls, module: nn.Module, data: CohortData) -> Self:
        """Measured by one record's forward pass; a module that fails on it counts as its parameters alone."""
        activations = convolutions = 0

        def count(layer: nn.Module, _: object, output: object) -> None:
            nonlocal activations, convolutions
            if not isinstance(output, torch.Tensor) or list(layer.children()):
                return
            activations += 2 * output.numel()
            if isinstance(layer, nn.Conv2d):
                places, patch = output[0, 0].numel(), layer.weight[0].numel()
                activations += 2 * places * patch
                convolutions += output.numel() * patch

        parameters = sum(parameter.numel() for parameter in module.parameters())
        rows = next((rows for rows in data.shares if len(rows)), None)
        hooks = [layer.register_forward_hook(count) for layer in module.modules()]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), in_mode(module, training=False):
                if rows is not None:
                    module(data.x[torch.from_numpy(rows[:1].copy())])
        except Exception:  # a user's own code: the sites will tell it
            activations = convolutions = 0
        finally:
            for hook in hooks:
                hook.remove()
        return cls(parameters=parameters, activations=activations, convolutions=convolutions)

    def chunk(self, job: Job, path: str, device: Device = CPU) -> tuple[int, int]:
        """Clients in a chunk of a path, and the bytes of this machine that it works on."""
        client = 4 * self.parameters * (3 if job.local.optimizer == "adam" else 2)
        record = self.activations
        if path == "vmap" and job.privacy.unit == "record":
            record = max(record, self.parameters)
        client += 4 * job.local.batch * record
        if path == "one-by-one":
            return ALONE, client
        if device.apart:
            passed = max(4 * self.parameters, 1)
            clients = max(1, min(MOST_APART, PASSED // passed, device.free // (SPARE * max(client, 1))))
            return clients, 2 * clients * passed
        clients = max(LEAST, min(MOST, CACHE // max(client, 1)))
        return clients, clients * client


def fitting_workers(wanted: int, *, memory: int | None, rows: int, bytes_a_chunk: int) -> int:
    """As many workers as fit beside a round's updates (`rows` bytes) in `memory` bytes.

    Raises:
        Misconfigured: E105 if not even one does.
    """
    if memory is None:
        return wanted
    left = memory - 2 * rows  # the updates, and what an aggregation rule makes of them
    if left < bytes_a_chunk:
        need = (2 * rows + bytes_a_chunk) / 1e6
        raise Misconfigured(
            "E105",
            f"a round's updates and one worker need about {need:,.0f} MB, but the limit is {memory / 1e6:,.0f} MB",
            place="memory",
            hint="raise the limit, lower cohort.fraction or the number of sites, or take a smaller model",
        )
    return min(wanted, left // bytes_a_chunk)
