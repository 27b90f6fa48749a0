"""Distances between updates from one pass over them, exact enough to trust the order.

Every rule whose output is a weighted sum of rows needs only the inner products of the rows about some centre: `n²`
numbers, however long the rows are. The centre is one of the rows, a central one. Without a centre, rows that are
almost equal (parameters after a small step) lose their difference to cancellation; about the mean, one huge row does
the same damage. The zero update is carried as one more point, so that norms and clipping are distances too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.arrays.table import Block, InMemory, Table, span_width
from hedgerow.aggregation.arrays.threads import in_order

__all__ = ["Geometry", "measure"]

_SAMPLE = 512
_PRODUCTS = 1_000_000  # multiplications up to which BLAS has a kernel for small matrices, which needs no packing
_STRIPE = 8  # rows times all rows at once, so that one half of the symmetric product is left out
_WIDTHS = (1 << 11, 1 << 10, 1 << 9)  # columns multiplied at once
_AT_ONCE = 1 << 18  # numbers of the pieces that are multiplied in one call: two megabytes in float64
_MANY = 1 << 16  # columns from which on float32's rounding averages out over the sums in float64
_CLOSE = 0.1  # of the squared distances to the centre; below it, float32 is not trusted
_FAINT = 1e-28  # a mean square from which on float32 may lose digits of the smaller squares
_FAR = 1e3  # a centre this many times farther out than the most central row is replaced by it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Geometry:
    """Where `n` rows lie relative to one another and to zero, after the steps so far.

    `points`: gives the `(k + 1, k + 1)` inner products of the `k` rows that arrived and, last, of the zero update.
    `mixing`: `(n, k + 1)`, each present row as a combination of those points; its rows sum to 1, which is what makes
    distances independent of the centre. `shares`: `(n, k)`, the same without scaling: whose direction is in it.
    `factors`: `(n,)` while each row is itself times its factor, which spares the products of dense `mixing`; else None.
    """

    points: Callable[[], Floats]
    mixing: Floats
    shares: Floats
    factors: Floats | None = None

    def gram(self) -> Floats:
        """Inner products `(n, n)` of the present rows about the centre. O(n²) before mixing, then O(n³)."""
        if self.factors is not None:
            points, kept, given = self.points(), self.factors, 1.0 - self.factors
            product = points[:-1, :-1] * kept * kept[:, None]
            across = np.multiply.outer(kept * points[:-1, -1], given)
            product += across
            product += across.T
            product += np.multiply.outer(given, given) * points[-1, -1]
            return product
        return self.mixing @ self.points() @ self.mixing.T

    def squared_distances(self) -> Floats:
        """Squared Euclidean distances `(n, n)` between the present rows. As `gram`."""
        return _distances(self.gram())

    def norms(self) -> Floats:
        """Euclidean lengths `(n,)` of the present rows: their distances to zero. O(n) before mixing, then O(n³)."""
        if self.factors is not None:
            points = self.points()
            squares = np.diagonal(points)[:-1] - 2.0 * points[:-1, -1] + points[-1, -1]
            return cast(Floats, self.factors * np.sqrt(np.maximum(squares, 0.0)))
        away = self.mixing.copy()
        away[:, -1] -= 1.0
        return cast(Floats, np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", away, self.points(), away, optimize=True), 0)))

    def mixed(self, weights: Floats) -> "Geometry":
        """The rows `weights @ rows`, for `weights` whose rows sum to 1."""
        if self.factors is not None:
            mixing = np.column_stack((weights * self.factors, weights @ (1.0 - self.factors)))
            return replace(self, mixing=mixing, shares=weights, factors=None)
        return replace(self, mixing=weights @ self.mixing, shares=weights @ self.shares)

    def scaled(self, factors: Floats) -> "Geometry":
        """Each row times its factor: a step towards the zero update."""
        mixing = factors[:, None] * self.mixing
        mixing[:, -1] += 1.0 - factors
        return replace(self, mixing=mixing, factors=None if self.factors is None else self.factors * factors)


def measure(rows: npt.NDArray[np.floating] | Table) -> Geometry:
    """The geometry of finite rows `(n, d)`, measured when first asked for. O(n²d), one pass, sums in float64."""
    table = rows if isinstance(rows, Table) else InMemory(rows)
    n = table.shape[0]
    points = _identity(n)
    return Geometry(points=cache(lambda: _points(table)), mixing=points, shares=points[:, :-1], factors=np.ones(n))


def _identity(n: int) -> Floats:
    """Each of n rows as itself among n + 1 points: a view that only seems to hold n² numbers, not to be written to.

    >>> _identity(2).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    line = np.zeros(2 * n)
    line[n - 1] = 1.0
    return sliding_window_view(line, n + 1)[::-1]


