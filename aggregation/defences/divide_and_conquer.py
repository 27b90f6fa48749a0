"""Divide and conquer: rows that stick out along the direction in which the rows differ most are dropped."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.passes import draws
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.promises import COORDINATES, Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["DnC", "projections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnC(Defence):
    """The mean of the rows that do not stick out along the top singular direction of the rows about their mean.

    In each of `iterations`, `coordinates` of them are drawn, and the `ceil(filtering * f)` rows that project farthest
    are dropped. Rows that every draw kept are averaged; where there are none, those that most draws kept. With no
    more columns than `coordinates` there is nothing to draw: one iteration, and no `rng` is needed. Ties: the lowest
    index stays.

    Verdict: the score is the mean over the draws of the squared projection, in units of the round's mean; dropped
    rows are excluded. Assumption: n > f (1 + filtering), hostile rows stray together. κ: none proven. Breakdown: f rows
    against attacks that move one direction.
    Fails when hostile rows stray in different directions or orthogonally to the top one: one row of length 1e30 hides
    another of length 1e20. Bound lengths in front: `ClipNorms() | DnC(f=f)`. With nobody hostile it still drops rows.
    Cost: O(nd) to read, then O(iterations n² coordinates).
    Source: Shejwalkar and Houmansadr, NDSS 2021, section VI, Algorithm 2.

    Raises:
        Misconfigured: E103 if `filtering` is not positive and finite, or `coordinates` or `iterations` below 1; E105
            without a generator, when the rule is used and has to draw.
    """

    reason: ClassVar[str] = "stands out along the direction in which the updates differ most"

    f: int | float
    filtering: float = 1.0
    coordinates: int = 10_000
    iterations: int = 5

    def __post_init__(self) -> None:
        if not (np.isfinite(self.filtering) and self.filtering > 0):
            raise Misconfigured("E103", f"filtering must be positive and finite, not {self.filtering}")
        if self.coordinates < 1 or self.iterations < 1:
            raise Misconfigured(
                "E103",
                f"coordinates and iterations must be at least 1, not {self.coordinates} and {self.iterations}",
            )

    @property
    def promises(self) -> frozenset[Promise]:
        return COORDINATES - {Promise.SAFE}

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"rng"})

    def needs(self, f: int) -> int:
        return max(2 * f, self._dropped(f)) + 1

    def judge(self, view: View, given: Given) -> Opinion:
        n, d = view.shape
        every = d <= self.coordinates
        grams = np.zeros((1 if every else self.iterations, n, n))
        if not every:
            rng = draws(given, "DnC")
            drawn = [np.sort(rng.choice(d, self.coordinates, replace=False)) for _ in grams]
        for block, rows in view.blocks():
            for place, gram in enumerate(grams):
                part = rows.astype(np.float64) if every else rows[:, _within(drawn[place], block)].astype(np.float64)
                part -= part.mean(axis=0)
                gram += part @ part.T
        apart = np.array([projections(gram) for gram in grams])
        kept = np.zeros(n, np.intp)
        for scores in apart:
            kept[np.argsort(scores, kind="stable")[: n - self._dropped(given.f)]] += 1
        good = kept == kept.max()
        mean = apart.mean()
        return Opinion(good / np.count_nonzero(good), apart.mean(axis=0) / mean if mean > 0 else np.zeros(n))

    def _dropped(self, f: int) -> int:
        return ceil(self.filtering * f - 1e-9)


def projections(gram: Floats) -> Floats:
    """Squared projections `(n,)` of centred rows on their top right singular vector, given their products `(n, n)`.

    >>> line = np.array([[-1.0], [0.0], [1.0]])
    >>> projections(line @ line.T).round(9).tolist()
    [1.0, 0.0, 1.0]
    """
    values, vectors = np.linalg.eigh(gram)
    squared: Floats = max(float(values[-1]), 0.0) * vectors[:, -1] ** 2  # X v = √λ u for the top pair λ, u of X Xᵀ
    return squared


def _within(drawn: npt.NDArray[np.int64], block: slice) -> npt.NDArray[np.int64]:
    """The drawn coordinates that lie in a block, counted from its start."""
    first, last = np.searchsorted(drawn, (block.start, block.stop))
    inside: npt.NDArray[np.int64] = drawn[first:last] - block.start
    return inside
