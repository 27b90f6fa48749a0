"""The updates as a table of rows, wherever they are kept: in memory, in a mapped file, layer by layer, on a device.

What rules need of it is read in spans of columns, so that nothing has to be in memory whole. The spans' bounds depend
on the table's shape alone: the same numbers give the same sums, bit for bit, however they are kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Union, cast

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.threads import WORTH
from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import torch

__all__ = ["Block", "InMemory", "Layered", "Layers", "Passes", "Streamed", "Table", "as_array", "span_width"]

Block = Union[npt.NDArray[np.floating], "torch.Tensor"]
Row = Union[Mapping[str, Block], Sequence[Block]]
Layers = Sequence[Row]
Streamed = Union[Layers, Sequence[Block], Callable[[], Iterable[Block]]]

_SPAN_NUMBERS = 1 << 20  # numbers of a span: four megabytes in float32
_WIDEST = 1 << 14
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


def span_width(n: int, d: int) -> int:
    """Columns of a span: all of a small table's, else so many that `n` rows of it are some megabytes.

    >>> span_width(20, 100_000), span_width(20, 1_000_000), span_width(1000, 1_000_000)
    (100000, 49152, 1024)
    """
    if n * d * max(n, 20) // 20 <= WORTH:
        return max(d, 1)
    width = max(_SPAN_NUMBERS // max(n, 1), 64)
    return width // _WIDEST * _WIDEST if width >= _WIDEST else 1 << (width.bit_length() - 1)


class Table(ABC):
    """`n` rows of `d` numbers, float32 or float64, that can be read more than once and are never written to."""

    __slots__ = ()
    on_device: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """`(n, d)`."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[np.floating]:
        """Of every number in it."""

    @abstractmethod
    def spans(self) -> Iterator[tuple[slice, Block]]:
        """All columns in order, `(n, b)` at a time, each span as wide as `span_width` says, except the last."""

    @abstractmethod
    def take(self, rows: npt.NDArray[np.intp]) -> "Table":
        """Those rows alone, in that order, not copied before they are read."""

    def whole(self) -> npt.NDArray[np.floating] | None:
        """All rows as one array whose rows are each in one piece of memory, if that is what the table is."""
        return None

    def row(self, index: int) -> npt.NDArray[np.floating]:
        """A copy of one row `(d,)`."""
        found = np.empty(self.shape[1], self.dtype)
        for span, block in self.spans():
            found[span] = as_array(block[index])
        return found

    def every(self, step: int) -> npt.NDArray[np.floating]:
        """A copy of every `step`-th column, from the first."""
        parts = [as_array(block[:, -span.start % step :: step]).copy() for span, block in self.spans()]
        return np.concatenate(parts, axis=1)


