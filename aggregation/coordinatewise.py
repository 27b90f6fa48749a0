"""Median and trimmed mean: every coordinate is judged by itself."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.given import Given
from hedgerow.aggregation.kappa import least_kappa
from hedgerow.aggregation.order_statistics import middle_ranks
from hedgerow.aggregation.rows import Floats, count
from hedgerow.aggregation.rule import CoordinateRule, Judged

__all__ = ["Median", "TrimmedMean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Median(CoordinateRule):
    """The middle value of each coordinate; for even n, the midpoint of the two middle values.

    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is one minus the row's share of the vector in units of a fair share 1/n (0: had its share or
    more, 1: never in the middle); below half of a fair share a row is excluded. Assumption: n > 2f, honest rows alike;
    it loses accuracy on uneven data. κ: 4 (1 + f/(n-2f))² (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1).
    Breakdown: fewer than n/2 rows. Cost: O(n d log² n). Source: Yin et al., ICML 2018, arXiv:1803.01498, Definition 1.
    """

    reason: ClassVar[str] = "seldom in the middle"
    least_share: ClassVar[float] = 0.5

    f: int | float | None = None

    def byzantine(self, n: int) -> int | None:
        return None if self.f is None else count(self.f, n)

    def needs(self, f: int) -> int:
        return 2 * f + 1

    def kappa(self, n: int) -> float | None:
        f = self.byzantine(n)
        least = None if f is None else least_kappa(f, n)
        return None if least is None else 4 * (1 + least) ** 2

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        n = len(rows)
        return _middle_mean(rows, (n - 1) // 2, n // 2 + 1, judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean(CoordinateRule):
    """The mean of each coordinate without its `f` smallest and `f` largest values.

    `f=0.2` means that fraction of the rows on each side: `floor(0.2 n + 1e-9)`.

    Verdict: the score is one minus the row's share of the vector in units of a fair share 1/n (0: had its share or
    more, 1: trimmed everywhere); below half of a fair share a row is excluded. Assumption: n > 2f.
    κ: 6 f/(n-2f) (1 + f/(n-2f)), the best order possible (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1).
    Breakdown: f rows. Cost: O(n d log² n). Source: Yin et al., ICML 2018, arXiv:1803.01498, Definition 2.
    """

    reason: ClassVar[str] = "trimmed in most coordinates"
    least_share: ClassVar[float] = 0.5

    f: int | float

    def byzantine(self, n: int) -> int:
        return count(self.f, n)

    def needs(self, f: int) -> int:
        return 2 * f + 1

    def kappa(self, n: int) -> float | None:
        least = least_kappa(count(self.f, n), n)
        return None if least is None else 6 * least * (1 + least)

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        return _middle_mean(rows, given.f, len(rows) - given.f, judge)


def _middle_mean(rows: npt.NDArray[np.floating], low: int, high: int, judge: bool) -> Judged:
    middle = middle_ranks(rows, low, high)
    total: Floats = middle[0].astype(np.float64)
    for lane in middle[1:]:
        total += lane
    used = (rows >= middle[0]) & (rows <= middle[-1]) if judge else None
    return Judged(total / (high - low), used)
