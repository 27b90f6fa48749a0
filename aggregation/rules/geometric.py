"""The geometric median: the point with the smallest sum of distances to all updates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.mass import hostile_mass, uneven
from hedgerow.aggregation.rule import GramRule, Weighed
from hedgerow.aggregation.rules.majority import MajorityRule

__all__ = ["GeometricMedian", "median_weights"]

_TOLERANCE = 1e-10
_STEPS = 1000
_PATIENCE = 50
_SAME = 1e-14  # squared distances below this part of the squared lengths are rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometricMedian(MajorityRule, GramRule):
    """The point that minimises the sum of Euclidean distances to the rows, converged; not three steps from zero.

    With weights, each distance counts as much as its row weighs.
    `f` is optional: it bounds how many unusable rows may be left out, otherwise anything short of half.

    Verdict: the score is the distance to the vector; a row with less than a tenth of a fair share 1/n is excluded.
    A far row is weakened, not removed: it keeps a pull of constant strength, and its direction.
    Assumption: n > 2f. A scaled backdoor passes it; put `NNM(f=f)` in front.
    κ: 4 (1 + f/(n-2f))² (Allouah et al., AISTATS 2023, arXiv:2302.01772, Table 1). Breakdown: fewer than n/2 rows.
    Cost: O(n²d), then O(n³) per step, few steps.
    Source: Weiszfeld 1937; Vardi and Zhang, PNAS 2000, for iterates on a row; Pillutla et al., IEEE TSP 2022,
    arXiv:1912.13445, for federated use.
    """

    reason: ClassVar[str] = "given almost no weight by the geometric median"
    least_share: ClassVar[float] = 0.1
    weighted: ClassVar[bool] = True

    def weigh(self, geometry: Geometry, given: Given) -> Weighed:
        gram, say = geometry.gram(), uneven(given)
        if say is not None:
            hostile_mass(say, given.f)  # refuses a majority
            say = say * len(say)
        weights = median_weights(gram, geometry.squared_distances(), say)
        return Weighed(weights, np.sqrt(_squared_distances_to(gram, weights)))


def median_weights(gram: Floats, squared_distances: Floats, say: Floats | None = None) -> Floats:
    """Weights `(n,)`, summing to 1, of the rows in their geometric median; `say`: how much each distance counts.

    If rows are themselves medians, the weight is spread over those by their say: in one dimension, the two middle rows.
    Otherwise Newton steps in the span of the rows, each replaced by Weiszfeld's where it would not descend, until the
    unit vectors to the rows sum to less than 1e-10 n, or to as little as rounding allows.

    >>> line = np.array([[-1.0], [0.0], [5.0], [6.0]])
    >>> median_weights(line @ line.T, (line - line.T) ** 2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    squares = np.diagonal(gram)
    distances = np.sqrt(np.where(squared_distances <= _SAME * (squares[:, None] + squares), 0.0, squared_distances))
    say = np.ones(len(gram)) if say is None else say
    optimal = _optimal_rows(gram, distances, say)
    if optimal.any():
        return _normalised(optimal)
    start = int((distances @ say).argmin())
    weights = _off_row(gram, distances[start], start, say)
    least, since = np.inf, 0
    for step_number in range(_STEPS):
        to_rows = np.sqrt(_squared_distances_to(gram, weights))
        if not to_rows.all():
            weights = _off_row(gram, to_rows, int(to_rows.argmin()), say)
            continue
        weiszfeld = _normalised(say / to_rows)
        step = weiszfeld - weights
        pull = np.sqrt(max(float(step @ gram @ step), 0.0)) * (say / to_rows).sum()
        if pull < 0.9 * least:
            least, since = pull, step_number
        if pull <= _TOLERANCE * len(weights) or step_number - since > _PATIENCE:
            break  # the second when rounding lets it come no closer, as with rows of very different lengths
        newton = _newton(gram, weights, to_rows, say)
        reached = say @ np.sqrt(_squared_distances_to(gram, newton))
        weights = newton if reached < say @ np.sqrt(_squared_distances_to(gram, weiszfeld)) else weiszfeld
    to_rows = np.sqrt(_squared_distances_to(gram, weights))
    return _normalised(say / np.maximum(to_rows, 1e-300))


def _squared_distances_to(gram: Floats, weights: Floats) -> Floats:
    """From each row to the point `weights @ rows`."""
    to_centre = gram @ weights
    distances: Floats = np.maximum(np.diagonal(gram) - 2.0 * to_centre + weights @ to_centre, 0.0)
    return distances


def _optimal_rows(gram: Floats, distances: Floats, say: Floats) -> Floats:
    """Its say for each row at which the other rows' unit pulls sum to no more than the rows that lie on it, else 0."""
    n = len(gram)
    pulls = np.divide(say, distances, out=np.zeros_like(distances), where=distances > 0)
    pulls[np.arange(n), np.arange(n)] = -pulls.sum(axis=1)
    strength = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", pulls, gram, pulls, optimize=True), 0.0))
    on_it = (distances == 0) @ say
    optimal: Floats = say * (strength <= on_it * (1.0 + 1e-9))
    return optimal


def _off_row(gram: Floats, distances: Floats, row: int, say: Floats) -> Floats:
    """Vardi and Zhang's step away from a row that is not the median, towards where the other rows pull."""
    on_it = distances <= np.sqrt(_SAME * (np.diagonal(gram) + gram[row, row]))
    on_it[row] = True
    pulls = np.divide(say, distances, out=np.zeros_like(distances), where=~on_it)
    target = _normalised(pulls)
    away = target.copy()
    away[row] -= 1.0
    strength = np.sqrt(max(float(away @ gram @ away), 0.0)) * pulls.sum()
    part = max(0.0, 1.0 - say[on_it].sum() / strength) if strength > 0 else 1.0
    weights = part * target
    weights[row] += 1.0 - part
    return weights


def _newton(gram: Floats, weights: Floats, to_rows: Floats, say: Floats) -> Floats:
    """Newton's step for the sum of distances. By Woodbury's identity it is one `n` by `n` system in unit vectors."""
    to_centre = gram @ weights
    units = (gram - to_centre[:, None] - to_centre + weights @ to_centre) / np.outer(to_rows, to_rows)
    pulls = say / to_rows
    system = pulls.sum() * np.eye(len(gram)) - pulls[:, None] * units
    try:
        move = np.linalg.solve(system, np.ones(len(gram))) * pulls
    except np.linalg.LinAlgError:
        return weights  # the rows lie on a line; no descent, so Weiszfeld's step is taken
    stepped = weights + move
    stepped -= move.sum() * weights
    return stepped


def _normalised(pulls: Floats) -> Floats:
    normalised: Floats = pulls / pulls.sum()
    return normalised