class InMemory(Table):
    """An array `(n, d)`, also one that is a mapped file."""

    __slots__ = ("_array", "_rows")

    def __init__(self, array: npt.NDArray[np.floating], rows: npt.NDArray[np.intp] | None = None) -> None:
        self._array = array
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._array if self._rows is None else self._rows), self._array.shape[1]

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._array.dtype

    def spans(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        for span in _spans(*self.shape):
            yield span, self._array[:, span] if self._rows is None else self._array[self._rows, span]

    def take(self, rows: npt.NDArray[np.intp]) -> "InMemory":
        return InMemory(self._array, rows if self._rows is None else self._rows[rows])

    def whole(self) -> npt.NDArray[np.floating] | None:
        plain = self._rows is None and self._array.flags.c_contiguous
        return self._array if plain else None

    def row(self, index: int) -> npt.NDArray[np.floating]:
        return cast("npt.NDArray[np.floating]", self._array[index if self._rows is None else self._rows[index]].copy())

    def every(self, step: int) -> npt.NDArray[np.floating]:
        if self._rows is None:
            return self._array[:, ::step].copy()
        return self._array[self._rows, ::step]


class Layered(Table):
    """Rows that each come as named or numbered layers of any shape: a row is its layers, flat, one after the other.

    The first row says the layers' order; the others must have the same names and shapes.

    Raises:
        Misconfigured: E102 for a dtype other than float32 or float64, or for two dtypes; E126 where layers differ.
    """

    __slots__ = ("_dtype", "_edges", "_layers")

    def __init__(self, rows: Layers) -> None:
        given = [[as_array(layer) for layer in _in_order(row, rows[0])] for row in rows]
        first = given[0]
        for number, row in enumerate(given):
            if [layer.shape for layer in row] != [layer.shape for layer in first]:
                raise Misconfigured("E126", f"the layers of row {number} have other shapes than those of row 0")
        kinds = {layer.dtype for row in given for layer in row}
        if len(kinds) > 1:
            raise Misconfigured("E102", f"updates must be of one dtype, not {sorted(map(str, kinds))}")
        self._dtype = kinds.pop() if kinds else np.dtype(np.float64)
        self._edges = np.cumsum([0, *(layer.size for layer in first)]).tolist()
        self._layers = [[layer.reshape(-1) if layer.flags.c_contiguous else layer for layer in row] for row in given]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._layers), self._edges[-1]

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._dtype

    def spans(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        for span in _spans(*self.shape):
            block = np.empty((len(self._layers), span.stop - span.start), self._dtype)
            for number, (left, right) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
                start, stop = max(left, span.start), min(right, span.stop)
                if start < stop:
                    for row, layers in zip(block, self._layers, strict=True):
                        row[start - span.start : stop - span.start] = _flat(layers[number], start - left, stop - left)
            yield span, block

    def take(self, rows: npt.NDArray[np.intp]) -> "Layered":
        taken = Layered.__new__(Layered)
        taken._layers = [self._layers[row] for row in rows]
        taken._edges, taken._dtype = self._edges, self._dtype
        return taken


class Passes(Table):
    """Blocks of columns `(n, b)` that come one after the other, again on every call of `start`.

    Each use of a rule reads them a few times; the blocks may have any widths.

    Raises:
        Misconfigured: E126 where blocks have different numbers of rows or another pass other columns, E102 for a dtype.
    """

    __slots__ = ("_dtype", "_rows", "_shape", "_start")

    def __init__(self, start: Callable[[], Iterable[Block]]) -> None:
        self._start = start
        self._rows: npt.NDArray[np.intp] | None = None
        heights, kinds, d = set(), set(), 0
        for block in start():
            if block.ndim != 2:
                raise Misconfigured("E126", f"blocks of columns must have shape (n, b), not {tuple(block.shape)}")
            heights.add(int(block.shape[0]))
            kinds.add(str(block.dtype).removeprefix("torch."))
            d += int(block.shape[1])
        if len(heights) > 1:
            raise Misconfigured("E126", f"blocks of columns must have the same rows, not {sorted(heights)}")
        if len(kinds) > 1 or not kinds <= {"float32", "float64"}:
            raise Misconfigured("E102", f"updates must be float32 or float64, not {', '.join(sorted(kinds))}")
        self._shape = (heights.pop() if heights else 0, d)
        self._dtype: np.dtype[np.floating] = np.dtype(kinds.pop() if kinds else np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape[0] if self._rows is None else len(self._rows), self._shape[1]

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._dtype

    def spans(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        pieces, piece, used = iter(self._start()), np.empty((self._shape[0], 0), self._dtype), 0
        for span in _spans(*self.shape):
            block = np.empty((self.shape[0], span.stop - span.start), self._dtype)
            filled = 0
            while filled < block.shape[1]:
                if used == piece.shape[1]:
                    piece, used = self._next(pieces), 0
                    continue
                more = min(block.shape[1] - filled, piece.shape[1] - used)
                rows = slice(None) if self._rows is None else self._rows
                block[:, filled : filled + more] = piece[rows, used : used + more]
                filled, used = filled + more, used + more
            yield span, block
        if used != piece.shape[1] or any(block.shape[1] for block in pieces):
            raise Misconfigured("E126", "more columns came than before")

    def take(self, rows: npt.NDArray[np.intp]) -> "Passes":
        taken = Passes.__new__(Passes)
        taken._start, taken._shape, taken._dtype = self._start, self._shape, self._dtype
        taken._rows = rows if self._rows is None else self._rows[rows]
        return taken

    def _next(self, pieces: Iterator[Block]) -> npt.NDArray[np.floating]:
        piece = next(pieces, None)
        if piece is None:
            raise Misconfigured("E126", "fewer columns came than before", hint="can they be read twice?")
        read = as_array(piece)
        if read.ndim != 2 or len(read) != self._shape[0]:
            raise Misconfigured("E126", f"a block of shape {read.shape} came, and {self._shape[0]} rows before")
        return read


def as_array(block: Block) -> npt.NDArray[np.floating]:
    """An array or tensor as an array, without a copy where memory can be shared.

    Raises:
        Misconfigured: E102 for a dtype other than float32 or float64.
    """
    if isinstance(block, np.ndarray) or not hasattr(block, "detach"):
        array = np.asarray(block)
    else:
        tensor = block.detach().cpu()
        if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
            raise Misconfigured("E102", f"updates must be float32 or float64, not {tensor.dtype}")
        array = tensor.numpy()
    if array.dtype not in _REAL:
        raise Misconfigured("E102", f"updates must be float32 or float64, not {array.dtype}")
    return cast("npt.NDArray[np.floating]", array)


def _in_order(row: Row, first: Row) -> list[Block]:
    if isinstance(row, Mapping) != isinstance(first, Mapping):
        raise Misconfigured("E126", "rows must all have named layers, or none")
    if not isinstance(row, Mapping):
        return list(row)
    if set(row) != set(first):
        raise Misconfigured("E126", f"rows must have the same layers: {sorted(set(row) ^ set(first))} are not in all")
    return [row[name] for name in cast("Mapping[str, Block]", first)]


def _flat(layer: npt.NDArray[np.floating], start: int, stop: int) -> npt.NDArray[np.floating]:
    """That part of a layer laid flat, which is copied no further than that."""
    return layer[start:stop] if layer.ndim == 1 else layer.flat[start:stop]


def _spans(n: int, d: int) -> Iterator[slice]:
    width = span_width(n, d)
    return (slice(start, min(start + width, d)) for start in range(0, d, width))
