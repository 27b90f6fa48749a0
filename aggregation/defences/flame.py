"""FLAME: the majority that points the same way, shortened to the median length, with a little noise."""

from dataclasses import dataclass
from itertools import groupby
from math import log, sqrt
from operator import attrgetter
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.passes import draws, lengths, noisy_sum
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.defences.cosine import cosines
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.aggregation.steps.clipping import clip_factors
from hedgerow.errors import Misconfigured

__all__ = ["Flame", "majority_cluster", "noise_factor"]

_DIGITS = 12  # distances that differ beyond these are equal: of equal rows too, rounding leaves about 1e-16


@dataclass(frozen=True, slots=True, kw_only=True)
class Flame(Defence):
    """The mean of the largest group of rows that point alike, each shortened to the median length, plus noise.

    The group is what HDBSCAN finds on cosine distances with a smallest cluster of `n // 2 + 1`; see
    `majority_cluster`. The median length is over all rows. The noise in each coordinate has standard deviation
    `noise_factor(epsilon, delta)` times the median length; `epsilon=None` adds none, and then no `rng` is needed.
    The ε is the paper's way of setting a noise level. It promises no privacy: the noise is far too small for that,
    its scale depends on the rows, and it comes from the round's `rng`.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is the row's mean cosine distance to the group, 0 to 2; rows outside it are excluded.
    A zero row has no direction: its distance to every row is 1. Assumption: more than half of the rows are honest
    and point alike. κ: none proven. Breakdown: fewer than n/2 rows.
    Fails when honest sites form groups of their own, as on very uneven data: the minority's are dropped; and against
    hostile rows that stay within the honest angles. Cost: O(n²d), then O(n²).
    Source: Nguyen et al., USENIX Security 2022, arXiv:2101.02281, section 4, Algorithm 1 (with angles between
    updates, not between models).

    Raises:
        Misconfigured: E103 unless `epsilon` is positive and `delta` in 0..1; E105 without a generator, when the rule
            is used and adds noise.
    """

    reason: ClassVar[str] = "does not point the way of the majority"

    epsilon: float | None = 3705.0
    delta: float = 0.001
    f: int | float | None = None

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            noise_factor(self.epsilon, self.delta)

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset({Promise.ORDER, Promise.SCALE})

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset() if self.epsilon is None else frozenset({"rng"})

    def judge(self, view: View, given: Given) -> Opinion:
        apart = 1.0 - cosines(view.geometry)
        inside = majority_cluster(apart)
        norms = lengths(view)
        weights = inside * clip_factors(norms, None) / np.count_nonzero(inside)
        scores = apart[:, inside].mean(axis=1)
        excluded = {int(row): self.reason for row in np.flatnonzero(~inside)}
        if self.epsilon is None:
            return Opinion(weights, scores, excluded=excluded)
        deviation = noise_factor(self.epsilon, self.delta) * float(np.median(norms))
        vector = noisy_sum(view, weights, deviation=deviation, rng=draws(given, "Flame"))
        return Opinion(weights, scores, vector, excluded)


def noise_factor(epsilon: float, delta: float) -> float:
    """λ = sqrt(2 ln(1.25/δ)) / ε: noise in units of the median length.

    >>> round(noise_factor(3705.0, 0.001), 6)
    0.001019

    Raises:
        Misconfigured: E103 unless `epsilon` is positive and finite and `delta` between 0 and 1.
    """
    if not (np.isfinite(epsilon) and epsilon > 0 and 0 < delta < 1):
        raise Misconfigured("E103", f"epsilon must be positive and delta in 0..1, not {epsilon} and {delta}")
    return sqrt(2.0 * log(1.25 / delta)) / epsilon


def majority_cluster(distances: Floats) -> npt.NDArray[np.bool_]:
    """Which of `n` points are in HDBSCAN's one cluster, for a smallest size of `n // 2 + 1`. O(n²), exact.

    Two groups cannot both hold more than half of the points, so the hierarchy never splits: points only fall off the
    one cluster, and those that last longest are kept. With one sample per core point the hierarchy is that of single
    linkage. So the cluster is the first group of more than half of the points that appears when points closer than a
    growing distance are joined, with all that are joined at that same distance. Both follow from the minimum spanning
    tree: its edges, shortest first. Distances are compared to twelve digits after the point.
    Source: Campello, Moulavi and Sander, PAKDD 2013, section 3.

    >>> line = np.array([0.0, 1.0, 2.0, 7.0, 9.0])
    >>> majority_cluster(np.abs(line[:, None] - line)).tolist()
    [True, True, True, False, False]
    """
    n = len(distances)
    edges = sorted(_spanning_tree(np.round(distances, _DIGITS)), key=attrgetter("length"))
    group = np.arange(n)
    for _, equally_long in groupby(edges, key=attrgetter("length")):
        for edge in equally_long:
            group[group == group[edge.end]] = group[edge.start]
        if np.bincount(group).max() > n // 2:
            break
    inside: npt.NDArray[np.bool_] = group == np.bincount(group).argmax()
    return inside


class _Edge(NamedTuple):
    start: int
    end: int
    length: float


def _spanning_tree(distances: Floats) -> list[_Edge]:
    """The n - 1 edges of a minimum spanning tree, found by Prim's algorithm from the first point."""
    n = len(distances)
    nearest, start = distances[0].copy(), np.zeros(n, np.intp)
    outside = np.ones(n, np.bool_)
    outside[0] = False
    edges: list[_Edge] = []
    for _ in range(n - 1):
        end = int(np.where(outside, nearest, np.inf).argmin())
        edges.append(_Edge(int(start[end]), end, float(nearest[end])))
        outside[end] = False
        closer = distances[end] < nearest
        nearest[closer], start[closer] = distances[end][closer], end
    return edges
