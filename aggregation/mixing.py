"""Nearest-neighbour mixing: every update is first averaged with those most like it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.given import Given
from hedgerow.aggregation.gram import Geometry
from hedgerow.aggregation.rows import Floats, count
from hedgerow.aggregation.rule import Before, Mixed

__all__ = ["NNM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NNM(Before):
    """Replaces every row by the mean of the `n - f` rows nearest to it, itself among them.

    Honest rows that differ because their data differ are drawn together, so that the rule behind loses less and is
    harder to fool. Equal distances go to the lower index.

    Verdict: a row that at most `f` neighbourhoods chose is excluded, since `f` hostile rows can choose each other.
    Assumption: n > 2f, honest rows closer to one another than to hostile ones. Without a norm bound in front, very
    uneven data make it unsafe: join it as `ClipNorms() | NNM(f=f)`.
    κ: 8f/(n-f) · (κ of the rule behind + 1). Breakdown: that of the rule behind. Cost: O(n²d) once, shared.
    Source: Allouah et al., AISTATS 2023, arXiv:2302.01772, Algorithm 2 and Lemma 1.
    """

    reason: ClassVar[str] = "excluded by nearest-neighbour mixing"

    f: int | float

    def byzantine(self, n: int) -> int:
        return count(self.f, n)

    def needs(self, f: int) -> int:
        return 2 * f + 1

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        weights = neighbourhoods(geometry.squared_distances(), given.f)
        return Mixed(geometry.mixed(weights), np.count_nonzero(weights, axis=0) <= given.f)

    def kappa(self, n: int, after: float | None) -> float | None:
        f = count(self.f, n)
        return None if after is None else 8 * f / (n - f) * (after + 1)


def neighbourhoods(squared_distances: Floats, f: int) -> Floats:
    """Weights `(n, n)` that replace each row by the mean of its `n - f` nearest, ties to the lower index.

    >>> neighbourhoods(np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]), 1).tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    n = len(squared_distances)
    distances = squared_distances.copy()
    np.fill_diagonal(distances, -1.0)  # a row is nearest to itself, before any copy of it
    farthest = np.partition(distances, n - f - 1, axis=1)[:, n - f - 1 : n - f]
    chosen = distances <= farthest
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > n - f):  # ties at the border: the first ones stay
        tied = np.flatnonzero(distances[row] == farthest[row])
        chosen[row, tied[n - f - np.count_nonzero(distances[row] < farthest[row]) :]] = False
    return chosen / (n - f)
