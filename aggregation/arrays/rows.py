"""What is read from a table of updates: lengths and weighted sums of its rows; and the table made of what was given."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.table import Block, InMemory, Layered, Layers, Passes, Table, as_array, span_width
from hedgerow.aggregation.arrays.threads import in_order
from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import torch

__all__ = [
    "Array",
    "Floats",
    "Lengths",
    "as_numpy",
    "as_table",
    "columns",
    "count",
    "lengths",
    "like",
    "row_norms",
    "weighted_sum",
]

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
    rows = as_array(cast(Block, X))
    _check(rows.shape)
    return rows


def as_table(X: object) -> Table:
    """The table of what `aggregate` was given, nothing copied and no array read.

    An array or a tensor `(n, d)`, a mapped file included; rows as layers, `[{name: array}]` or `[[array, ...]]`; a list
    of blocks of columns `(n, b)`; or a function that starts a new pass over such blocks.

    Raises:
        Misconfigured: E102 for a dtype other than float32 or float64, or for an iterator, which can be read only once;
            E126 for any other shape.
    """
    table = _table(X)
    _check(table.shape)
    return table


def _table(X: object) -> Table:
    if _is_torch(X):
        tensor = cast("torch.Tensor", X).detach()
        if tensor.device.type in _ELSEWHERE:
            from hedgerow.aggregation.arrays.device import OnDevice

            _check(tuple(tensor.shape))
            return OnDevice(tensor)
        return InMemory(as_numpy(tensor))
    if callable(X):
        return Passes(cast(Callable[[], Iterable[Block]], X))
    if isinstance(X, Iterator):
        raise Misconfigured("E102", "an iterator can be read only once", hint="pass a function that makes a new one")
    if isinstance(X, Sequence) and len(X):
        first = X[0]
        if isinstance(first, Mapping) or (isinstance(first, (list, tuple)) and len(first) and _is_array(first[0])):
            return Layered(cast(Layers, X))
        if _is_array(first) and first.ndim == 2:
            return Passes(lambda: cast(Sequence[Block], X))
    return InMemory(as_numpy(cast(npt.ArrayLike, X)))


def like(result: npt.NDArray[np.floating], X: Array) -> Array:
    """`result` as the kind of array that the caller gave: same library, dtype and device."""
    if _is_torch(X):
        import torch

        given = cast(torch.Tensor, X)
        return cast(Array, torch.from_numpy(result).to(dtype=given.dtype, device=given.device))
    return cast(Array, result)


_ELSEWHERE = ("cuda", "xpu")  # devices with float64, where a tensor's numbers are worked on where they are


def _is_torch(X: object) -> bool:
    return type(X).__module__.split(".")[0] == "torch"  # without importing torch


def _is_array(X: object) -> bool:
    return isinstance(X, np.ndarray) or _is_torch(X)


def _check(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] == 0:
        raise Misconfigured("E126", f"updates must be a table (n, d) with d >= 1, not of shape {shape}")


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


class Lengths(NamedTuple):
    """Euclidean length of every row, `(n,)`, and which rows are all finite, `(n,)`."""

    norms: Floats
    finite: npt.NDArray[np.bool_]


def lengths(table: Table) -> Lengths:
    """Lengths to about seven digits, NaN or Inf where a row holds one or its square is no float64. O(nd), one pass."""
    n, d = table.shape
    squares, finite = np.zeros(n), np.ones(n, np.bool_)
    rows, width = table.whole(), span_width(n, d)
    if rows is not None and width < min(d, _WIDEST):  # long runs of memory, in the sums of the spans
        starts = range(0, n, max((1 << 21) // d, 1))
        blocks = [slice(start, start + starts.step) for start in starts]
        for block, (more, real) in zip(
            blocks, in_order(lambda block: _squares(rows[block], width), blocks, numbers=n * d), strict=True
        ):
            squares[block], finite[block] = more, real
        return Lengths(np.sqrt(squares), finite)
    for more, real in in_order(_squares, (block for _, block in table.spans()), numbers=n * d):
        squares += more
        finite &= real
    return Lengths(np.sqrt(squares), finite)


def row_norms(rows: npt.NDArray[np.floating]) -> Floats:
    """Euclidean length of every row, to about seven digits; NaN or Inf where a row holds one. O(nd)."""
    return lengths(InMemory(rows)).norms


def _squares(rows: Block, width: int = _WIDEST) -> tuple[Floats, npt.NDArray[np.bool_]]:
    if not isinstance(rows, np.ndarray):
        from hedgerow.aggregation.arrays import device

        return device.squares(rows)
    squares, finite = np.zeros(len(rows)), np.ones(len(rows), np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):
        whole = rows.shape[1] // width * width
        # In one call, so that threads seldom wait for Python.
        pieces = rows[:, :whole].reshape(len(rows), whole // width, width)
        for piece in np.vecdot(pieces, pieces).T:
            squares += piece
        if whole < rows.shape[1]:
            squares += np.vecdot(rows[:, whole:], rows[:, whole:])
        for row in np.flatnonzero(~np.isfinite(squares)):  # float32 squares overflow long before float64 ones
            finite[row] = np.isfinite(rows[row]).all()
            squares[row] = np.square(rows[row], dtype=np.float64).sum()
    return squares, finite


def weighted_sum(weights: Floats, rows: npt.NDArray[np.floating] | Table) -> npt.NDArray[np.floating]:
    """`weights @ rows`, summed in float64 and returned in the rows' dtype; rows of weight 0 are not read. O(nd)."""
    table = rows if isinstance(rows, Table) else InMemory(rows)
    active = np.flatnonzero(weights)
    if len(active) == 1 and weights[active[0]] == 1.0:
        return table.row(int(active[0]))  # bit for bit
    n, d = table.shape
    total = np.empty(d, table.dtype)

    def add(part: tuple[slice, Block]) -> None:
        span, block = part
        if isinstance(block, np.ndarray):
            _sum_into(total[span], weights, active, block)
        else:
            from hedgerow.aggregation.arrays import device

            total[span] = device.combined(weights, active, block)

    for _ in in_order(add, table.spans(), numbers=n * d):
        pass
    return total


def _sum_into(
    total: npt.NDArray[np.floating], weights: Floats, active: npt.NDArray[np.intp], rows: npt.NDArray[np.floating]
) -> None:
    width = min(_WIDEST, max(rows.shape[1], 1))
    height = max(1, _BLOCK_NUMBERS // width)
    wide = np.empty((min(height, len(active)), width))
    every = len(active) == len(rows)
    for left in range(0, rows.shape[1], width):
        right = min(left + width, rows.shape[1])
        sums = np.zeros(right - left)
        for top in range(0, len(active), height):
            chosen = slice(top, top + height) if every else active[top : top + height]
            part = rows[chosen, left:right]
            block = wide[: len(part), : right - left]
            np.copyto(block, part)
            sums += weights[chosen] @ block
        total[left:right] = sums
