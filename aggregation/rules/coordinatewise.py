"""Median and trimmed mean: every coordinate is judged by itself."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.order_statistics import middle_ranks, sum_of_ranks
from hedgerow.aggregation.arrays.rows import Floats, count
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.kappa import least_kappa
from hedgerow.aggregation.mass import hostile_mass, uneven, weighted_middle, within
from hedgerow.aggregation.rule import CoordinateRule, Judged
from hedgerow.aggregation.rules.majority import MajorityRule

__all__ = ["Median", "TrimmedMean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Median(MajorityRule, CoordinateRule):
    """The middle value of each coordinate; for even n, the midpoint of the two middle values.

    With weights, the value with half of the weight on either side, or the midpoint of two such.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is one minus the row's share of the vector in units of a fair share 1/n (0: had its share or
    more, 1: never in the middle); below half of a fair share a row is excluded. Assumption: n > 2f, honest rows alike;
    it loses accuracy on uneven data. κ: 4 (1 + f/(n-2f))² (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1).
    Breakdown: fewer than n/2 rows. Cost: O(n d log² n). Source: Yin et al., ICML 2018, arXiv:1803.01498, Definition 1.
    """

    reason: ClassVar[str] = "seldom in the middle"
    least_share: ClassVar[float] = 0.5
    weighted: ClassVar[bool] = True

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        n, weights = len(rows), uneven(given)
        if weights is None:
            return _middle_mean(rows, (n - 1) // 2, n // 2 + 1, judge)
        hostile_mass(weights, given.f)  # refuses a majority
        lower, upper = weighted_middle(rows, weights)
        return Judged(0.5 * lower + 0.5 * upper, (rows >= lower) & (rows <= upper) if judge else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean(CoordinateRule):
    """The mean of each coordinate without its `f` smallest and `f` largest values.

    `f=0.2` means that fraction of the rows on each side: `floor(0.2 n + 1e-9)`. With weights, what goes on each side
    is as much weight as the `f` heaviest rows hold; the row at the border counts with the rest of its weight.

    Verdict: the score is one minus the row's share of the vector in units of a fair share 1/n (0: had its share or
    more, 1: trimmed everywhere); below half of a fair share a row is excluded. Assumption: n > 2f.
    κ: 6 f/(n-2f) (1 + f/(n-2f)), the best order possible (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1).
    Breakdown: f rows. Cost: O(n d log² n). Source: Yin et al., ICML 2018, arXiv:1803.01498, Definition 2.
    """

    reason: ClassVar[str] = "trimmed in most coordinates"
    least_share: ClassVar[float] = 0.5
    weighted: ClassVar[bool] = True

    f: int | float

    def kappa(self, n: int) -> float | None:
        least = least_kappa(count(self.f, n), n)
        return None if least is None else 6 * least * (1 + least)

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        weights = uneven(given)
        if weights is None:
            return _middle_mean(rows, given.f, len(rows) - given.f, judge)
        mass = hostile_mass(weights, given.f)
        return _heavy_mean(rows, weights, mass, 1.0 - mass, judge)


def _middle_mean(rows: npt.NDArray[np.floating], low: int, high: int, judge: bool) -> Judged:
    middle = middle_ranks(rows, low, high)
    total = sum_of_ranks(middle)
    used = (rows >= middle[0]) & (rows <= middle[-1]) if judge else None
    return Judged(total / (high - low), used)


def _heavy_mean(rows: npt.NDArray[np.floating], weights: Floats, low: float, high: float, judge: bool) -> Judged:
    """The mean of what lies between `low` and `high` when each column's weights are laid end to end by value."""
    order = rows.argsort(axis=0)  # equal values in any order: what lies between two ends is the same
    ordered = np.take_along_axis(rows, order, axis=0).astype(np.float64)
    parts = within(weights[order], low, high)
    vector: Floats = (parts * ordered).sum(axis=0) / parts.sum(axis=0)
    if not judge:
        return Judged(vector, None)
    inside = parts > 0
    least = np.take_along_axis(ordered, inside.argmax(axis=0)[None], axis=0)
    most = np.take_along_axis(ordered, len(rows) - 1 - inside[::-1].argmax(axis=0)[None], axis=0)
    return Judged(vector, (rows >= least) & (rows <= most))
