"""Distances between updates from one pass over them, exact enough to trust the order.

Every rule whose output is a weighted sum of rows needs only the inner products of the rows about some centre: `n²`
numbers, however long the rows are. The centre is one of the rows, a central one. Without a centre, rows that are
almost equal (parameters after a small step) lose their difference to cancellation; about the mean, one huge row does
the same damage. The zero update is carried as one more point, so that norms and clipping are distances too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.rows import Floats, columns

__all__ = ["Geometry", "measure"]

_SAMPLE = 512
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


def measure(rows: npt.NDArray[np.floating]) -> Geometry:
    """The geometry of finite rows `(n, d)`, measured when first asked for. O(n²d), one pass, blocks in float64."""
    points = _identity(len(rows))
    alone = np.ones(len(rows))
    return Geometry(points=cache(lambda: _points(rows)), mixing=points, shares=points[:, :-1], factors=alone)


@lru_cache(maxsize=2)
def _identity(n: int) -> Floats:
    """Each of n rows as itself among n + 1 points; kept, since for a thousand rows it costs as much as their mean."""
    points = np.eye(n, n + 1)
    points.flags.writeable = False
    return points


def _points(rows: npt.NDArray[np.floating]) -> Floats:
    centre = _central_row(rows)
    while True:
        gram = _about(rows, centre)
        spread = np.median(_distances(gram[:-1, :-1]), axis=1)
        better = int(spread.argmin())
        # The sample may have missed the coordinates in which the centre is far out. Each time the distance shrinks
        # a thousandfold or the centre stays, so this ends.
        if spread[better] * _FAR**2 >= spread[centre]:
            return gram
        centre = better


def _central_row(rows: npt.NDArray[np.floating]) -> int:
    sample = rows[:, :: max(1, rows.shape[1] // _SAMPLE)].astype(np.float64)
    sample -= np.median(sample, axis=0)
    return int(np.median(_distances(sample @ sample.T), axis=1).argmin())


def _about(rows: npt.NDArray[np.floating], centre: int) -> Floats:
    n = len(rows)
    gram = np.zeros((n + 1, n + 1))
    for block in columns(*rows.shape):
        part = np.zeros((n + 1, block.stop - block.start))
        part[:n] = rows[:, block]
        part -= part[centre].copy()
        gram += part @ part.T
    return gram


def _distances(gram: Floats) -> Floats:
    squares = np.diagonal(gram)
    distances = np.maximum(squares[:, None] + squares - 2.0 * gram, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances
