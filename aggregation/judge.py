"""One call from updates to the model's vector and the verdict on every update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.given import State
from hedgerow.aggregation.preparing import Arrived, Prepared, admit, given_to, prepare
from hedgerow.aggregation.rows import Array, Floats, as_numpy, like, weighted_sum
from hedgerow.aggregation.rule import CoordinateRule, Defence, GramRule, Opinion, Rule, whole
from hedgerow.aggregation.verdict import Aggregate, Verdict

__all__ = ["aggregate", "combine"]


def aggregate(
    X: Array,
    rule: Rule,
    *,
    weights: npt.ArrayLike | None = None,
    sites: Sequence[str] = (),
    reference: npt.NDArray[np.floating] | None = None,
    state: State | None = None,
    rng: np.random.Generator | None = None,
) -> Aggregate[Array]:
    """Applies `rule` to the updates `(n, d)` and says what it made of each of them.

    Rows with NaN, Inf or a length beyond the dtype's range are taken out first and counted against the `f` of every
    step, on the rows that arrived: with `f=2` and one such row, the rule sees n - 1 rows and f = 1. `weights` `(n,)`
    are for rules that use them; they must come from the server, not from the reply. Some rules also need to know whose
    rows these are (`sites`), an update of the server's own (`reference`, `(d,)`), the `state` that they returned the
    round before, or the round's `rng`; each says so.
    Same input, same output, bit for bit; nothing is changed in place. Cost: the rule's, plus O(nd).

    >>> from hedgerow.aggregation import Krum
    >>> result = aggregate(np.array([[1.0], [1.25], [0.5], [2.0], [np.nan]]), Krum(f=1))
    >>> result.vector.tolist(), result.verdict.excluded[4]
    ([1.0], 'not finite')

    Raises:
        Misconfigured: E103 if there are too few rows for the rule, E105 for weights that the rule cannot use or for
            something that it needs and was not given, and what the rows and the weights can raise (E102, E103, E126).
        Exhausted: E502 if more rows are unusable than the rule tolerates.
    """
    arrived = admit(as_numpy(X), rule)
    given = given_to(rule, arrived, weights=weights, sites=sites, reference=reference, state=state, rng=rng)
    prepared = prepare(arrived, rule, given)
    made = _make(prepared, rule.last, judge=True)
    k = len(prepared.rows)
    fair = np.full(k, 1.0 / k) if given.weights is None else given.weights
    excluded = {
        int(row): "too large" if arrived.finite[row] else "not finite" for row in np.flatnonzero(~arrived.usable)
    }
    out = _left_out(prepared, made, rule.last, fair)
    excluded |= {int(row): reason for row, reason in zip(np.flatnonzero(arrived.usable), out, strict=True) if reason}
    verdict = Verdict(
        weights=None if made.weights is None else _placed(made.weights, arrived, 0.0),
        scores=None if made.scores is None else _placed(made.scores, arrived, np.nan),
        norms=arrived.norms,
        excluded=dict(sorted(excluded.items())),
        finite=arrived.finite,
    )
    return Aggregate(vector=like(made.vector, X), verdict=verdict, state=made.state)


def combine(X: Array, rule: Rule, *, weights: npt.ArrayLike | None = None) -> Array:
    """The vector that `aggregate` gives, without the work for a verdict."""
    arrived = admit(as_numpy(X), rule)
    given = given_to(rule, arrived, weights=weights, sites=(), reference=None, state=None, rng=None)
    return like(_make(prepare(arrived, rule, given), rule.last, judge=False).vector, X)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """The vector; and about the usable rows, (k,): their weights in it, the part that their directions have, scores.

    `excluded` names rows that the rule itself saw. None where nothing was weighed or measured.
    """

    vector: npt.NDArray[np.floating]
    weights: Floats | None = None
    part: Floats | None = None
    scores: Floats | None = None
    excluded: Mapping[int, str]
    state: State


def _make(prepared: Prepared, rule: GramRule | CoordinateRule | Defence, *, judge: bool) -> _Made:
    if isinstance(rule, CoordinateRule):
        return _by_coordinate(prepared, rule, judge=judge)
    if isinstance(rule, GramRule):
        opinion = Opinion(*rule.weigh(prepared.geometry, prepared.given))
    else:
        opinion = rule.judge(prepared, prepared.given)
    inner, scores, vector, excluded, state = opinion
    weights, part = (None, None) if inner is None else prepared.spread(inner)
    if vector is None:
        assert weights is not None, "a rule gives weights or a vector"
        vector = weighted_sum(weights, prepared.rows)
    return _Made(
        vector=vector,
        weights=weights,
        part=part,
        scores=None if scores is None else _back(scores, prepared),
        excluded=excluded,
        state=state,
    )


def _by_coordinate(prepared: Prepared, rule: CoordinateRule, *, judge: bool) -> _Made:
    """Each row's part is its share of the vector on average over the coordinates."""
    n, d = prepared.shape
    vector = np.empty(d, prepared.rows.dtype)
    share = np.zeros(n)
    for block, rows in prepared.blocks():
        vector[block], used = rule.block(rows, prepared.given, judge=judge)
        if used is not None:
            places = used.astype(np.float64)
            share += places @ (1.0 / places.sum(axis=0))  # equal values share one place
    if not judge:
        return _Made(vector=vector, excluded={}, state={})
    _, part = prepared.spread(share / d)
    return _Made(vector=vector, part=part, scores=np.clip(1.0 - part * len(part), 0.0, 1.0), excluded={}, state={})


def _left_out(
    prepared: Prepared, made: _Made, rule: GramRule | CoordinateRule | Defence, fair: Floats
) -> Sequence[str]:
    """By usable row why it was left out, or an empty text: passed over by a step, named by the rule, or hardly used."""
    reasons = list(prepared.reasons)
    if made.excluded:
        out = np.zeros(prepared.shape[0], np.bool_)
        out[list(made.excluded)] = True
        why = prepared.geometry.shares.argmax(axis=0)
        for row in np.flatnonzero(whole(prepared.geometry.shares, out)):
            reasons[row] = reasons[row] or made.excluded.get(int(why[row]), rule.reason)
    if made.part is not None:
        for row in np.flatnonzero(made.part <= rule.least_share * fair):
            reasons[row] = reasons[row] or rule.reason
    return reasons


def _back(scores: Floats, prepared: Prepared) -> Floats:
    """Scores of the rows that the rule saw, for the usable ones: where rows were grouped, the mean of their groups."""
    shares = prepared.geometry.shares
    if len(shares) == shares.shape[1]:
        return scores
    grouped: Floats = scores @ shares / shares.sum(axis=0)
    return grouped


def _placed(values: Floats, arrived: Arrived, otherwise: float) -> Floats:
    """Values of the usable rows, at their places among all rows."""
    everyone = np.full(len(arrived.usable), otherwise)
    everyone[arrived.usable] = values
    return everyone
