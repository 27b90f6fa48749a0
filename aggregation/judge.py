"""One call from updates to the model's vector and the verdict on every update."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.averaging import proportions
from hedgerow.aggregation.gram import Geometry, measure
from hedgerow.aggregation.rows import Array, Floats, as_numpy, columns, like, row_norms, weighted_sum
from hedgerow.aggregation.rule import CoordinateRule, GramRule, Rule
from hedgerow.aggregation.verdict import Aggregate, Verdict
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["aggregate", "combine"]

_LARGEST_NORM = 1e150  # its square is still a float64


def aggregate(X: Array, rule: Rule, *, weights: npt.ArrayLike | None = None) -> Aggregate[Array]:
    """Applies `rule` to the updates `(n, d)` and says what it made of each of them.

    Rows with NaN, Inf or a length beyond the dtype's range are taken out first and counted against the `f` of every
    step, on the rows that arrived: with `f=2` and one such row, the rule sees n - 1 rows and f = 1. `weights` `(n,)`
    are for rules that use them (the mean, also behind clipping); they must come from the server, not from the reply.
    Same input, same output, bit for bit; nothing is changed in place. Cost: the rule's, plus O(nd).

    >>> from hedgerow.aggregation import Krum
    >>> result = aggregate(np.array([[1.0], [1.25], [0.5], [2.0], [np.nan]]), Krum(f=1))
    >>> result.vector.tolist(), result.verdict.excluded[4]
    ([1.0], 'not finite')

    Raises:
        Misconfigured: E103 if there are too few rows for the rule, E105 for weights that the rule cannot use, and
            what the rows and the weights themselves can raise (E102, E103, E126).
        Exhausted: E502 if more rows are unusable than the rule tolerates.
    """
    arrived = _admit(as_numpy(X), rule)
    prepared = _prepare(arrived, rule)
    share = _proportions(rule, weights, arrived.usable)
    n = len(prepared.rows)
    row_weights: Floats | None = None
    if isinstance(rule.last, GramRule):
        inner, scores = rule.last.weigh(prepared.geometry, prepared.f)
        inner = inner if share is None else share
        combination, part = prepared.spread(inner)
        vector = weighted_sum(combination, prepared.rows)
        row_weights = _spread(combination, arrived.usable, 0.0)
    else:
        vector, inner = _by_coordinate(prepared, rule.last, judge=True)
        _, part = prepared.spread(inner)
        scores = np.clip(1.0 - part * n, 0.0, 1.0)
    left_out = part <= rule.last.least_share * (np.full(n, 1.0 / n) if share is None else share)
    excluded = {
        int(row): "too large" if arrived.finite[row] else "not finite" for row in np.flatnonzero(~arrived.usable)
    }
    for row, reason, little in zip(np.flatnonzero(arrived.usable), prepared.reasons, left_out, strict=True):
        if reason or little:
            excluded[int(row)] = reason or rule.last.reason
    verdict = Verdict(
        weights=row_weights,
        scores=None if scores is None else _spread(scores, arrived.usable, np.nan),
        norms=arrived.norms,
        excluded=dict(sorted(excluded.items())),
        finite=arrived.finite,
    )
    return Aggregate(vector=like(vector, X), verdict=verdict)


def combine(X: Array, rule: Rule, *, weights: npt.ArrayLike | None = None) -> Array:
    """The vector that `aggregate` gives, without the work for a verdict."""
    arrived = _admit(as_numpy(X), rule)
    prepared = _prepare(arrived, rule)
    share = _proportions(rule, weights, arrived.usable)
    if isinstance(rule.last, GramRule):
        inner = rule.last.weigh(prepared.geometry, prepared.f).weights if share is None else share
        return like(weighted_sum(prepared.spread(inner)[0], prepared.rows), X)
    return like(_by_coordinate(prepared, rule.last, judge=False)[0], X)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Arrived:
    rows: npt.NDArray[np.floating]
    norms: Floats
    finite: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]


def _admit(rows: npt.NDArray[np.floating], rule: Rule) -> _Arrived:
    n = len(rows)
    for step in (*rule.before, rule.last):
        f = step.byzantine(n) or 0
        if n < step.needs(f):
            name = type(step).__name__
            raise Misconfigured("E103", f"{name} with f={f} needs at least {step.needs(f)} rows, and {n} arrived")
    norms = row_norms(rows)
    finite = np.isfinite(norms)
    for row in np.flatnonzero(~finite):
        finite[row] = np.isfinite(rows[row]).all()  # a length can overflow although every number is finite
    norms[np.isnan(norms)] = np.inf
    usable = norms <= min(_LARGEST_NORM, float(np.finfo(rows.dtype).max))
    removed = n - int(np.count_nonzero(usable))
    told = rule.byzantine(n)
    tolerated = rule.tolerates(n) if told is None else told
    if removed > tolerated:
        raise Exhausted(
            "E502",
            f"{removed} of {n} updates are not finite or too large, and the rule tolerates {tolerated}",
            hint="no vector was made; look at the sites that sent them",
        )
    return _Arrived(rows=rows, norms=norms, finite=finite, usable=usable)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    rows: npt.NDArray[np.floating]
    geometry: Geometry
    f: int
    reasons: list[str]
    plain: bool

    def spread(self, inner: Floats) -> tuple[Floats, Floats]:
        """Weights of the prepared rows as weights of the rows that arrived: with the steps' scaling, and without."""
        if self.geometry.factors is not None:
            return inner * self.geometry.factors, inner
        return (inner @ self.geometry.mixing)[:-1], inner @ self.geometry.shares


