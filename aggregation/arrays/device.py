"""Updates that lie on an accelerator are worked on there: norms, distances, weighted sums, middle values.

Only what rules decide on comes back: n numbers per row, n² distances, and the vector. Rules that are made of none of
these read the columns block by block, so no more than a block is ever copied. torch is loaded by whoever made the
tensor.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.arrays.table import Table
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.rule import CoordinateRule, Judged
from hedgerow.aggregation.rules.coordinatewise import Median, TrimmedMean
from hedgerow.errors import Misconfigured

__all__ = ["OnDevice", "combined", "judged", "products", "squares", "stepped"]

_SPAN_NUMBERS = 1 << 22  # numbers of a span: many enough to keep a device busy, and 32 megabytes in float64
_DTYPES: dict[torch.dtype, np.dtype[np.floating]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


class OnDevice(Table):
    """A tensor `(n, d)` on any device that has float64.

    Raises:
        Misconfigured: E102 for a dtype other than float32 or float64.
    """

    __slots__ = ("_rows", "_tensor")
    on_device: ClassVar[bool] = True

    def __init__(self, tensor: torch.Tensor, rows: npt.NDArray[np.intp] | None = None) -> None:
        if tensor.dtype not in _DTYPES:
            raise Misconfigured("E102", f"updates must be float32 or float64, not {tensor.dtype}")
        self._tensor = tensor.detach()
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._tensor if self._rows is None else self._rows), self._tensor.shape[1]

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return _DTYPES[self._tensor.dtype]

    def spans(self) -> Iterator[tuple[slice, torch.Tensor]]:
        n, d = self.shape
        width = max(_SPAN_NUMBERS // max(n, 1), 64)
        chosen = None if self._rows is None else torch.from_numpy(self._rows).to(self._tensor.device)
        for start in range(0, d, width):
            span = slice(start, min(start + width, d))
            block = self._tensor[:, span]
            yield span, block if chosen is None else block.index_select(0, chosen)

    def take(self, rows: npt.NDArray[np.intp]) -> "OnDevice":
        return OnDevice(self._tensor, rows if self._rows is None else self._rows[rows])

    def row(self, index: int) -> npt.NDArray[np.floating]:
        return _array(self._tensor[index if self._rows is None else int(self._rows[index])])


def squares(rows: torch.Tensor) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Squared lengths of the rows of a block `(n, b)`, `(n,)`, and which are finite, `(n,)`."""
    wide = rows.to(torch.float64)
    return _floats((wide * wide).sum(dim=1)), np.asarray(torch.isfinite(rows).all(dim=1).cpu().numpy())


def products(rows: torch.Tensor, centre: int) -> Floats:
    """Inner products `(n + 1, n + 1)` of the rows of a block and of zero, less row `centre`."""
    wide = torch.nn.functional.pad(rows.to(torch.float64), (0, 0, 0, 1))
    wide -= wide[centre].clone()
    return _floats(wide @ wide.T)


def combined(weights: Floats, active: npt.NDArray[np.intp], rows: torch.Tensor) -> npt.NDArray[np.floating]:
    """`weights @ rows` of a block, without its rows of weight 0, summed in float64, in the rows' dtype."""
    if len(active) < len(rows):
        rows, weights = rows[torch.from_numpy(active).to(rows.device)], weights[active]
    shares = torch.from_numpy(weights).to(rows.device)
    return _array((shares @ rows.to(torch.float64)).to(rows.dtype))


def stepped(rows: torch.Tensor, mixing: Floats) -> torch.Tensor:
    """A block of rows after the steps: mixed by a matrix `(n, k)`, or scaled by factors `(k,)`."""
    shares = torch.from_numpy(np.ascontiguousarray(mixing)).to(device=rows.device, dtype=rows.dtype)
    return shares[:, None] * rows if shares.ndim == 1 else shares @ rows


def judged(rule: CoordinateRule, rows: torch.Tensor, given: Given, *, judge: bool) -> Judged | None:
    """What median or trimmed mean makes of a block; None for any other rule, and where rows have weights."""
    n = len(rows)
    if given.weights is not None or not isinstance(rule, (Median, TrimmedMean)):
        return None
    low, high = ((n - 1) // 2, n // 2 + 1) if isinstance(rule, Median) else (given.f, n - given.f)
    middle = rows.sort(dim=0).values[low:high]
    vector = middle.to(torch.float64).mean(dim=0)
    used = ((rows >= middle[0]) & (rows <= middle[-1])).cpu().numpy() if judge else None
    return Judged(_floats(vector), used)


def _floats(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float64)


def _array(tensor: torch.Tensor) -> npt.NDArray[np.floating]:
    found: npt.NDArray[np.floating] = tensor.cpu().numpy()
    return found.copy() if tensor.device.type == "cpu" else found
