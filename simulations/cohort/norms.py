"""Normalisation of many clients at once, each with a scale and an offset of its own: (A, B, …) activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hedgerow.simulations.cohort.layers import Affine, Saved, add_scaled, zeroed

__all__ = ["GroupNorm", "LayerNorm"]


@dataclass(frozen=True, slots=True)
class GroupNorm(Affine):
    """`nn.GroupNorm` with weights: (A, B, C, …)."""

    groups: int
    eps: float

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (x,) = inputs
        flat = x.flatten(0, 1).contiguous()
        pixels = math.prod(flat.shape[2:])
        normal, mean, scale = torch.ops.aten.native_group_norm(
            flat, None, None, len(flat), flat.shape[1], pixels, self.groups, self.eps
        )
        normal = normal.view(x.shape)
        weight, bias = (_by_channel(parameter, x) for parameter in parameters)
        return torch.addcmul(bias, normal, weight), (flat, normal, mean, scale)

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        flat, normal, mean, scale = saved
        scaled = (delta * _by_channel(parameters[0], normal)).flatten(0, 1).contiguous()
        pixels = math.prod(flat.shape[2:])
        grads = torch.ops.aten.native_group_norm_backward(
            scaled, flat, mean, scale, None, len(flat), flat.shape[1], pixels, self.groups, (True, False, False)
        )
        return (grads[0].view(normal.shape),)

    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        by_weight, by_bias = _by_record(delta, saved[1])
        return by_weight.square().sum(dim=2) + by_bias.square().sum(dim=2)

    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        for target, gradient in zip(out, _by_record(delta, saved[1]), strict=True):
            add_scaled(target, gradient.sum(dim=1), beta, alpha)

    def without(self, saved: Saved, kept: Tensor) -> Saved:
        return saved[0], zeroed(saved[1], kept), *saved[2:]


@dataclass(frozen=True, slots=True)
class LayerNorm(Affine):
    """`nn.LayerNorm` with weights, over the last dimensions of `shape`."""

    shape: tuple[int, ...]
    eps: float

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (x,) = inputs
        x = x.contiguous()
        normal, mean, scale = torch.ops.aten.native_layer_norm(x, list(self.shape), None, None, self.eps)
        weight, bias = (self._spread(parameter, x) for parameter in parameters)
        return torch.addcmul(bias, normal, weight), (x, normal, mean, scale)

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        x, _, mean, scale = saved
        scaled = (delta * self._spread(parameters[0], x)).contiguous()
        grads = torch.ops.aten.native_layer_norm_backward(
            scaled, x, list(self.shape), mean, scale, None, None, (True, False, False)
        )
        return (grads[0],)

    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        by_weight, by_bias = self._gradients(delta, saved)
        return by_weight.square().flatten(2).sum(dim=2) + by_bias.square().flatten(2).sum(dim=2)

    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        for target, gradient in zip(out, self._gradients(delta, saved), strict=True):
            add_scaled(target, gradient.sum(dim=1), beta, alpha)

    def without(self, saved: Saved, kept: Tensor) -> Saved:
        return saved[0], zeroed(saved[1], kept), *saved[2:]

    def _gradients(self, delta: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
        """Each record's gradients by weight and bias, (A, B, *shape)."""
        between = tuple(range(2, delta.dim() - len(self.shape)))
        by_weight = delta * saved[1]
        return (by_weight.sum(dim=between), delta.sum(dim=between)) if between else (by_weight, delta)

    def _spread(self, parameter: Tensor, x: Tensor) -> Tensor:
        return parameter.view(len(parameter), *[1] * (x.dim() - 1 - len(self.shape)), *self.shape)


def _by_record(delta: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Each record's gradients by a channel's weight and bias, (A, B, C)."""
    if delta.dim() == 3:
        return delta * normal, delta
    return (delta * normal).flatten(3).sum(dim=3), delta.flatten(3).sum(dim=3)


def _by_channel(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(len(parameter), 1, -1, *[1] * (x.dim() - 3))
