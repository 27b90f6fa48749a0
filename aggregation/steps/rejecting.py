"""Rejection by length: updates many times longer than all the others have no say."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Before, Mixed
from hedgerow.errors import Misconfigured

__all__ = ["RejectLong", "long_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectLong(Before):
    """Takes away rows apart from all others by their length, of the `f` longest at most.

    They are longer than `times` the median length and more than `gap` times as long as the longest row that stays. A
    clip alone shortens a boosted row until it looks like the others, and what is behind the clip keeps it: so a boosted
    backdoor gets in. Such a row is not shortened but left out. That it was honest is possible, so the `f` of the steps
    behind stays, and with it 2f + 1 rows, or as many as these steps need: where fewer would stay, the zero update takes
    a row's place. The rows must be updates.

    Verdict: such a row is excluded. Assumption: n > 2f, and the lengths of honest updates have no such gap: a site that
    has far more to learn than all others loses its say. Under very uneven data sites whose classes an attack holds back
    grow long one after the other; a bound without the gap takes them away, and the attack wins. A hostile row below
    either bound passes.
    κ: none proven. Breakdown: that of the rule behind. Cost: O(n²d) once, shared with the rule behind.
    Source: the upper norm bound of Xu et al., ICDCS 2022, arXiv:2109.05872, with their R = 3; the gap is ours.

    Raises:
        Misconfigured: E103 unless `times` and `gap` are finite and above 1.
    """

    reason: ClassVar[str] = "many times longer than the other updates"
    weighted: ClassVar[bool] = True

    f: int | float
    times: float = 3.0
    gap: float = 2.0

    def __post_init__(self) -> None:
        for name, bound in (("times", self.times), ("gap", self.gap)):
            if not (np.isfinite(bound) and bound > 1):
                raise Misconfigured("E103", f"{name} must be finite and above 1, not {bound}")

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SHIFT}

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        norms = geometry.norms()
        long = long_rows(norms, given.f, times=self.times, gap=self.gap)
        n = len(norms)
        spare = max(n - max(2 * given.f + 1, given.least), 0)
        if not long.any():
            return Mixed(geometry, long)
        longest = np.argsort(-np.where(long, norms, -1.0), kind="stable")[: min(spare, np.count_nonzero(long))]
        kept = np.setdiff1d(np.arange(n), longest)
        zeroed = geometry.scaled(np.where(long, 0.0, 1.0)) if len(longest) < np.count_nonzero(long) else geometry
        return Mixed(zeroed.mixed(np.eye(n)[kept]) if len(longest) else zeroed, long, kept=kept)


def long_rows(norms: Floats, f: int, *, times: float, gap: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the `f` longest are longer than `times` the median, and than `gap` times the longest of the rest.

    >>> long_rows(np.array([1.0, 9.0, 1.0, 2.0, 8.0]), 2, times=3.0, gap=2.0).tolist()
    [False, True, False, False, True]
    >>> long_rows(np.array([1.0, 9.0, 1.0, 5.0, 8.0]), 2, times=3.0, gap=2.0).tolist()
    [False, False, False, False, False]
    """
    longest = np.argsort(-norms, kind="stable")
    ordered, f = norms[longest], min(f, len(norms) - 1)
    apart = (ordered[:f] > times * np.median(norms)) & (ordered[:f] > gap * ordered[1 : f + 1])
    long = np.zeros(len(norms), np.bool_)
    long[longest[: np.flatnonzero(apart)[-1] + 1 if apart.any() else 0]] = True
    return long
