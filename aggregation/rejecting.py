"""Rejection by length: an update many times longer than the usual one has no say."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.given import Given
from hedgerow.aggregation.gram import Geometry
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rows import Floats
from hedgerow.aggregation.rule import Before, Mixed
from hedgerow.errors import Misconfigured

__all__ = ["RejectLong", "long_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectLong(Before):
    """Takes away rows longer than `times` the median length, of the `f` longest at most.

    A clip alone shortens a boosted row until it looks like the others, and what is behind the clip keeps it: so a
    boosted backdoor gets in. A row this long is not shortened but left out. That it was honest is possible, so the `f`
    of the steps behind stays, and 2f + 1 rows stay with it: where fewer would, the zero update takes a row's place. The
    rows must be updates.

    Verdict: such a row is excluded. Assumption: n > 2f, and no honest site's update is `times` the usual length: one
    that has far more to learn than the others loses its say. A hostile row just below the bound passes. What the rule
    behind needs is asked of the rows before this step.
    κ: none proven. Breakdown: that of the rule behind. Cost: O(n²d) once, shared with the rule behind.
    Source: the upper norm bound of Xu et al., ICDCS 2022, arXiv:2109.05872, with their R = 3.

    Raises:
        Misconfigured: E103 unless `times` is finite and above 1.
    """

    reason: ClassVar[str] = "many times longer than the usual update"
    weighted: ClassVar[bool] = True

    f: int | float
    times: float = 3.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.times) and self.times > 1):
            raise Misconfigured("E103", f"times must be finite and above 1, not {self.times}")

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SHIFT}

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        norms = geometry.norms()
        long = long_rows(norms, given.f, self.times)
        n, spare = len(norms), max(len(norms) - 2 * given.f - 1, 0)
        if not long.any():
            return Mixed(geometry, long)
        longest = np.argsort(-np.where(long, norms, -1.0), kind="stable")[: min(spare, np.count_nonzero(long))]
        kept = np.setdiff1d(np.arange(n), longest)
        zeroed = geometry.scaled(np.where(long, 0.0, 1.0)) if len(longest) < np.count_nonzero(long) else geometry
        return Mixed(zeroed.mixed(np.eye(n)[kept]) if len(longest) else zeroed, long, kept=kept)


def long_rows(norms: Floats, f: int, times: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the `f` longest are longer than `times` the median.

    >>> long_rows(np.array([1.0, 9.0, 1.0, 2.0, 8.0]), 1, 3.0).tolist()
    [False, True, False, False, False]
    """
    long = np.zeros(len(norms), np.bool_)
    longest = np.argsort(-norms, kind="stable")[:f]
    long[longest] = norms[longest] > times * np.median(norms)
    return long
