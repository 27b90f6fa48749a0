"""One round's close, for every engine: admit → aggregate → step. It works on rows; there is no Flower in it.

```
replies ─► admit ─► rows (n, d) ─► Rule ─► aggregate ─► server optimiser ─► model
              └► rejections            └► verdict: who counted, who was excluded and why
```
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hedgerow.aggregation import Aggregate, Rule, aggregate, estimate_hostile, make_rule, minimum_rows
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.job import Job
from hedgerow.server.admission import Admitted, Rejection, admit
from hedgerow.server.optimizer import server_step
from hedgerow.server.site_privacy import NoisedRound, SiteNoise
from hedgerow.update import Vector
from hedgerow.wire import Reply

__all__ = ["Closed", "GlobalState", "VoidRound", "close_admitted", "close_round"]

WEIGHT_CAP = 3.0  # times the median of the declared counts
FEWEST_LOOKED_AT, MOST_LOOKED_AT = 5, 100  # updates among which those that look hostile are counted
# Of the weight, at most, for as many sites as may be hostile. A rule withstands less than half; and where a step takes
# as many others away, it is still less than half of the rest.
HOSTILE_SHARE = 0.33
CLIP = "clip"  # the next round's, in what is remembered under site-level privacy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalState:
    """Everything the coordinator carries from round to round.

    `model` (d,), `memory` of the server optimiser, the example counts that sites `declared` in their first reply, what
    the aggregation `rule` remembers, and under which name each of the `nodes` goes, by its number.
    """

    model: Vector
    memory: Mapping[str, np.ndarray]
    declared: Mapping[str, int]
    rule: Mapping[str, np.ndarray] = field(default_factory=dict)
    nodes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Closed:
    """A round that released a model: the next state, and what the events tell about it.

    Under site-level privacy `clip` is the length that updates were shortened to and `within` the noisy share of those
    that were no longer, `None` for a fixed clip.
    """

    state: GlobalState
    accepted: tuple[str, ...]
    rejections: tuple[Rejection, ...]
    replies: tuple[Reply, ...]
    norms: Mapping[str, float]
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    suspects: tuple[str, ...]
    step_norm: float
    seconds: Mapping[str, float]
    clip: float | None = None
    within: float | None = None


def close_round(
    job: Job,
    state: GlobalState,
    replies: Iterable[Reply],
    *,
    asked: Mapping[int, str],
    rng: np.random.Generator | None = None,
    reference: Vector | None = None,
    noise: SiteNoise | None = None,
) -> Closed:
    """Turn a round's replies into the next model; `rng` is the round's own, for rules that draw, `reference` (d,) an
    update of the server's own, for rules that compare with one, `noise` the round's under site-level privacy.

    Raises:
        VoidRound: as `close_admitted`.
    """
    start = time.perf_counter()
    admitted = admit(replies, asked=asked, size=len(state.model))
    admitting = time.perf_counter() - start
    return close_admitted(job, state, admitted, admitting=admitting, rng=rng, reference=reference, noise=noise)


def close_admitted(
    job: Job,
    state: GlobalState,
    admitted: Admitted,
    *,
    admitting: float = 0.0,
    rng: np.random.Generator | None = None,
    reference: Vector | None = None,
    noise: SiteNoise | None = None,
) -> Closed:
    """Turn a round's usable updates into the next model; `admitting` is how many seconds it took to know them.

    Under site-level privacy they are clipped and added up with `noise`, and there is no rule and no quorum.

    Raises:
        VoidRound: with fewer usable updates than the quorum or the rule needs (E501), or if the rule refuses them or
            the step cannot make a finite model of them (E502). The round releases nothing and the state stays as it
            was.
    """
    start = time.perf_counter()
    declared = _declare(state.declared, admitted)
    noised = None
    weights: np.ndarray | None
    scores: np.ndarray | None
    if job.privacy.unit == "site":
        noised = _noised(state, admitted, noise)
        vector, weights, scores, excluded = noised.mean, noised.weights, None, dict[int, str]()
        remembered: Mapping[str, np.ndarray] = {CLIP: np.array([noised.next_clip])}
    else:
        outcome = _aggregated(job, state, declared, admitted, rng, reference)
        vector, remembered, verdict = outcome.vector, outcome.state, outcome.verdict
        weights, scores, excluded = verdict.weights, verdict.scores, dict(verdict.excluded)
    aggregated_at = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        model, memory = server_step(job.server, state.model, np.asarray(vector, np.float32), state.memory)
    if not all(np.isfinite(vector).all() for vector in (model, *memory.values())):
        raise VoidRound(Exhausted("E502", "the step would make the model infinite"), admitted)
    excluded_sites = {admitted.sites[row]: reason for row, reason in excluded.items()}
    return Closed(
        state=GlobalState(model=model, memory=memory, declared=declared, rule=remembered, nodes=state.nodes),
        accepted=tuple(site for site in admitted.sites if site not in excluded_sites) if excluded else admitted.sites,
        rejections=admitted.rejections
        + tuple(Rejection(site=site, code="E310", reason=reason) for site, reason in excluded_sites.items()),
        replies=admitted.replies,
        norms=dict(zip(admitted.sites, admitted.norms.tolist(), strict=True)),
        weights={} if weights is None else dict(zip(admitted.sites, np.asarray(weights).tolist(), strict=True)),
        scores={} if scores is None else dict(zip(admitted.sites, np.asarray(scores).tolist(), strict=True)),
        suspects=_suspects(job, admitted),
        step_norm=float(np.linalg.norm(model.astype(np.float64) - state.model)),
        seconds={
            "admit": admitting,
            "aggregate": aggregated_at - start,
            "step": time.perf_counter() - aggregated_at,
        },
        clip=None if noised is None else noised.clip,
        within=None if noised is None else noised.within,
    )


class VoidRound(Exception):
    """A round that may release nothing: the cause, who did not count, and what the others said beside their updates.

    `admitted` is `None` where nobody was asked.
    """

    def __init__(self, cause: Exhausted, admitted: Admitted | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.rejections = () if admitted is None else admitted.rejections
        self.replies = () if admitted is None else admitted.replies


def _noised(state: GlobalState, admitted: Admitted, noise: SiteNoise | None) -> NoisedRound:
    if noise is None:
        raise RuntimeError("a round under site-level privacy was closed without its noise")
    clip = float(state.rule[CLIP][0]) if CLIP in state.rule else noise.plan.clip
    return noise(admitted.rows, admitted.norms, clip)


def _aggregated(
    job: Job,
    state: GlobalState,
    declared: Mapping[str, int],
    admitted: Admitted,
    rng: np.random.Generator | None,
    reference: Vector | None,
) -> Aggregate[np.ndarray]:
    """What the job's rule makes of the rows, or a void round."""
    rule = make_rule(job.aggregate.rule, byzantine=job.aggregate.byzantine, before=job.aggregate.before)
    _need(job, admitted)
    shares = None
    if job.aggregate.weights == "examples":
        counts = np.array([declared[site] for site in admitted.sites], np.float64)
        shares = _capped(counts, _spoilt(rule, job.aggregate.byzantine))
    try:
        return aggregate(
            admitted.rows, rule, weights=shares, sites=admitted.sites, state=state.rule, rng=rng, reference=reference
        )
    except Exhausted as error:
        raise VoidRound(error, admitted) from error
    except Misconfigured as error:
        if error.code != "E103":
            raise
        # The job was checked before: this round's rows are too few, or too few of them hold half of the weight.
        raise VoidRound(Exhausted("E502", error.message, hint=error.hint), admitted) from error


