"""Centred clipping: from the last round's vector, take steps that no single update can make long."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.arrays.table import as_array
from hedgerow.aggregation.given import Given, View
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Misconfigured

__all__ = ["CenteredClipping", "clipped_steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CenteredClipping(Defence):
    """From a centre, `iterations` steps to the mean of the rows, each row's difference to it clipped to `tau`.

    The centre is the last round's vector (`state["center"]`, `(d,)`), at first the zero update; each call returns the
    new one. `tau=None` takes the median of the rows' distances at every step: then it scales with the rows.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is the distance to the vector; nobody is excluded, since far rows are weakened, not removed. The
    weights sum to less than 1 (the rest is the centre's). Assumption: n > 2f, a centre near the honest rows. A scaled
    backdoor passes it; put `NNM(f=f)` in front. κ: none is claimed here. Breakdown: fewer than n/2 rows, each of which
    moves the vector by at most tau/n a step. Cost: O(n²d), then O(n²) per step.
    Source: Karimireddy, He and Jaggi, ICML 2021, arXiv:2012.10333.

    Raises:
        Misconfigured: E103 for a `tau` or `iterations` that is not positive, E126 for a centre of another shape.
    """

    reason: ClassVar[str] = "given no weight by centred clipping"

    f: int | float | None = None
    tau: float | None = None
    iterations: int = 3

    def __post_init__(self) -> None:
        if self.tau is not None and not (np.isfinite(self.tau) and self.tau > 0):
            raise Misconfigured("E103", f"tau must be positive and finite, not {self.tau}")
        if self.iterations < 1:
            raise Misconfigured("E103", f"iterations must be at least 1, not {self.iterations}")

    @property
    def promises(self) -> frozenset[Promise]:
        tied = DISTANCES - {Promise.SHIFT}
        return tied if self.tau is None else tied - {Promise.SCALE}

    def judge(self, view: View, given: Given) -> Opinion:
        n, d = view.shape
        centre = np.asarray(given.state.get("center", np.zeros(d)), np.float64)
        if centre.shape != (d,) or not np.isfinite(centre).all():
            raise Misconfigured("E126", f"the centre must be finite and of shape ({d},), not {centre.shape}")
        gram = _about_zero(view.geometry)
        if centre.any():
            across = np.zeros(n)
            for part in view.each(lambda block, rows: as_array(rows) @ centre[block]):
                across += part
            gram = gram - across[:, None] - across + centre @ centre
        weights, distances = clipped_steps(gram, self.tau, self.iterations)
        moved = view.combined(weights)
        vector = (moved + (1.0 - weights.sum()) * centre).astype(moved.dtype)
        return Opinion(weights=weights, scores=distances, vector=vector, state={"center": vector})


def clipped_steps(gram: Floats, tau: float | None, iterations: int) -> tuple[Floats, Floats]:
    """Weights `(n,)` of the rows after the steps, and the rows' distances to where they lead.

    `gram`: inner products `(n, n)` of the rows about the centre, which has the rest of the weight.

    >>> line = np.array([[1.0], [2.0], [100.0]])
    >>> weights, distances = clipped_steps(line @ line.T, 3.0, 1)
    >>> (weights @ line).round(6).tolist(), distances.round(6).tolist()
    ([2.0], [1.0, 0.0, 98.0])
    """
    n = len(gram)
    weights = np.zeros(n)
    for _ in range(iterations):
        away = _distances(gram, weights)
        limit = float(np.median(away)) if tau is None else float(tau)
        factors = np.ones(n)
        far = away > limit
        factors[far] = limit / away[far]
        weights = (1.0 - factors.mean()) * weights + factors / n
    return weights, _distances(gram, weights)


def _distances(gram: Floats, weights: Floats) -> Floats:
    to_rows = gram @ weights
    distances: Floats = np.sqrt(np.maximum(np.diagonal(gram) - 2.0 * to_rows + weights @ to_rows, 0.0))
    return distances


def _about_zero(geometry: Geometry) -> Floats:
    """Inner products `(n, n)` of the present rows themselves, without the squares of a far row cancelling the rest."""
    points, factors = geometry.points(), geometry.factors
    if factors is not None:  # the same in O(n²)
        across = points[:-1, -1]
        about: Floats = (points[:-1, :-1] - across[:, None] - across + points[-1, -1]) * factors * factors[:, None]
        return about
    away = geometry.mixing.copy()
    away[:, -1] -= 1.0
    return away @ points @ away.T
