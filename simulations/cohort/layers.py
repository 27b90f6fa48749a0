"""Layers of many clients at once: a batched product where each client has weights of its own.

Activations are (A, B, …): A clients, B records of each. A layer's parameters are (A, *shape). Backward passes are
written out rather than recorded, since they must also give each record's gradient norm without building each record's
gradient. For a linear layer that is |δ|²·|a|² (Goodfellow, "Efficient per-example gradient computations", arXiv
1510.01799, sec. 4); for layers that use a weight several times per record it is a product of two Gram matrices (Li et
al., "Large language models can be strong differentially private learners", ICLR 2022, sec. 4), or the gradient itself
where that is smaller (Bu et al., "Scalable and efficient training of large convolutional neural networks with
differential privacy", NeurIPS 2022, sec. 3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Affine", "Convolution", "Embedding", "Linear", "Op", "Saved", "add_scaled", "zeroed"]

Saved = Any  # what a layer's forward pass keeps for its backward pass: known to that layer only


class Op(ABC):
    """A step of a network on (A, B, …) activations; it keeps nothing between calls, so threads share it."""

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        """The output and what the backward pass needs."""

    @abstractmethod
    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The loss's gradient by each input, from the one by the output."""


class Affine(Op):
    """A step with parameters."""

    @abstractmethod
    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        """The squared norm of each record's gradient by this layer's parameters, (A, B)."""

    @abstractmethod
    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        """`out = beta · out + alpha · gradient`, summed over each client's records, in place."""

    @abstractmethod
    def without(self, saved: Saved, kept: Tensor) -> Saved:
        """What was saved, with zeros for the records that are not `kept` (A, B)."""


@dataclass(frozen=True, slots=True)
class Linear(Affine):
    """`nn.Linear`, on (A, B, inputs) or (A, B, T, inputs)."""

    bias: bool

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (x,) = inputs
        flat = x.reshape(len(x), -1, x.shape[-1])
        weight = parameters[0].transpose(1, 2)
        y = torch.baddbmm(parameters[1].unsqueeze(1), flat, weight) if self.bias else torch.bmm(flat, weight)
        return y.view(*x.shape[:-1], y.shape[-1]), x

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (torch.bmm(_flat(delta), parameters[0]).view(*delta.shape[:-1], parameters[0].shape[2]),)

    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        if delta.dim() == 3:
            inner = saved.square().sum(dim=-1)
            return delta.square().sum(dim=-1).mul_(inner.add_(1.0) if self.bias else inner)
        rows, columns = delta.flatten(2, -2), saved.flatten(2, -2)
        squared = _product_squares(rows, columns)
        return squared + rows.sum(dim=2).square().sum(dim=-1) if self.bias else squared

    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        rows = _flat(delta)
        out[0].baddbmm_(rows.transpose(1, 2), _flat(saved), beta=beta, alpha=alpha)
        if self.bias:
            add_scaled(out[1], rows.sum(dim=1), beta, alpha)

    def without(self, saved: Saved, kept: Tensor) -> Saved:
        return zeroed(saved, kept)