def _points(table: Table) -> Floats:
    centre = _central_row(table)
    while True:
        gram = _about(table, centre)
        spread = np.median(_distances(gram[:-1, :-1]), axis=1)
        better = int(spread.argmin())
        # The sample may have missed the coordinates in which the centre is far out. Each time the distance shrinks
        # a thousandfold or the centre stays, so this ends.
        if spread[better] * _FAR**2 >= spread[centre]:
            return gram
        centre = better


def _central_row(table: Table) -> int:
    sample = table.every(max(1, table.shape[1] // _SAMPLE)).astype(np.float64)
    sample -= np.median(sample, axis=0)
    return int(np.median(_distances(sample @ sample.T), axis=1).argmin())


def _about(table: Table, centre: int) -> Floats:
    """Inner products `(n + 1, n + 1)` of the rows and of zero, less row `centre`.

    Of a large table in float32, products are first summed in float32 over some hundred columns, and those sums in
    float64, which takes half the time. That is exact to some 1e-7 of the squared lengths, so it stands if no two
    points are much closer to each other than to the centre. Otherwise all is done again in float64.
    """
    n, d = table.shape
    if table.dtype == np.float32 and not table.on_device and d >= _MANY and span_width(n, d) < d:
        gram = _summed(table, centre, np.dtype(np.float32))
        if _stands(gram, centre, d):
            return gram
    return _summed(table, centre, np.dtype(np.float64))


def _stands(gram: Floats, centre: int, d: int) -> bool:
    """Whether every distance is well above the rounding of float32, and no square left its range."""
    squares = np.diagonal(gram)
    others = np.arange(len(gram)) != centre
    if not np.isfinite(gram).all() or (squares[others] < _FAINT * d).any():
        return False
    close = _distances(gram) < _CLOSE * (squares[:, None] + squares)
    np.fill_diagonal(close, False)
    return not close.any()


def _summed(table: Table, centre: int, dtype: np.dtype[np.floating]) -> Floats:
    n, d = table.shape
    gram = np.zeros((n + 1, n + 1))

    def products(rows: Block) -> Floats:
        if isinstance(rows, np.ndarray):
            with np.errstate(over="ignore", invalid="ignore"):
                return _products(rows, centre, dtype)
        from hedgerow.aggregation.arrays import device

        return device.products(rows, centre)

    for more in in_order(products, (block for _, block in table.spans()), numbers=n * d * max(n, 20) // 20):
        gram += more
    return gram


def _products(rows: npt.NDArray[np.floating], centre: int, dtype: np.dtype[np.floating]) -> Floats:
    """The products of a span of columns, made in `dtype` and summed in float64.

    Columns are multiplied `width` at a time, several such pieces in one call, so that threads seldom wait for Python.
    """
    n, d = rows.shape
    points = n + 1
    striped = points * _STRIPE * _WIDTHS[-2] <= _PRODUCTS
    width = next(
        (width for width in _WIDTHS[:-1] if points * _STRIPE * width <= _PRODUCTS),
        _WIDTHS[-1] if points <= _WIDTHS[-1] else _WIDTHS[-2],
    )
    width = min(width, d)
    gram = np.zeros((points, points))
    at_once = max(1, _AT_ONCE // (points * width))
    differences = np.empty((min(at_once, d // width), points, width), dtype)
    whole = d // width * width
    for left in [*range(0, whole, width * at_once), *([whole] if whole < d else [])]:
        right = min(left + width * at_once, whole) if left < whole else d
        if left == whole:
            differences = np.empty((1, points, d - whole), dtype)
        pieces = differences[: (right - left) // differences.shape[2]]
        columns = rows[:, left:right].reshape(n, len(pieces), -1).transpose(1, 0, 2)
        if dtype == np.float32:
            np.subtract(columns, columns[:, centre : centre + 1], out=pieces[:, :n])
            np.negative(columns[:, centre], out=pieces[:, n])
        else:  # cast as a whole first: numpy casts inside a difference by small pieces
            np.copyto(pieces[:, :n], columns)
            pieces[:, n] = 0.0
            pieces -= pieces[:, centre : centre + 1].copy()
        if striped:
            for top in range(0, points, _STRIPE):
                # Never the same rows on both sides: numpy takes another product for that, slower on so few rows.
                first = max(min(top, points - _STRIPE - 1), 0)
                products = np.matmul(pieces[:, top : top + _STRIPE], pieces[:, first:].transpose(0, 2, 1))
                gram[top : top + _STRIPE, first:] += products.sum(axis=0, dtype=np.float64)
        else:
            for piece in pieces:
                gram += piece @ piece.T
    if striped:
        lower = np.tril_indices(points, -1)
        gram[lower] = gram.T[lower]
    return gram


def _distances(gram: Floats) -> Floats:
    squares = np.diagonal(gram)
    distances = np.maximum(squares[:, None] + squares - 2.0 * gram, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances
