"""Whether scores fall into two groups, and which of them are in the higher one."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Floats

__all__ = ["odd_ones_out"]

_DRAWS = 200
_ALIKE = 1e-9  # scores that differ by less than this part of the largest are equal


def odd_ones_out(scores: Floats) -> npt.NDArray[np.bool_]:
    """Which scores `(n,)` are in the higher of two groups; none of them where one group explains them as well.

    Scores are brought to 0..1 and the gap statistic is compared for one cluster and for two, found exactly. Uniform
    scores, to compare with, are the same for every call with the same `n`. O(n log n).
    Source: Tibshirani, Walther and Hastie, J. R. Statist. Soc. B 63(2), 2001, section 3.

    >>> odd_ones_out(np.array([1.0, 1.1, 0.9, 1.0, 1.05, 4.0, 4.2])).tolist()
    [False, False, False, False, False, True, True]
    """
    none = np.zeros(len(scores), np.bool_)
    if len(scores) < 3 or np.ptp(scores) <= _ALIKE * np.abs(scores).max():
        return none
    ordered = np.sort((scores - scores.min()) / np.ptp(scores))
    one, two, first = _scatter(ordered[None])
    expected, deviation = _uniform(len(scores))
    with np.errstate(divide="ignore"):
        gaps = expected - np.log([one[0], two[0]])
    if gaps[0] >= gaps[1] - deviation:
        return none
    odd: npt.NDArray[np.bool_] = (scores - scores.min()) / np.ptp(scores) >= ordered[first[0]]
    return odd


def _scatter(ordered: Floats) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Of sorted rows `(r, n)`: squares about the mean, about the means of the best two groups, where the second is."""
    n = ordered.shape[1]
    sums, squares = ordered.cumsum(axis=1), np.square(ordered).cumsum(axis=1)
    sizes = np.arange(1, n)
    left = squares[:, :-1] - sums[:, :-1] ** 2 / sizes
    right = squares[:, -1:] - squares[:, :-1] - (sums[:, -1:] - sums[:, :-1]) ** 2 / (n - sizes)
    both = np.maximum(left + right, 0.0)
    best = both.argmin(axis=1)
    return squares[:, -1] - sums[:, -1] ** 2 / n, both[np.arange(len(both)), best], best + 1


@lru_cache(maxsize=64)
def _uniform(n: int) -> tuple[Floats, float]:
    """For `n` uniform scores: the mean logarithms of both scatters, and the deviation of the second."""
    one, two, _ = _scatter(np.sort(np.random.default_rng(n).random((_DRAWS, n)), axis=1))
    logs = np.log(np.maximum(two, np.finfo(np.float64).tiny))
    return np.array([np.log(one).mean(), logs.mean()]), float(logs.std() * np.sqrt(1.0 + 1.0 / _DRAWS))
