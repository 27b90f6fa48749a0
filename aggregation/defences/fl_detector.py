"""FLDetector: a site whose updates do not follow from its earlier ones, as an honest site's do, is left out."""

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.passes import noisy_sum
from hedgerow.aggregation.arrays.rows import Floats, columns
from hedgerow.aggregation.defences.curvature import curvature
from hedgerow.aggregation.defences.site_memory import as_state, remembered
from hedgerow.aggregation.defences.two_groups import odd_ones_out
from hedgerow.aggregation.given import Given, State, View, Want
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["FLDetector"]

_VECTORS, _ROWS, _AGES, _SCORES = "vectors", "rows", "ages", "scores"
_ROUNDING = 8.0  # of the last digit


@dataclass(frozen=True, slots=True, kw_only=True)
class FLDetector(Defence):
    """The mean of the rows whose sites behave predictably over rounds.

    An honest update changes from round to round as the model moves: by the curvature of the loss times the step. The
    curvature comes from the vectors of the last `window` rounds (L-BFGS), so each site's next row is predicted from
    its last one. A site's score is the mean, over its last `window` predictions, of how far off they were, in units
    of the round's mean. Where the gap statistic says that the scores fall into two groups, the worse one is left out.
    No site is judged before it has `patience` predictions; until then this is the mean.
    A site that was absent is predicted over the steps it missed, if no more than `window`; it keeps its scores. After
    100 rounds without it, it is forgotten, so that the memory is bounded.
    `f` is optional: it bounds how many rows may be left out, unusable ones among them; otherwise less than half.

    Verdict: the score is the site's, NaN before its first prediction; rows in the worse group are excluded.
    Assumption: the server moves the model by a constant times this vector, sites train on most of their data each
    time, the loss is smooth. κ: none proven. Breakdown: none stated; the first rounds are the mean, so bound lengths
    in front: `ClipNorms() | FLDetector()`.
    Fails with few sites in each round, under noise for privacy or a server optimiser with momentum (nobody is
    predictable), against hostile sites that are predictable too, and, since two groups are found in any two groups,
    it can leave out honest sites whose data make them noisier.
    Cost: O((n + window) d), four passes. State: the last `window + 1` vectors and one row per site of the last 100
    rounds, all of length d; `window` scores per site; their names.
    Source: Zhang et al., KDD 2022, arXiv:2207.09209, section 4, Algorithms 1 to 3 (distances in units of their mean;
    of the gap statistic, one cluster against two, which decides). Curvature: Byrd, Nocedal and Schnabel, 1994.

    Raises:
        Misconfigured: E103 if `window` or `patience` is below 1; E105 without `sites`, or for a state with rows of
            another length, when the rule is used.
    """

    reason: ClassVar[str] = "its updates do not follow from its earlier ones"

    f: int | float | None = None
    window: int = 10
    patience: int = 3

    def __post_init__(self) -> None:
        if self.window < 1 or self.patience < 1:
            raise Misconfigured(
                "E103", f"window and patience must be at least 1, not {self.window} and {self.patience}"
            )

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SHIFT, Promise.SAFE}

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"sites"})

    def needs(self, f: int) -> int:
        return f + 1

    def judge(self, view: View, given: Given) -> Opinion:
        n, d = view.shape
        names, kept_sites, place, away = remembered(given.state, given.sites, "FLDetector")
        past = _Past.of(given.state, kept_sites, len(names), d, self.window)
        off = _off(view, past, place)
        window = past.scores.copy()
        told = np.flatnonzero(np.isfinite(off))
        if len(told) > 1:
            mean = off[told].mean()
            window[place[told], 1:] = past.scores[place[told], :-1]
            window[place[told], 0] = off[told] / mean if mean > 0 else 1.0
        scores, predictions = _means(window[place])
        known = np.flatnonzero(predictions >= min(self.patience, self.window))
        odd = known[odd_ones_out(scores[known])]
        most = (n - 1) // 2 if self.f is None else given.f
        kept = np.ones(n, np.bool_)
        kept[odd[np.lexsort((place[odd], -scores[odd]))][:most]] = False
        weights = kept / np.count_nonzero(kept)
        vector = noisy_sum(view, weights)
        state = {**as_state(names, away), **past.after(view, place, vector, window)}
        return Opinion(weights, scores, vector, state=state)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Past:
    """The last vectors `(m, d)`, oldest first; per site its last row `(k, d)`, the rounds since, its scores `(k, N)`.

    `rows` has no row yet for sites that are new in this round; `ages` is -1 and `scores` NaN for these.
    """

    vectors: npt.NDArray[np.floating]
    rows: npt.NDArray[np.floating]
    ages: npt.NDArray[np.int64]
    scores: Floats

    @classmethod
    def of(cls, state: State, kept: npt.NDArray[np.intp], k: int, d: int, window: int) -> "_Past":
        if _VECTORS not in state:
            ages, scores = np.full(k, -1, np.int64), np.full((k, window), np.nan)
            return cls(vectors=np.empty((0, d)), rows=np.empty((0, d)), ages=ages, scores=scores)
        vectors, rows = (cast(npt.NDArray[np.floating], state[name]) for name in (_VECTORS, _ROWS))
        before = state[_SCORES].astype(np.float64)[kept]
        if vectors.shape[1] != d or before.shape[1] != window:
            raise Misconfigured(
                "E105",
                f"FLDetector's memory is of {vectors.shape[1]} numbers and {before.shape[1]} rounds, "
                f"the rows are of {d} and the window of {window}",
            )
        new = k - len(before)
        return cls(
            vectors=vectors,
            rows=rows[kept],
            ages=np.append(state[_AGES].astype(np.int64)[kept], np.full(new, -1)),
            scores=np.vstack((before, np.full((new, window), np.nan))),
        )

    def after(
        self, view: View, place: npt.NDArray[np.intp], vector: npt.NDArray[np.floating], scores: Floats
    ) -> dict[str, npt.NDArray[np.generic]]:
        """The state with this round in it."""
        rows = np.zeros((len(self.ages), view.shape[1]), vector.dtype)
        rows[: len(self.rows)] = self.rows
        for block, part in view.blocks():
            rows[place, block] = part
        ages = self.ages + 1
        ages[place] = 0
        vectors = np.vstack((self.vectors.astype(vector.dtype), vector))[-(scores.shape[1] + 1) :]
        return {_VECTORS: vectors, _ROWS: rows, _AGES: ages, _SCORES: scores}


