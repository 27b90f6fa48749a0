"""Small networks that every engine and record-level privacy can train: no layer mixes the records of a batch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import torch

__all__ = ["linear", "mlp", "small_cnn"]


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Module:
    """Fully connected layers with ReLU between them: records (n, …) of `inputs` values each → logits (n, outputs).

    Raises:
        Misconfigured: E103 if any width is below 1.

    >>> sum(p.numel() for p in mlp(64, (128,), 10).parameters())  # 64·128 + 128 + 128·10 + 10
    9610
    """
    from torch import nn

    widths = (inputs, *hidden, outputs)
    _refuse_below(1, widths)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def linear(inputs: int, outputs: int) -> torch.nn.Module:
    """One linear layer, which is logistic regression under cross entropy: (n, …) → logits (n, outputs).

    Raises:
        Misconfigured: E103 if a width is below 1.
    """
    return mlp(inputs, (), outputs)


def small_cnn(channels: int, size: int | tuple[int, int], outputs: int) -> torch.nn.Module:
    """Two convolutions of 16 and 32 filters and a linear layer: images (n, channels, *size) → logits (n, outputs).

    Group normalisation (Wu and He, "Group Normalization", ECCV 2018, §3) stands where batch normalisation often does:
    it looks at one record at a time, so clipping a record's gradient bounds all of that record's influence.

    Raises:
        Misconfigured: E103 if a side is below 4 pixels, or `channels` or `outputs` is below 1.

    >>> sum(p.numel() for p in small_cnn(1, 8, 10).parameters())
    6186
    """
    from torch import nn

    height, width = (size, size) if isinstance(size, int) else size
    _refuse_below(1, (channels, outputs))
    _refuse_below(4, (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), outputs),
    )


def _refuse_below(least: int, widths: tuple[int, ...]) -> None:
    if min(widths) < least:
        raise Misconfigured("E103", f"a layer of {min(widths)} units or pixels, but at least {least} are needed")
