"""One call from updates to the model's vector and the verdict on every update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, overload

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.order_statistics import threads_pay
from hedgerow.aggregation.arrays.rows import Array, Floats, as_table, like, weighted_sum
from hedgerow.aggregation.arrays.table import Block, Streamed, as_array
from hedgerow.aggregation.arrays.threads import allowed
from hedgerow.aggregation.given import Given, State
from hedgerow.aggregation.preparing import Arrived, Prepared, admit, given_to, prepare
from hedgerow.aggregation.rule import CoordinateRule, Defence, GramRule, Judged, Opinion, Rule, whole
from hedgerow.aggregation.verdict import Aggregate, Verdict
from hedgerow.aggregation.wrapper import Wrapper, innermost

__all__ = ["aggregate", "combine"]

_NARROW = 1 << 12  # columns whose places, in float64, stay in cache


@overload
def aggregate(
    X: Array,
    rule: Rule,
    *,
    weights: npt.ArrayLike | None = None,
    sites: Sequence[str] = (),
    reference: npt.NDArray[np.floating] | None = None,
    state: State | None = None,
    rng: np.random.Generator | None = None,
) -> Aggregate[Array]: ...
@overload
def aggregate(
    X: Streamed,
    rule: Rule,
    *,
    weights: npt.ArrayLike | None = None,
    sites: Sequence[str] = (),
    reference: npt.NDArray[np.floating] | None = None,
    state: State | None = None,
    rng: np.random.Generator | None = None,
) -> Aggregate[npt.NDArray[np.floating]]: ...
def aggregate(
    X: Array | Streamed,
    rule: Rule,
    *,
    weights: npt.ArrayLike | None = None,
    sites: Sequence[str] = (),
    reference: npt.NDArray[np.floating] | None = None,
    state: State | None = None,
    rng: np.random.Generator | None = None,
) -> Aggregate[Array] | Aggregate[npt.NDArray[np.floating]]:
    """Applies `rule` to the updates `(n, d)` and says what it made of each of them.

    Rows with NaN, Inf or a length beyond the dtype's range are taken out first and counted against the `f` of every
    step, on the rows that arrived: with `f=2` and one such row, the rule sees n - 1 rows and f = 1. `weights` `(n,)`
    are for rules that use them; they must come from the server, not from the reply. Some rules also need to know whose
    rows these are (`sites`), an update of the server's own (`reference`, `(d,)`), the `state` that they returned the
    round before, or the round's `rng`; each says so.
    Same input, same output, bit for bit, on one core or many; nothing is changed in place. Cost: the rule's, plus
    O(nd).

    `X` need not be in memory: a mapped file is read in spans of columns; rows may come as their layers,
    `[{name: array}, ...]` or `[[array, ...], ...]`, of which the vector is all, flat, in the first row's order; and
    blocks of columns `(n, b)` as a list or as a function that starts a new pass over them, of which a rule takes a
    few. All give the bits of the whole array. A tensor on an accelerator is worked on there.

    >>> from hedgerow.aggregation import Krum
    >>> result = aggregate(np.array([[1.0], [1.25], [0.5], [2.0], [np.nan]]), Krum(f=1))
    >>> result.vector.tolist(), result.verdict.excluded[4]
    ([1.0], 'not finite')

    Raises:
        Misconfigured: E103 if there are too few rows for the rule, E105 for weights that the rule cannot use or for
            something that it needs and was not given, and what the rows and the weights can raise (E102, E103, E126).
        Exhausted: E502 if more rows are unusable than the rule tolerates.
    """
    table, before = as_table(X), {} if state is None else state
    around = rule if isinstance(rule, Wrapper) else None
    barred = {} if around is None else around.barred(table.shape[0], sites, before)
    arrived = admit(table, rule, barred)
    inner = innermost(rule, before)
    given = given_to(rule, arrived, weights=weights, sites=sites, reference=reference, state=inner, rng=rng)
    prepared = prepare(arrived, rule, given)
    fair = _fair(given, prepared.table.shape[0])
    made = _make(prepared, rule.last, fair, judge=True)
    vector = made.vector if around is None else around.finished(made.vector, prepared.table)
    excluded = {
        row: barred.get(row) or ("too large" if arrived.finite[row] else "not finite")
        for row in np.flatnonzero(~arrived.usable).tolist()
    }
    out = _left_out(prepared, made, rule.last, fair)
    excluded |= {int(row): reason for row, reason in zip(np.flatnonzero(arrived.usable), out, strict=True) if reason}
    verdict = Verdict(
        weights=None if made.weights is None or vector is not made.vector else _placed(made.weights, arrived, 0.0),
        scores=None if made.scores is None else _placed(made.scores, arrived, np.nan),
        norms=arrived.norms,
        excluded=dict(sorted(excluded.items())),
        finite=arrived.finite,
    )
    after = made.state if around is None else around.learned(verdict, sites, before, made.state)
    return Aggregate(vector=like(vector, cast(Array, X)), verdict=verdict, state=after)


def combine(X: Array, rule: Rule, *, weights: npt.ArrayLike | None = None) -> Array:
    """The vector that `aggregate` gives, without the work for a verdict."""
    table = as_table(X)
    barred = rule.barred(table.shape[0], (), {}) if isinstance(rule, Wrapper) else {}
    arrived = admit(table, rule, barred)
    given = given_to(rule, arrived, weights=weights, sites=(), reference=None, state=None, rng=None)
    prepared = prepare(arrived, rule, given)
    vector = _make(prepared, rule.last, _fair(given, prepared.table.shape[0]), judge=False).vector
    return like(rule.finished(vector, prepared.table) if isinstance(rule, Wrapper) else vector, X)


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


def _make(prepared: Prepared, rule: GramRule | CoordinateRule | Defence, fair: Floats, *, judge: bool) -> _Made:
    if isinstance(rule, CoordinateRule):
        return _by_coordinate(prepared, rule, fair, judge=judge)
    if isinstance(rule, GramRule):
        opinion = Opinion(*rule.weigh(prepared.geometry, prepared.given))
    else:
        opinion = rule.judge(prepared, prepared.given)
    inner, scores, vector, excluded, state = opinion
    weights, part = (None, None) if inner is None else prepared.spread(inner)
    if vector is None:
        assert weights is not None, "a rule gives weights or a vector"
        vector = weighted_sum(weights, prepared.table)
    return _Made(
        vector=vector,
        weights=weights,
        part=part,
        scores=None if scores is None else _back(scores, prepared),
        excluded=excluded,
        state=state,
    )


def _by_coordinate(prepared: Prepared, rule: CoordinateRule, fair: Floats, *, judge: bool) -> _Made:
    """Each row's part is its share of the vector on average over the coordinates, its score what it lacks of `fair`."""
    n, d = prepared.shape
    vector = np.empty(d, prepared.table.dtype)
    share = np.zeros(n)
    given, weights = prepared.given, prepared.given.weights

    def work(block: slice, rows: Block) -> Floats | None:
        """Fills that part of the vector and says how much of it, summed over the columns, each row has."""
        vector[block], used = _judged(rule, rows, given, judge=judge)
        if used is None:
            return None
        return _shares(used, weights)

    for part in prepared.each(work, alone=not threads_pay(n, allowed())):
        if part is not None:
            share += part
    if not judge:
        return _Made(vector=vector, excluded={}, state={})
    _, part = prepared.spread(share / d)
    had = np.divide(part, fair, out=np.ones_like(part), where=fair > 0)
    return _Made(vector=vector, part=part, scores=np.clip(1.0 - had, 0.0, 1.0), excluded={}, state={})


