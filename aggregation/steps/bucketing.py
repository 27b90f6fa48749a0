"""Bucketing: random groups of updates are averaged first, so that honest ones differ less."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given, Want
from hedgerow.aggregation.mass import uneven
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Before, Mixed
from hedgerow.errors import Misconfigured

__all__ = ["Bucketing", "bucket_means"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketing(Before):
    """Shuffles the rows and replaces every `size` of them by their mean: `ceil(n / size)` rows, the last of fewer.

    Honest buckets differ less than honest rows. A hostile row spoils its whole bucket, so `f` hostile rows still are
    up to `f` hostile ones, among fewer: the rule behind must be told the same f and have rows enough for it. With
    weights, a bucket is the weighted mean of its rows and weighs what they weigh: the rule behind is refused where the
    f heaviest buckets hold half, which the `f size` heaviest rows bound.

    Verdict: nobody is excluded here; the rule's scores of a bucket are those of its rows. Assumption: n > 2 f size.
    κ: none is claimed here. Breakdown: that of the rule behind, for ceil(n / size) rows. Cost: O(n) in the space of
    rows. Source: Karimireddy, He and Jaggi, ICLR 2022, arXiv:2006.09365 (size 2 is their advice).

    Raises:
        Misconfigured: E103 if `size` is not positive, E105 without the round's `rng`.
    """

    weighted: ClassVar[bool] = True

    size: int = 2

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Misconfigured("E103", f"size must be at least 1, not {self.size}")

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.ORDER}

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"rng"})

    def needs(self, f: int) -> int:
        return 1

    def rows(self, n: int) -> int:
        return -(-n // self.size)

    def arrivals(self, rows: int) -> int:
        return (rows - 1) * self.size + 1

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        n = len(geometry.shares)
        if given.rng is None:
            raise Misconfigured("E105", "bucketing draws its groups, and no rng was given")
        weights = uneven(given)
        means = bucket_means(given.rng.permutation(n), self.size, np.ones(n) if weights is None else weights)
        masses = None
        if weights is not None:
            masses = (means > 0) @ weights
            masses = masses / masses.sum()
        return Mixed(geometry.mixed(means), np.zeros(n, np.bool_), masses)


def bucket_means(order: np.ndarray[tuple[int], np.dtype[np.int64]], size: int, weights: Floats) -> Floats:
    """Weights `(m, n)` that make every `size` rows, in this order, their mean.

    >>> bucket_means(np.array([2, 0, 1]), 2, np.array([1.0, 1.0, 3.0])).tolist()
    [[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]]
    """
    n = len(order)
    bucket = np.arange(n) // size
    means = np.zeros((int(bucket[-1]) + 1, n))
    means[bucket, order] = weights[order]
    totals = means.sum(axis=1)
    for empty in np.flatnonzero(totals == 0):  # rows without weight still need a mean
        means[empty, order[bucket == empty]] = 1.0
    means /= means.sum(axis=1, keepdims=True)
    return means
