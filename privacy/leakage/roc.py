"""The exact trade-off between members found and non-members accused.

>>> curve = roc([3.0, 2.0, 1.0], [2.0, 0.0])
>>> round(curve.auc, 4)
0.75
>>> round(curve.tpr_at(0.0), 4), round(curve.tpr_at(0.5), 4)
(0.3333, 1.0)
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hedgerow.errors import Misconfigured

__all__ = ["Roc", "Tally", "allowed_false_alarms", "curve_of", "roc", "scores_of", "tally"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Where each record falls among the distinct scores, from the most to the least member-like.

    Shapes: `members (n1,)` and `nonmembers (n0,)` hold threshold indices in `0 .. thresholds - 1`. Two records with
    the same score share a threshold, so that no order among ties can be invented.
    """

    members: NDArray[np.intp]
    nonmembers: NDArray[np.intp]
    thresholds: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roc:
    """An empirical ROC curve: one vertex per distinct score, from (0, 0) to (1, 1).

    `fpr` and `tpr` have shape `(thresholds + 1,)` and never decrease. `auc` is the Mann-Whitney statistic: the chance
    that a random member outscores a random non-member, a tie counting one half.
    """

    fpr: Floats
    tpr: Floats
    auc: float
    members: int
    nonmembers: int

    def tpr_at(self, fpr: float) -> float:
        """The share of members found by the best threshold whose empirical false positive rate is at most `fpr`.

        There is no interpolation: an attacker who may accuse one non-member in a hundred and has met fifty may accuse
        none. Raises Misconfigured E103 outside [0, 1].
        """
        if not 0.0 <= fpr <= 1.0:
            raise Misconfigured("E103", f"false positive rate {fpr} is outside [0, 1]", place="fpr")
        return float(self.tpr[int(np.searchsorted(self.fpr, fpr, side="right")) - 1])

    def points(self, limit: int = 200) -> tuple[tuple[float, float], ...]:
        """At most `limit` exact vertices `(fpr, tpr)` for a log-log plot, both ends included.

        The vertices are chosen at false positive rates evenly spaced on a logarithmic axis from `1 / nonmembers`
        to 1; each is the highest vertex at or left of its rate. Raises Misconfigured E103 if `limit` is below 4.
        """
        if limit < 4:
            raise Misconfigured("E103", f"limit {limit} is below 4", place="limit")
        last = len(self.fpr) - 1
        if last < limit:
            keep = np.arange(last + 1)
        else:
            rates = _rates(self.nonmembers, limit - 3)
            inner = np.searchsorted(self.fpr, rates, side="right") - 1
            highest_without_alarm = int(np.searchsorted(self.fpr, 0.0, side="right")) - 1
            keep = np.unique(np.concatenate(([0, highest_without_alarm, last], inner)))
        return tuple(zip(self.fpr[keep].tolist(), self.tpr[keep].tolist(), strict=True))


@lru_cache(maxsize=256)
def _rates(nonmembers: int, count: int) -> Floats:
    return np.geomspace(1.0 / nonmembers, 1.0, count)


def roc(members: ArrayLike, nonmembers: ArrayLike) -> Roc:
    """How well scores tell members from non-members, at every threshold at once.

    `members (n1,)` and `nonmembers (n0,)` are scores, higher meaning more like a member; only their order matters.
    Infinite scores are ordered like any others. O(n log n).

    Raises: Misconfigured E125 if a side is empty, E123 if a score is NaN, E102 if a side is not one-dimensional.
    Source: Fawcett 2006, An introduction to ROC analysis, sections 4 to 7 (ties as one step); Hanley and McNeil 1982
    for the area as a Mann-Whitney statistic.
    """
    return curve_of(tally(members, nonmembers))


def curve_of(found: Tally) -> Roc:
    """As `roc`, of records that are ranked already. O(n)."""
    hits = np.bincount(found.members, minlength=found.thresholds)
    alarms = np.bincount(found.nonmembers, minlength=found.thresholds)
    n1, n0 = len(found.members), len(found.nonmembers)
    outscored = 2 * (n0 - np.cumsum(alarms)) + alarms  # non-members below a threshold, twice, plus those tied with it
    return Roc(
        fpr=np.concatenate(([0.0], np.cumsum(alarms) / n0)),
        tpr=np.concatenate(([0.0], np.cumsum(hits) / n1)),
        auc=float(int(hits @ outscored) / (2 * n1 * n0)),
        members=n1,
        nonmembers=n0,
    )


def tally(members: ArrayLike, nonmembers: ArrayLike) -> Tally:
    """Rank both groups on one scale of distinct scores. Raises as `roc` does."""
    first, second = scores_of(members, "members"), scores_of(nonmembers, "nonmembers")
    distinct, place = np.unique(np.concatenate((first, second)), return_inverse=True)
    descending = len(distinct) - 1 - place
    return Tally(members=descending[: len(first)], nonmembers=descending[len(first) :], thresholds=len(distinct))


def scores_of(values: ArrayLike, place: str) -> Floats:
    """Scores as a float64 vector that can be ranked. Raises Misconfigured E102, E123 or E125, naming `place`."""
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise Misconfigured("E102", f"scores must be one number per record, not shape {scores.shape}", place=place)
    if scores.size == 0:
        raise Misconfigured("E125", "no scores: leakage needs at least one record on each side", place=place)
    if np.isnan(scores).any():
        raise Misconfigured(
            "E123",
            f"{int(np.isnan(scores).sum())} of {scores.size} scores are not numbers",
            place=place,
            hint="a model that diverged cannot be measured",
        )
    return scores


def allowed_false_alarms(fpr: float, nonmembers: int) -> int:
    """The largest whole number of false alarms whose share of `nonmembers` is at most `fpr`.

    >>> allowed_false_alarms(0.29, 100), allowed_false_alarms(0.01, 99)  # 0.29 * 100 is 28.999... in floating point
    (29, 0)
    """
    count = math.floor(fpr * nonmembers)
    return count + 1 if (count + 1) / nonmembers <= fpr else count