def _shares(used: npt.NDArray[np.bool_], weights: Floats | None) -> Floats:
    """How much of the columns' values each row has, `(n,)`, given who is in which (n, b); equal ones share a place."""
    n, b = used.shape
    shares = np.zeros(n)
    for start in range(0, b, _NARROW):
        places = used[:, start : start + _NARROW].astype(np.float64)
        if weights is not None:
            places *= weights[:, None]
        shares += places @ (1.0 / (np.ones(n) @ places))
    return shares


def _judged(rule: CoordinateRule, rows: Block, given: Given, *, judge: bool) -> Judged:
    """What the rule makes of a block of columns; on a device if they are there and the rule is one of middle ranks."""
    if not isinstance(rows, np.ndarray):
        from hedgerow.aggregation.arrays import device

        found = device.judged(rule, rows, given, judge=judge)
        if found is not None:
            return found
    return rule.block(as_array(rows), given, judge=judge)


def _fair(given: Given, k: int) -> Floats:
    """What part of the vector each of the k usable rows would have if nobody were suspected."""
    return np.full(k, 1.0 / k) if given.weights is None else given.weights


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
    with np.errstate(invalid="ignore"):  # a row that was taken away has no score
        grouped: Floats = scores @ shares / shares.sum(axis=0)
    return grouped


def _placed(values: Floats, arrived: Arrived, otherwise: float) -> Floats:
    """Values of the usable rows, at their places among all rows."""
    everyone = np.full(len(arrived.usable), otherwise)
    everyone[arrived.usable] = values
    return everyone
