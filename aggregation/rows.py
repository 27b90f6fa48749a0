"""The table of updates that every rule reads: one row per reply, numpy or torch, never changed."""

from collections.abc import Iterator
from operator import index
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import torch

__all__ = ["Array", "Floats", "as_numpy", "columns", "count", "like", "row_norms", "weighted_sum"]

Floats = npt.NDArray[np.float64]
Array = TypeVar("Array", bound="npt.NDArray[np.floating] | torch.Tensor")

_BLOCK_NUMBERS = 1 << 18  # numbers in one block: two megabytes in float64, so it stays in cache
_WIDEST = 1 << 14  # columns of a block at most


def as_numpy(X: "npt.ArrayLike | torch.Tensor") -> npt.NDArray[np.floating]:
    """The same numbers as a numpy array `(n, d)`, without a copy where memory can be shared.

    Integers are refused: counters and other integer buffers must never enter a distance.

    Raises:
        Misconfigured: E102 for a dtype other than float32 or float64, E126 for any other shape.
    """
    if _is_torch(X):
        tensor = cast("torch.Tensor", X).detach().cpu()
        if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
            raise Misconfigured("E102", f"updates must be float32 or float64, not {tensor.dtype}")
        rows: npt.NDArray[np.floating] = tensor.numpy()
    else:
        rows = np.asarray(X)
    if rows.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise Misconfigured("E102", f"updates must be float32 or float64, not {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise Misconfigured("E126", f"updates must be a table (n, d) with d >= 1, not of shape {rows.shape}")
    return rows


def like(result: npt.NDArray[np.floating], X: Array) -> Array:
    """`result` as the kind of array that the caller gave: same library, dtype and device."""
    if _is_torch(X):
        import torch

        given = cast(torch.Tensor, X)
        return cast(Array, torch.from_numpy(result).to(dtype=given.dtype, device=given.device))
    return cast(Array, result)


def _is_torch(X: object) -> bool:
    return type(X).__module__.split(".")[0] == "torch"  # without importing torch


def columns(n: int, d: int) -> Iterator[slice]:
    """Blocks of columns that cover `d`, each small enough that `n` rows of it stay in cache.

    >>> [block.stop - block.start for block in columns(1 << 10, 600)]
    [256, 256, 88]
    """
    width = max(64, min(_WIDEST, _BLOCK_NUMBERS // max(n, 1)))
    return (slice(start, min(start + width, d)) for start in range(0, d, width))


def count(f: int | float, n: int) -> int:
    """How many of `n` rows may be hostile: `f` itself, or `floor(f n + 1e-9)` where `f` is a fraction.

    >>> count(2, 11), count(0.2, 11), count(0.29, 100)
    (2, 2, 29)

    Raises:
        Misconfigured: E102 if `f` is not a number, E103 if it is negative or a fraction of 1 or more.
    """
    if isinstance(f, (bool, np.bool_)):
        raise Misconfigured("E102", f"f must be a count or a fraction, not {f}")
    if isinstance(f, (float, np.floating)):
        if not 0 <= f < 1:
            raise Misconfigured(
                "E103", f"a fraction f must be at least 0 and below 1, not {f}", hint="a count is an int"
            )
        return int(np.floor(float(f) * n + 1e-9))
    try:
        whole = index(f)
    except TypeError:
        raise Misconfigured("E102", f"f must be a count or a fraction, not {f!r}") from None
    if whole < 0:
        raise Misconfigured("E103", f"f must not be negative, not {whole}")
    return whole


def row_norms(rows: npt.NDArray[np.floating]) -> Floats:
    """Euclidean length of every row, to about seven digits; NaN or Inf where a row holds one. O(nd)."""
    squares = np.zeros(len(rows))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, rows.shape[1], _WIDEST):
            block = rows[:, start : start + _WIDEST]
            squares += np.vecdot(block, block)
        for row in np.flatnonzero(~np.isfinite(squares)):  # float32 squares overflow long before float64 ones
            squares[row] = np.square(rows[row], dtype=np.float64).sum()
        return np.sqrt(squares)


def weighted_sum(weights: Floats, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """`weights @ rows`, summed in float64 and returned in the rows' dtype; rows of weight 0 are not read. O(nd)."""
    active = np.flatnonzero(weights)
    if len(active) == 1 and weights[active[0]] == 1.0:
        selected: npt.NDArray[np.floating] = rows[active[0]].copy()
        return selected  # bit for bit
    total = np.zeros(rows.shape[1])
    every = len(active) == len(rows)
    width = min(_WIDEST, max(rows.shape[1], 1))
    height = max(1, _BLOCK_NUMBERS // width)
    wide = np.empty((height, width))
    for left in range(0, rows.shape[1], width):
        right = min(left + width, rows.shape[1])
        for top in range(0, len(active), height):
            chosen = slice(top, top + height) if every else active[top : top + height]
            part = rows[chosen, left:right]
            block = wide[: len(part), : right - left]
            np.copyto(block, part)
            total[left:right] += weights[chosen] @ block
    return total.astype(rows.dtype)
