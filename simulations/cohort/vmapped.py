"""Gradients of many clients for any module that `torch.func` can map over clients, and over records for privacy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from hedgerow.simulations.cohort.stacked import Batch, clip_weights
from hedgerow.simulations.cohort.stepping import Stepper

__all__ = ["VmappedGradients"]

Loss = Callable[[Tensor, Tensor], Tensor]
Values = dict[str, Tensor]


class VmappedGradients:
    """A module's gradients, clients by `vmap`; records' own gradients, where privacy clips them, by a second one.

    The module must compute a pure function of its parameters and its input: buffers that change, control flow that
    depends on data and dropout raise an error when the first batch is tried. `make` gives every thread a module of its
    own, since a functional call swaps the parameters inside it; what else the module holds is moved to `place`.
    """

    def __init__(self, make: Callable[[], nn.Module], loss: Loss, *, place: torch.device | None = None) -> None:
        self._make = make
        self._loss = loss
        self._place = torch.device("cpu") if place is None else place
        self._own = threading.local()
        module = make()
        self.trained = tuple(name for name, parameter in module.named_parameters() if parameter.requires_grad)
        self._by_client = vmap(grad(self._total), in_dims=(0, None, 0, 0, 0))
        self._by_record = vmap(vmap(grad(self._single), in_dims=(None, None, 0, 0)), in_dims=(0, None, 0, 0))

    def add(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper) -> None:
        weights = batch.here / batch.divisors[:, None]
        self._give(self._by_client(*self._values(parameters), batch.x, batch.y, weights), stepper)

    def add_clipped(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper, clip: float) -> None:
        found = self._by_record(*self._values(parameters), batch.x, batch.y)
        flat = {name: value.flatten(2) for name, value in found.items()}
        squares = torch.stack([value.square().sum(dim=2) for value in flat.values()]).sum(dim=0)
        weights, finite = clip_weights(squares, batch, clip)
        if not bool(finite.all()):  # a weight of zero is not enough: 0 · inf is not a number
            flat = {name: torch.where(finite[..., None], value, 0.0) for name, value in flat.items()}
        self._give(
            {name: torch.bmm(weights[:, None], value).view(-1, *found[name].shape[2:]) for name, value in flat.items()},
            stepper,
        )

    def _values(self, parameters: Mapping[str, Tensor]) -> tuple[Values, Values]:
        """What each client has of its own, and what all share: frozen parameters and floating-point buffers."""
        if not hasattr(self._own, "module"):
            self._own.module = self._make().train().to(self._place)
        own = {name: parameters[name] for name in self.trained}
        return own, {name: value[0] for name, value in parameters.items() if name not in own}

    def _give(self, found: Mapping[str, Tensor], stepper: Stepper) -> None:
        stepper.scale()
        for target, name in zip(stepper.targets, self.trained, strict=True):
            target.add_(found[name], alpha=stepper.alpha)

    def _total(self, own: Values, shared: Values, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        return (self._loss(self._outputs(own, shared, x), y) * weights).sum()

    def _single(self, own: Values, shared: Values, x: Tensor, y: Tensor) -> Tensor:
        return self._loss(self._outputs(own, shared, x.unsqueeze(0)), y.unsqueeze(0)).sum()

    def _outputs(self, own: Values, shared: Values, x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self._own.module, {**shared, **own}, (x,))
        return outputs