def _prepare(arrived: _Arrived, rule: Rule) -> _Prepared:
    n = len(arrived.rows)
    rows = arrived.rows if arrived.usable.all() else arrived.rows[arrived.usable]
    removed = n - len(rows)
    geometry = measure(rows)
    reasons = [""] * len(rows)
    for step in rule.before:
        geometry, passed_over = step.mix(geometry, max((step.byzantine(n) or 0) - removed, 0))
        reasons = [reason or step.reason * bool(now) for reason, now in zip(reasons, passed_over, strict=True)]
    f = max((rule.last.byzantine(n) or 0) - removed, 0)
    return _Prepared(rows=rows, geometry=geometry, f=f, reasons=reasons, plain=not rule.before)


def _by_coordinate(
    prepared: _Prepared, rule: CoordinateRule, *, judge: bool
) -> tuple[npt.NDArray[np.floating], Floats]:
    """The vector, and each present row's share of it on average over the coordinates (zeros unless `judge`)."""
    rows = prepared.rows
    n, d = rows.shape
    vector = np.empty(d, rows.dtype)
    share = np.zeros(n)
    factors = prepared.geometry.factors
    if factors is None:
        mixing = prepared.geometry.mixing[:, :-1].astype(rows.dtype)
    else:
        scale = factors.astype(rows.dtype)[:, None]
    for block in columns(n, d):
        if prepared.plain:
            part = rows[:, block]
        else:
            part = mixing @ rows[:, block] if factors is None else scale * rows[:, block]
        vector[block], used = rule.block(part, prepared.f, judge=judge)
        if used is not None:
            places = used.astype(np.float64)
            share += places @ (1.0 / places.sum(axis=0))  # equal values share one place
    return vector, share / d


def _proportions(rule: Rule, weights: npt.ArrayLike | None, usable: npt.NDArray[np.bool_]) -> Floats | None:
    if weights is None:
        return None
    if not (rule.last.weighted and all(step.weighted for step in rule.before)):
        raise Misconfigured("E105", "this rule gives every row the same say and takes no weights")
    return proportions(proportions(weights, len(usable))[usable], int(np.count_nonzero(usable)))


def _spread(values: Floats, usable: npt.NDArray[np.bool_], otherwise: float) -> Floats:
    """Values of the usable rows, at their places among all rows."""
    everyone = np.full(len(usable), otherwise)
    everyone[usable] = values
    return everyone
