"""SignGuard: rows of an odd length, or with an odd share of positive and negative numbers, are left out."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.passes import draws
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["SignGuard", "largest_cluster"]

_STEPS = 300
_STILL = 1e-3  # of the bandwidth: a centre that moves less has arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class SignGuard(Defence):
    """The mean of the rows that pass two filters, each shortened to the median length.

    First, a length between `low` and `high` times the median length. Second, the largest cluster (mean shift) of the
    rows' shares of positive, zero and negative numbers, counted on a drawn `fraction` of the coordinates, so that the
    attacker does not know which. `fraction=1.0` counts all, and then no `rng` is needed.
    Where no row passes both, the vector is zero: the model stays as it is.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is the distance of the row's sign shares from the cluster's mean, plus the distance of its
    length from the permitted range in units of the median length; rows that fail a filter are excluded, and the
    reason says which. Assumption: more than half of the rows are honest and have alike sign shares. κ: none proven.
    Breakdown: fewer than n/2 rows that differ from honest ones in length or in sign shares.
    Fails against attacks that keep both: mimicry, Min-Max with equal sign shares, the same numbers at other places;
    and where positive and negative numbers balance, since reversing a row then leaves its shares as they are.
    Cost: O(nd), two passes; mean shift O(n²) per step.
    Source: Xu et al., ICDCS 2022, arXiv:2109.05872, section IV, Algorithm 2 (the plain variant, without similarity).

    Raises:
        Misconfigured: E103 unless 0 <= low <= 1 <= high and 0 < fraction <= 1; E105 without a generator, when the rule
            is used and `fraction` is below 1.
    """

    reason: ClassVar[str] = "its share of positive and negative numbers is unlike most others'"

    low: float = 0.1
    high: float = 3.0
    fraction: float = 0.1
    f: int | float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.low <= 1 <= self.high and np.isfinite(self.high)):
            raise Misconfigured("E103", f"low must be in 0..1 and high at least 1, not {self.low} and {self.high}")
        if not 0 < self.fraction <= 1:
            raise Misconfigured("E103", f"fraction must be above 0 and at most 1, not {self.fraction}")

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset({Promise.ORDER, Promise.SCALE, Promise.HULL, Promise.BOX})

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"rng"}) if self.fraction < 1 else frozenset()

    def judge(self, view: View, given: Given) -> Opinion:
        n, d = view.shape
        counted = np.ones(d, np.bool_)
        if self.fraction < 1:
            counted[:] = False
            chosen = max(1, int(self.fraction * d + 1e-9))
            counted[draws(given, "SignGuard").choice(d, chosen, replace=False, shuffle=False)] = True
        squares, signs = np.zeros(n), np.zeros((n, 3))
        for block, rows in view.blocks():
            wide = rows.astype(np.float64)
            squares += np.vecdot(wide, wide)
            part = rows[:, counted[block]]
            signs[:, 0] += np.count_nonzero(part > 0, axis=1)
            signs[:, 2] += np.count_nonzero(part < 0, axis=1)
        counts = np.count_nonzero(counted)
        signs[:, 1] = counts - signs[:, 0] - signs[:, 2]
        signs /= counts
        norms = np.sqrt(squares)
        middle = float(np.median(norms))
        beyond = np.maximum(norms - self.high * middle, 0.0) + np.maximum(self.low * middle - norms, 0.0)
        alike = largest_cluster(signs)
        good = alike & (beyond == 0)
        factors = np.divide(middle, norms, out=np.ones(n), where=norms > middle)
        odd = np.linalg.norm(signs - signs[alike].mean(axis=0), axis=1)
        with np.errstate(over="ignore"):  # what overflows is far beyond
            scores = odd + (np.minimum(beyond / middle, 1e6) if middle > 0 else np.sign(beyond))
        excluded = {int(row): "its length is far from the median length" for row in np.flatnonzero(beyond)}
        return Opinion(good * factors / max(np.count_nonzero(good), 1), scores, excluded=excluded)


def largest_cluster(points: Floats) -> npt.NDArray[np.bool_]:
    """Which points `(n, k)` are in the largest cluster of flat-kernel mean shift. Ties: where the lowest index is.

    The bandwidth is the mean distance from a point to the nearest half of the points, itself among them: the
    farthest of these. Every point starts a centre, which moves to the mean of the points within the bandwidth until
    it rests; of centres within the bandwidth of each other, that with the most points stays.
    Source: Comaniciu and Meer, IEEE TPAMI 24(5), 2002.

    >>> largest_cluster(np.array([[0.0], [0.1], [0.2], [0.1], [3.0]])).tolist()
    [True, True, True, True, False]
    """
    n = len(points)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    half = max(n // 2, 1)
    width = float(np.sort(apart, axis=1)[:, half - 1].mean())
    reach = width + 1e-12  # equal shares are equal up to rounding
    centres = points.astype(np.float64)
    moving = np.ones(n, np.bool_)
    for _ in range(_STEPS):
        near = np.linalg.norm(centres[moving, None] - points, axis=2) <= reach
        moved = near @ points / near.sum(axis=1, keepdims=True)
        step = np.linalg.norm(moved - centres[moving], axis=1)
        centres[moving] = moved
        moving[np.flatnonzero(moving)[step <= _STILL * width]] = False
        if not moving.any():
            break
    weight = np.count_nonzero(np.linalg.norm(centres[:, None] - points, axis=2) <= reach, axis=1)
    left = np.lexsort((*centres.T[::-1], -weight))  # by weight, then by place: not by index
    stay: list[int] = []
    for centre in left:
        if not stay or np.linalg.norm(centres[stay] - centres[centre], axis=1).min() > reach:
            stay.append(int(centre))
    label = np.linalg.norm(points[:, None] - centres[stay], axis=2).argmin(axis=1)
    largest: npt.NDArray[np.bool_] = label == np.bincount(label).argmax()
    return largest
