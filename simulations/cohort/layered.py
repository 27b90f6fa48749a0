"""Gradients of many clients by batched products, one layer after another; records' norms without their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hedgerow.simulations.cohort.layers import Affine, Saved
from hedgerow.simulations.cohort.network import Network
from hedgerow.simulations.cohort.stacked import Batch, clip_weights
from hedgerow.simulations.cohort.stepping import Stepper

__all__ = ["LayeredGradients", "LossGradient", "cross_entropy_gradient", "gradient_of"]

LossGradient = Callable[
    [Tensor, Tensor], Tensor
]  # outputs (rows, …), labels (rows,) → each row's gradient by its outputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayeredGradients:
    """A network's gradients, given the gradient of the loss by its outputs."""

    network: Network
    loss: LossGradient

    @property
    def trained(self) -> tuple[str, ...]:
        return self.network.trained

    def add(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper) -> None:
        delta, saved = self._ahead(batch, parameters)
        delta *= _beside(batch.here / batch.divisors[:, None], delta)
        targets = dict(zip(self.trained, stepper.targets, strict=True))

        def visit(number: int, arrived: Tensor) -> None:
            outs = [targets[name] for name in self.network.nodes[number].parameters]
            self._affine(number).accumulate(arrived, saved[number], outs, beta=stepper.beta, alpha=stepper.alpha)

        self.network.backward(delta, saved, parameters, visit=visit)

    def add_clipped(self, batch: Batch, parameters: Mapping[str, Tensor], stepper: Stepper, clip: float) -> None:
        delta, saved = self._ahead(batch, parameters)
        arrived: dict[int, Tensor] = {}
        self.network.backward(delta, saved, parameters, visit=arrived.__setitem__)
        squares = torch.zeros(batch.here.shape, dtype=delta.dtype, device=delta.device)
        for number, gradient in arrived.items():
            squares += self._affine(number).squares(gradient, saved[number])
        weights, finite = clip_weights(squares, batch, clip)
        broken = not bool(finite.all())
        targets = dict(zip(self.trained, stepper.targets, strict=True))
        for number, gradient in arrived.items():
            op, kept = self._affine(number), saved[number]
            if broken:  # a weight of zero is not enough: 0 · inf is not a number
                gradient = torch.where(_beside(finite, gradient), gradient, 0.0)
                kept = op.without(kept, finite)
            outs = [targets[name] for name in self.network.nodes[number].parameters]
            op.accumulate(gradient * _beside(weights, gradient), kept, outs, beta=stepper.beta, alpha=stepper.alpha)

    def _ahead(self, batch: Batch, parameters: Mapping[str, Tensor]) -> tuple[Tensor, list[Saved]]:
        """The loss's gradient by each record's outputs, and what the steps saved."""
        outputs, saved = self.network.forward(batch.x, parameters)
        return self.loss(outputs, batch.y), saved

    def _affine(self, number: int) -> Affine:
        op = self.network.nodes[number].op
        assert isinstance(op, Affine)
        return op


def cross_entropy_gradient(outputs: Tensor, labels: Tensor) -> Tensor:
    """Softmax minus the label's indicator: (A, B, classes) and (A, B) → (A, B, classes)."""
    gradient = torch.softmax(outputs, dim=-1)
    gradient.scatter_add_(2, labels.unsqueeze(-1), gradient.new_full((1, 1, 1), -1.0).expand(*labels.shape, 1))
    return gradient


def gradient_of(loss: Callable[[Tensor, Tensor], Tensor]) -> LossGradient:
    """The gradient of any loss that gives one value a record, each client's batch by itself.

    Mapped over clients, so a loss that looks at its batch as a whole never sees another client's records, and one that
    decides by what it sees raises an error.
    """
    from torch.func import grad, vmap  # its first use takes seconds

    def total(outputs: Tensor, labels: Tensor) -> Tensor:
        return loss(outputs, labels).sum()

    mapped: LossGradient = vmap(grad(total))
    return mapped


def _beside(values: Tensor, gradient: Tensor) -> Tensor:
    """Values by record (A, B), to multiply a gradient (A, B, …)."""
    return values.view(*values.shape, *[1] * (gradient.dim() - 2))
