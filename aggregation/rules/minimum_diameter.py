"""Minimum-diameter averaging: the mean of the updates that lie closest together."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.mass import hostile_mass, uneven
from hedgerow.aggregation.rule import GramRule, Weighed
from hedgerow.aggregation.rules.vertex_cover import bitsets, coverable, members

__all__ = ["MDA", "tightest_rows"]

_ROUNDING = 1e-12
_ZERO = 1e-14  # squared distances below this part of the squared lengths are rounding
_SAME = 1e-9  # distances this close are one distance: rows that a step mixed often are as far apart as others


@dataclass(frozen=True, slots=True, kw_only=True)
class MDA(GramRule):
    """The mean of the `n - f` rows whose largest distance from each other is smallest: exact, and never by enumeration.

    Of several sets of that diameter it takes the one that leaves out the most remote row, then the next most remote,
    and so on; equally remote rows: the lowest index. With weights, the rows left out hold at most what the `f`
    heaviest rows hold, and the mean is weighted.

    Verdict: the score is the distance to the farthest row that was kept; rows outside the set are excluded.
    Assumption: n > 2f and honest rows closer to one another than to hostile ones. κ: none is claimed here.
    Breakdown: f rows. Cost: O(n²d), then a search over the diameters that may be, each one vertex cover: milliseconds
    at n = 50, f = 10, but exponential in f in the worst case.
    Source: El Mhamdi, Guerraoui and Rouault, ICML 2018, arXiv:1802.07927 ("Brute"); Farhadkhani et al., ICML 2022,
    arXiv:2205.12173, on its resilience. The search by vertex covers is ours.
    """

    reason: ClassVar[str] = "outside the tightest set of rows"
    least_share: ClassVar[float] = 0.0
    weighted: ClassVar[bool] = True

    f: int | float

    def weigh(self, geometry: Geometry, given: Given) -> Weighed:
        distances = _settled(geometry)
        n, weights = len(distances), uneven(given)
        if weights is None:
            kept = tightest_rows(distances, np.ones(n), given.f)
            shares = kept / np.count_nonzero(kept)
        else:
            kept = tightest_rows(distances, weights, hostile_mass(weights, given.f))
            shares = kept * weights
            shares = shares / shares.sum()
        return Weighed(shares, np.sqrt(distances[:, kept].max(axis=1)))


def _settled(geometry: Geometry) -> Floats:
    """Squared distances, those that are rounding set to zero, so that equal rows are equally far from any other."""
    squares, distances = np.diagonal(geometry.gram()), geometry.squared_distances()
    return np.where(distances <= _ZERO * (squares[:, None] + squares), 0.0, distances)


def tightest_rows(squared_distances: Floats, costs: Floats, budget: float) -> npt.NDArray[np.bool_]:
    """Which rows `(n,)` to keep so that their diameter is smallest, leaving out rows of a total cost within `budget`.

    >>> line = np.array([0.0, 1.0, 3.0, 4.0, 4.5])
    >>> tightest_rows((line[:, None] - line) ** 2, np.ones(5), 2).tolist()
    [False, False, True, True, True]
    """
    n = len(squared_distances)
    everyone = (1 << n) - 1
    limit = budget * (1 + _ROUNDING)
    diameters = np.unique(squared_distances)
    reach = diameters * (1 + _SAME)
    low, high = 0, len(diameters) - 1
    while low < high:
        middle = (low + high) // 2
        if coverable(bitsets(squared_distances > reach[middle]), costs, everyone, limit):
            high = middle
        else:
            low = middle + 1
    conflicts = bitsets(squared_distances > reach[low])
    remote = np.argsort(-(squared_distances @ costs), kind="stable").tolist()
    left, undecided = limit, everyone
    kept = np.ones(n, np.bool_)
    for row in remote:
        bit = 1 << row
        if not undecided & bit:
            continue
        undecided ^= bit
        cost = costs[row]
        if cost <= left and coverable(conflicts, costs, undecided, left - cost):
            kept[row] = False
            left -= cost
        else:  # it stays, so its rivals go
            for rival in members(conflicts[row] & undecided):
                undecided ^= 1 << rival
                kept[rival] = False
                left -= costs[rival]
    return kept