def _off(view: View, past: _Past, place: npt.NDArray[np.intp]) -> Floats:
    """How far `(n,)` each row is from where its site's last one and the curvature put it; NaN where nothing does."""
    lags = past.ages[place] + 1  # how many vectors the model has moved by since the site's last row
    m = len(past.vectors)
    told = np.flatnonzero((lags >= 1) & (lags <= m)) if m > 1 else np.empty(0, np.intp)
    off = np.full(len(place), np.nan)
    if not len(told):
        return off
    turns = _turns(past.vectors, np.unique(lags[told]))
    which = np.searchsorted(np.unique(lags[told]), lags[told])
    squares, long, smallest = np.zeros(len(told)), np.zeros(len(told)), 0.0
    for block, rows in view.blocks():
        smallest = _ROUNDING * float(np.finfo(rows.dtype).eps)
        wrong = rows[told].astype(np.float64) - past.rows[place[told], block]
        wrong += (turns @ past.vectors[:, block])[which]  # rows go against the gradient, so curvature shortens them
        squares += np.vecdot(wrong, wrong)
        long += np.square(rows[told], dtype=np.float64).sum(axis=1)
    off[told] = np.maximum(np.sqrt(squares), smallest * np.sqrt(long).mean())  # or rounding would be told apart
    return off


def _turns(vectors: npt.NDArray[np.floating], lags: npt.NDArray[np.int64]) -> Floats:
    """Coefficients `(len(lags), m)` of the vectors in B times the sum of the last `lag` of them."""
    m, d = vectors.shape
    steps = np.eye(m - 1, m)
    moved = np.arange(m) >= m - lags[:, None]
    points = np.vstack((steps, steps - np.eye(m - 1, m, 1), moved))
    products = np.zeros((len(points), len(points)))
    for block in columns(m, d):
        part = points @ vectors[:, block].astype(np.float64)
        products += part @ part.T
    pairs = np.arange(2 * (m - 1))
    return np.array(
        [
            curvature(products[np.ix_(chosen, chosen)]) @ points[chosen]
            for chosen in (np.append(pairs, len(pairs) + place) for place in range(len(lags)))
        ]
    )


def _means(window: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The mean `(n,)` of the numbers in each row, NaN where there are none, and how many there are."""
    numbers = np.count_nonzero(np.isfinite(window), axis=1)
    sums = np.nansum(window, axis=1)
    return np.divide(sums, numbers, out=np.full(len(sums), np.nan), where=numbers > 0), numbers