def _need(job: Job, admitted: Admitted) -> None:
    usable, quorum = len(admitted.replies), job.cohort.quorum
    rows = minimum_rows(job.aggregate.rule, job.aggregate.byzantine, job.aggregate.before)
    if usable < max(quorum, rows):
        wanted = f"the quorum is {quorum}" if usable < quorum else f"the rule needs {rows}"
        raise VoidRound(Exhausted("E501", f"{usable} usable updates, but {wanted}"), admitted)


def _declare(declared: Mapping[str, int], admitted: Admitted) -> dict[str, int]:
    """Counts are believed once: a site's first claim holds for the run."""
    first = {reply.site: reply.examples or 1 for reply in admitted.replies if reply.site not in declared}
    return {**declared, **first}


def _suspects(job: Job, admitted: Admitted) -> tuple[str, ...]:
    """The sites whose update lies too far from the others', if they are more than the job expects.

    Nobody is asked where the job expects none, or where so many answer that comparing them again would be felt.
    """
    expected, rows = job.aggregate.byzantine, admitted.rows
    if not expected or not FEWEST_LOOKED_AT <= len(rows) <= MOST_LOOKED_AT:
        return ()
    found = estimate_hostile(rows)
    return tuple(admitted.sites[row] for row in found.rows) if found.exceeds(expected) else ()


def _spoilt(rule: Rule, f: int) -> int:
    """How many rows as many hostile ones can spoil: where rows are averaged in groups, all of their groups.

    >>> _spoilt(make_rule("krum", byzantine=2, before="reject+bucketing"), 2)
    4
    """
    rows = f + 1
    for step in reversed(rule.before):
        rows = step.arrivals(rows)
    return rows - 1


def _capped(counts: np.ndarray, spoilt: int) -> np.ndarray:
    """Declared counts, none above three times their median, and lower still where claims alone could outvote a rule.

    >>> _capped(np.array([10.0, 10.0, 10.0, 1000.0]), 0).tolist()
    [10.0, 10.0, 10.0, 30.0]
    >>> _capped(np.array([10.0, 10.0, 10.0, 1000.0]), 1).round(2).tolist()
    [10.0, 10.0, 10.0, 14.78]
    """
    cap, low = WEIGHT_CAP * float(np.median(counts)), float(counts.min())
    if _heaviest(np.minimum(counts, cap), spoilt) > HOSTILE_SHARE:
        for _ in range(64):
            middle = (low + cap) / 2
            low, cap = (low, middle) if _heaviest(np.minimum(counts, middle), spoilt) > HOSTILE_SHARE else (middle, cap)
        cap = low
    capped: np.ndarray = np.minimum(counts, cap)
    return capped


def _heaviest(weights: np.ndarray, count: int) -> float:
    return float(np.sort(weights)[len(weights) - count :].sum() / weights.sum()) if count else 0.0
