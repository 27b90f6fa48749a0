"""Steps without parameters: activations, pooling, flattening, sums; each record by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hedgerow.simulations.cohort.layers import Op, Saved

__all__ = ["Add", "Flatten", "Function", "ReLU", "Sigmoid", "Tanh", "WholeNumbers"]


@dataclass(frozen=True, slots=True)
class ReLU(Op):
    """max(x, 0) of each number; what is saved is the output."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        y = inputs[0].clamp_min(0.0)
        return y, y

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.ops.aten.threshold_backward(delta, saved, 0.0),)


@dataclass(frozen=True, slots=True)
class Tanh(Op):
    """tanh of each number; what is saved is the output."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        y = inputs[0].tanh()
        return y, y

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.ops.aten.tanh_backward(delta, saved),)


@dataclass(frozen=True, slots=True)
class Sigmoid(Op):
    """1 / (1 + exp(-x)) of each number; what is saved is the output."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        y = inputs[0].sigmoid()
        return y, y

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.ops.aten.sigmoid_backward(delta, saved),)


@dataclass(frozen=True, slots=True)
class Flatten(Op):
    """Everything of a record in one dimension."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        return inputs[0].flatten(2) if inputs[0].dim() > 2 else inputs[0].unsqueeze(2), inputs[0].shape

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (delta.reshape(saved),)


@dataclass(frozen=True, slots=True)
class Add(Op):
    """The sum of two activations of one shape (a residual connection)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        if inputs[0].shape != inputs[1].shape:
            raise ValueError("the two activations have different shapes")
        return inputs[0] + inputs[1], None

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return delta, delta


@dataclass(frozen=True, slots=True)
class WholeNumbers(Op):
    """Records that are whole numbers stored as floats (token numbers), as integers."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        return inputs[0].long(), None

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (delta.new_zeros(()),)


@dataclass(frozen=True, slots=True)
class Function(Op):
    """Any function of one activation that treats records one by one, given as (records, …) → (records, …)."""

    call: Callable[[Tensor], Tensor]

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (x,) = inputs
        flat = x.flatten(0, 1).detach().requires_grad_(x.is_floating_point())
        with torch.enable_grad():
            y = self.call(flat)
        return y.detach().view(*x.shape[:2], *y.shape[1:]), (flat, y, x.shape)

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        flat, y, shape = saved
        (gradient,) = torch.autograd.grad(y, flat, delta.reshape(y.shape))
        return (gradient.view(shape),)
