"""Mean around a middle: each coordinate averages the values nearest to a robust middle of it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.order_statistics import Ranks, middle_ranks, sum_of_ranks
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.rule import CoordinateRule, Judged

__all__ = ["MeaMed", "Phocas", "mean_around"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeaMed(CoordinateRule):
    """The mean, in each coordinate, of the `n - f` values nearest to the median. Equal distances: the smaller value.

    It keeps more of the honest rows than the median does, and needs no symmetry as the trimmed mean does.

    Verdict: the score is one minus the row's share of the vector in units of a fair share (0: had its share or more,
    1: never near the median); below half of a fair share a row is excluded. Assumption: n > 2f. κ: none is claimed
    here. Breakdown: f rows. Cost: O(n d log² n) and n - f additions. Source: Xie, Koyejo and Gupta, 2018,
    arXiv:1802.10116 ("mean around median").
    """

    reason: ClassVar[str] = "far from the median in most coordinates"
    least_share: ClassVar[float] = 0.5

    f: int | float

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        n = len(rows)
        return _around(rows, (n - 1) // 2, n // 2 + 1, n - given.f, judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phocas(CoordinateRule):
    """The mean, in each coordinate, of the `n - f` values nearest to the trimmed mean. Equal distances: the smaller.

    Verdict: as `MeaMed`, about the trimmed mean. Assumption: n > 2f. κ: none is claimed here. Breakdown: f rows.
    Cost: as `MeaMed`. Source: Xie, Koyejo and Gupta, 2018, arXiv:1805.09682.
    """

    reason: ClassVar[str] = "far from the trimmed mean in most coordinates"
    least_share: ClassVar[float] = 0.5

    f: int | float

    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        n = len(rows)
        return _around(rows, given.f, n - given.f, n - given.f, judge)


def mean_around(ordered: Ranks, centre: Floats, kept: int) -> tuple[Floats, list[npt.NDArray[np.bool_]]]:
    """For columns of sorted values, the mean `(b,)` of the `kept` values nearest to `centre` (b,).

    Values nearest to a point stand side by side: a window that moves up as long as the value it would take in is nearer
    than the one it would give up. The second answer says, for each place, in which columns it moved on from there.

    >>> lanes = [np.array([value]) for value in (0.0, 1.0, 2.0, 9.0)]
    >>> mean, moved = mean_around(lanes, np.array([1.5]), 3)
    >>> mean.tolist(), [move.tolist() for move in moved]
    ([1.0], [[False]])
    """
    spare = len(ordered) - kept
    twice = 2.0 * centre
    moved = [np.add(ordered[place], ordered[place + kept], dtype=np.float64) < twice for place in range(spare)]
    total = np.zeros(len(centre))
    for place, lane in enumerate(ordered):
        inside = moved[place - kept] if place >= kept else None
        if place < spare:
            stayed = ~moved[place]
            inside = stayed if inside is None else inside & stayed
        total += lane if inside is None else lane * inside
    return total / kept, moved


def _around(rows: npt.NDArray[np.floating], low: int, high: int, kept: int, judge: bool) -> Judged:
    """The mean of the `kept` values nearest to the mean of ranks `low` up to `high`."""
    ordered = middle_ranks(rows, 0, len(rows))
    vector, moved = mean_around(ordered, sum_of_ranks(ordered[low:high]) / (high - low), kept)
    if not judge:
        return Judged(vector, None)
    least, most = ordered[0], ordered[kept - 1]
    for place, on in enumerate(moved):
        least = np.where(on, ordered[place + 1], least)
        most = np.where(on, ordered[place + kept], most)
    return Judged(vector, (rows >= least) & (rows <= most))
