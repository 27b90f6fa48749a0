"""How many updates look hostile, where nobody can say how many are: an estimate, and how sure it is."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Array, Floats
from hedgerow.aggregation.judge import aggregate
from hedgerow.aggregation.rules.geometric import GeometricMedian
from hedgerow.errors import Misconfigured

__all__ = ["Suspected", "estimate_hostile", "outlying"]

_FEWEST = 5
_ALARMS = (0.01, 0.05, 0.5)  # parts of the rounds without hostile rows in which each count is above zero
_DRAWS = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """How many rows look hostile: `estimate`, at least `low`, at most `high`; and who, for the estimate.

    Were all rows honest and their log-distances normal, `low` would be above 0 in 1 % of the rounds, the estimate in
    5 %, `high` in half of them. Hostile rows that hide among honest ones do not look hostile, and honest sites with
    unusual data do: it is a count of what stands out, to be looked at, and no proof.
    """

    estimate: int
    low: int
    high: int
    rows: tuple[int, ...]

    def exceeds(self, f: int) -> bool:
        """Whether more rows look hostile than a rule was told to expect."""
        return self.estimate > f


def estimate_hostile(X: Array) -> Suspected:
    """Counts the updates `(n, d)` that lie too far from the others' geometric median.

    Rows with NaN, Inf or an absurd length count in every case. Of the others, the logarithm of each one's distance is
    compared with their median, in units of the median deviation from it: both stay honest while most rows are. How far
    is too far follows from n alone, by drawing honest rounds. Cost: that of the geometric median, O(n²d).
    Source: Davies and Gather, JASA 1993 (identifying several outliers at a stated rate of false alarms; the rule with
    median and median deviation is Hampel's).

    >>> X = np.random.default_rng(0).standard_normal((20, 50))
    >>> X[[3, 7, 8]] *= -4
    >>> estimate_hostile(X)
    Suspected(estimate=3, low=3, high=4, rows=(3, 7, 8))

    Raises:
        Misconfigured: E103 with fewer than five usable rows: the deviation of so few says nothing.
        Exhausted: E502 if half of the rows or more cannot be used.
    """
    verdict = aggregate(X, GeometricMedian()).verdict
    assert verdict.scores is not None
    distances = verdict.scores
    usable = np.isfinite(distances)
    gone = int(np.count_nonzero(~usable))
    counts = outlying(distances[usable])
    far = np.flatnonzero(usable)[counts[1]]
    return Suspected(
        low=gone + len(counts[0]),
        estimate=gone + len(counts[1]),
        high=gone + len(counts[2]),
        rows=tuple(sorted([*np.flatnonzero(~usable).tolist(), *far.tolist()])),
    )


def outlying(distances: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which of these distances `(n,)` are too large, at each of the three rates of false alarms, the rarest first.

    Raises:
        Misconfigured: E103 for fewer than five distances.
    """
    n = len(distances)
    if n < _FEWEST:
        raise Misconfigured("E103", f"{n} usable rows are too few to say who stands out; it takes {_FEWEST}")
    logs = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
    away = logs - np.median(logs)
    deviation = float(np.median(np.abs(away)))
    least, usual, most = (np.flatnonzero(away > limit * deviation + 1e-9) for limit in _limits(n))
    return least, usual, most


@lru_cache(maxsize=64)
def _limits(n: int) -> tuple[float, ...]:
    """How many median deviations the largest of n honest values is away from the median, at the three rates."""
    draws = np.random.default_rng(n).standard_normal((max(_DRAWS // n, 400), n))
    away = draws - np.median(draws, axis=1, keepdims=True)
    largest = away.max(axis=1) / np.median(np.abs(away), axis=1)
    return tuple(float(np.quantile(largest, 1.0 - rate)) for rate in _ALARMS)