@dataclass(frozen=True, slots=True)
class Convolution(Affine):
    """`nn.Conv2d` without groups, as a product with the image's patches: (A, B, C, H, W) → (A, B, filters, H', W')."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    bias: bool

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (x,) = inputs
        patches, height, width = self._patches(x)
        weight = parameters[0].flatten(2).transpose(1, 2)
        flat = patches.flatten(1, 2)
        y = torch.baddbmm(parameters[1].unsqueeze(1), flat, weight) if self.bias else torch.bmm(flat, weight)
        y = y.view(len(x), x.shape[1], height, width, -1).permute(0, 1, 4, 2, 3)
        return y, (patches, x.shape)

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        _, shape = saved
        rows = self._rows(delta)
        patches = torch.bmm(rows.flatten(1, 2), parameters[0].flatten(2))
        patches = patches.view(shape[0] * shape[1], rows.shape[2], -1).transpose(1, 2)
        image = F.fold(
            patches,
            output_size=shape[3:],
            kernel_size=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        return (image.view(shape),)

    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        rows = self._rows(delta)
        squared = _product_squares(rows, saved[0])
        return squared + rows.sum(dim=2).square().sum(dim=-1) if self.bias else squared

    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        rows = self._rows(delta).flatten(1, 2)
        out[0].flatten(2).baddbmm_(rows.transpose(1, 2), saved[0].flatten(1, 2), beta=beta, alpha=alpha)
        if self.bias:
            add_scaled(out[1], rows.sum(dim=1), beta, alpha)

    def without(self, saved: Saved, kept: Tensor) -> Saved:
        return zeroed(saved[0], kept), saved[1]

    def _patches(self, x: Tensor) -> tuple[Tensor, int, int]:
        """What each output pixel sees, (A, B, H'·W', C·kh·kw)."""
        (down, across), (step_down, step_across) = self.padding, self.stride
        if down or across:
            x = F.pad(x, (across, across, down, down))
        kernel = [(size - 1) * spread + 1 for size, spread in zip(self.kernel, self.dilation)]
        windows = x.unfold(3, kernel[0], step_down).unfold(4, kernel[1], step_across)
        windows = windows[..., :: self.dilation[0], :: self.dilation[1]]
        height, width = windows.shape[3:5]
        patches = windows.permute(0, 1, 3, 4, 2, 5, 6).reshape(*x.shape[:2], height * width, -1)
        return patches, height, width

    @staticmethod
    def _rows(delta: Tensor) -> Tensor:
        """(A, B, filters, H', W') → (A, B, H'·W', filters)."""
        return delta.flatten(3).transpose(2, 3)


@dataclass(frozen=True, slots=True)
class Embedding(Affine):
    """`nn.Embedding`: whole numbers (A, B, …) → vectors (A, B, …, width)."""

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, Saved]:
        (tokens,) = inputs
        flat = tokens.flatten(1)
        table = parameters[0]
        vectors = torch.gather(table, 1, flat.unsqueeze(-1).expand(-1, -1, table.shape[2]))
        return vectors.view(*tokens.shape, table.shape[2]), tokens

    def backward(self, delta: Tensor, saved: Saved, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (delta.new_zeros(()),)  # whole numbers have no gradient; nothing trains before them

    def squares(self, delta: Tensor, saved: Saved) -> Tensor:
        rows = delta.flatten(2, -2).double()  # sums of squares that cancel: float32 would lose a small norm
        tokens = saved.reshape(*rows.shape[:3])
        same = tokens.unsqueeze(-1) == tokens.unsqueeze(-2)
        products: Tensor = torch.matmul(rows, rows.transpose(2, 3))
        return products.mul_(same).sum(dim=(2, 3)).clamp_(min=0.0).to(delta.dtype)

    def accumulate(self, delta: Tensor, saved: Saved, out: Sequence[Tensor], *, beta: float, alpha: float) -> None:
        rows = delta.flatten(1, -2)
        where = saved.flatten(1).unsqueeze(-1).expand_as(rows)
        add_scaled(out[0], torch.zeros_like(out[0]).scatter_add_(1, where, rows), beta, alpha)

    def without(self, saved: Saved, kept: Tensor) -> Saved:
        return saved  # token numbers are finite


def zeroed(x: Tensor, kept: Tensor) -> Tensor:
    """x (A, B, …) with zeros for the records that are not `kept` (A, B)."""
    return torch.where(kept.view(*kept.shape, *[1] * (x.dim() - 2)), x, 0.0)


def _flat(x: Tensor) -> Tensor:
    """(A, B, …, n) → (A, rows, n)."""
    return x.reshape(len(x), -1, x.shape[-1])


def _product_squares(rows: Tensor, columns: Tensor) -> Tensor:
    """|Σ_t rows_t columns_tᵀ|² of each record, from (A, B, T, m) and (A, B, T, n): by Gram matrices or directly."""
    places = rows.shape[2]
    if 4 * places * places < rows.shape[3] * columns.shape[3]:
        # In float64: the terms cancel, and a norm that is told too small lets a record weigh more than its clip.
        left, right = rows.double(), columns.double()
        product = torch.matmul(left, left.transpose(2, 3)).mul_(torch.matmul(right, right.transpose(2, 3)))
        return product.sum(dim=(2, 3)).clamp_(min=0.0).to(rows.dtype)
    products: Tensor = torch.matmul(rows.transpose(2, 3), columns)
    return products.square_().sum(dim=(2, 3))


def add_scaled(out: Tensor, gradient: Tensor, beta: float, alpha: float) -> None:
    """`out = beta · out + alpha · gradient`, in place."""
    _scale(out, beta)
    out.add_(gradient, alpha=alpha)


def _scale(out: Tensor, beta: float) -> None:
    if beta == 0.0:
        out.zero_()  # 0 · inf is not 0
    elif beta != 1.0:
        out.mul_(beta)
