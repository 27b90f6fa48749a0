"""Nearest-neighbour mixing: every update is first averaged with those most like it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats, count
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.mass import hostile_mass, uneven, within
from hedgerow.aggregation.rule import Before, Mixed

__all__ = ["NNM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NNM(Before):
    """Replaces every row by the mean of the `n - f` rows nearest to it, itself among them.

    Honest rows that differ because their data differ are drawn together, so that the rule behind loses less and is
    harder to fool. Equal distances go to the lower index. With weights, a neighbourhood is the nearest rows that hold
    all of the weight but what the `f` heaviest hold, and its mean is weighted; each row keeps its own weight.

    Verdict: a row that at most `f` neighbourhoods chose is excluded, since `f` hostile rows can choose each other.
    With weights: one that neighbourhoods of no more weight than that chose.
    Assumption: n > 2f, honest rows closer to one another than to hostile ones. Without a norm bound in front, very
    uneven data make it unsafe: join it as `ClipNorms() | NNM(f=f)`.
    κ: 8f/(n-f) · (κ of the rule behind + 1). Breakdown: that of the rule behind. Cost: O(n²d) once, shared.
    Source: Allouah et al., AISTATS 2023, arXiv:2302.01772, Algorithm 2 and Lemma 1.
    """

    reason: ClassVar[str] = "excluded by nearest-neighbour mixing"
    weighted: ClassVar[bool] = True

    f: int | float

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        mixing = neighbourhoods(geometry.squared_distances(), given)
        weights = uneven(given)
        if weights is None:
            return Mixed(geometry.mixed(mixing), np.count_nonzero(mixing, axis=0) <= given.f)
        chosen_by = weights @ (mixing > 0)
        return Mixed(geometry.mixed(mixing), chosen_by <= hostile_mass(weights, given.f) + 1e-12)

    def kappa(self, n: int, after: float | None) -> float | None:
        f = count(self.f, n)
        return None if after is None else 8 * f / (n - f) * (after + 1)


def neighbourhoods(squared_distances: Floats, given: Given) -> Floats:
    """Weights `(n, n)` that replace each row by the mean of its `n - f` nearest, ties to the lower index.

    >>> neighbourhoods(np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]), Given(f=1)).tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    n, f, weights = len(squared_distances), given.f, uneven(given)
    distances = squared_distances.copy()
    np.fill_diagonal(distances, -1.0)  # a row is nearest to itself, before any copy of it
    if weights is not None:
        order = distances.argsort(axis=1, kind="stable")
        parts = within(weights[order], 0.0, 1.0 - hostile_mass(weights, f), axis=1)
        mixing = np.zeros_like(parts)
        np.put_along_axis(mixing, order, parts, axis=1)
        mixing /= mixing.sum(axis=1, keepdims=True)
        return mixing
    farthest = np.partition(distances, n - f - 1, axis=1)[:, n - f - 1 : n - f]
    chosen = distances <= farthest
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > n - f):  # ties at the border: the first ones stay
        tied = np.flatnonzero(distances[row] == farthest[row])
        chosen[row, tied[n - f - np.count_nonzero(distances[row] < farthest[row]) :]] = False
    return chosen / (n - f)
