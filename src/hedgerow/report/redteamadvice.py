"""Which of the tried defences to take, what it costs, and why not the others."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hedgerow.report.redteamrows import WorstCase, better
from hedgerow.settings import Scalar

__all__ = ["Candidate", "Recommendation", "recommend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A defence that may be recommended: how many `steps` it takes, and the `settings` that put it into a job.

    `unsound` says why it is not one: what it promises does not hold against so many hostile sites.
    """

    name: str
    steps: int
    settings: Mapping[str, Scalar]
    unsound: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The defence to take against `f` hostile sites; `defence` is empty where none of those tried can be recommended.

    `worst` is its worst case over all splits, attacks and seeds, by `attack`; `cost` what it lacks to the plain mean
    where nobody attacks (on the split where that is most), `backdoor` the highest success of any backdoor. `tied` are
    the defences that did as well within the noise between seeds, and gave way because they are less simple or cost
    more. `words` say all of this.
    """

    f: int
    defence: str
    settings: Mapping[str, Scalar]
    metric: str
    worst: float | None
    attack: str
    cost: float | None
    backdoor: float | None
    seconds: float | None
    tied: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A candidate with its worst case over the splits; `by_seed` holds the worst of each seed."""

    candidate: Candidate
    place: int
    metric: str
    worst: float
    attack: str
    by_seed: Mapping[int, float]
    cost: float | None
    backdoor: float | None
    seconds: float | None


def recommend(cases: Sequence[WorstCase], candidates: Sequence[Candidate]) -> Recommendation:
    """The candidate with the best worst case against the most hostile sites that were tried.

    The worst case is the lowest of all runs: every split, attack and seed. A candidate is as good as the best one if
    its worst case is no further below than the best one's moves between seeds, and their difference, seed by seed, is
    not larger than its own standard deviation. Of those, the one with the fewest steps is taken, then the one that
    costs least where nobody attacks, then the first. With one seed there is no noise to judge by: only equals tie.
    """
    f = max(each.case.f for each in cases)
    feared = [each for each in cases if each.case.f == f]
    tried, passed_over = [], []
    for place, candidate in enumerate(candidates):
        own = [each for each in feared if each.case.defence == candidate.name]
        why = candidate.unsound or _unusable(own)
        if why:
            passed_over.append(f"{candidate.name} was passed over: {why}.")
        else:
            tried.append(_tried(candidate, place, own))
    if not tried:
        words = (f"None of the defences tried can be recommended against {f} hostile sites.", *passed_over)
        return Recommendation(
            f=f,
            defence="",
            settings={},
            metric=next((each.metric for each in feared if each.metric), ""),
            worst=None,
            attack="",
            cost=None,
            backdoor=None,
            seconds=None,
            tied=(),
            words=words,
        )
    leader = tried[0]
    for each in tried[1:]:
        if better(leader.metric, each.worst, leader.worst):
            leader = each
    equals = [each for each in tried if each is leader or _tie(leader, each)]
    chosen = min(equals, key=lambda each: (each.candidate.steps, each.cost or 0.0, each.place))
    return Recommendation(
        f=f,
        defence=chosen.candidate.name,
        settings={**chosen.candidate.settings, "aggregate.byzantine": f},
        metric=chosen.metric,
        worst=chosen.worst,
        attack=chosen.attack,
        cost=chosen.cost,
        backdoor=chosen.backdoor,
        seconds=chosen.seconds,
        tied=tuple(each.candidate.name for each in equals if each is not chosen),
        words=(*_words(f, chosen, leader, equals, tried), *passed_over),
    )


def _unusable(own: Sequence[WorstCase]) -> str:
    """Why the numbers of a candidate say nothing, or nothing good."""
    unfit = next((each.case.unfit for each in own if each.case.unfit), "")
    if unfit:
        return unfit
    if any(each.waiting for each in own) or not own:
        return "not all of its runs are done"
    failed = [run for each in own for run in each.broken]
    if failed:
        return f"run {failed[0].name} failed ({failed[0].code} {failed[0].reason})"
    lost = [run for each in own for run in each.lost]
    if lost:
        return f"{lost[0].settings['attack']} left no usable model (run {lost[0].name})"
    if any(each.value is None or each.unmeasured for each in own):
        return "nothing was measured"
    return ""


def _tried(candidate: Candidate, place: int, own: Sequence[WorstCase]) -> _Tried:
    worst = own[0]
    by_seed: dict[int, float] = {}
    for each in own:
        assert each.value is not None and worst.value is not None  # as `_unusable` has seen
        worst = each if better(each.metric, worst.value, each.value) else worst
        for seed, value in each.by_seed.items():
            if value is not None and (seed not in by_seed or better(each.metric, by_seed[seed], value)):
                by_seed[seed] = value
    seconds = [each.seconds for each in own if each.seconds is not None]
    assert worst.value is not None
    return _Tried(
        candidate=candidate,
        place=place,
        metric=worst.metric,
        worst=worst.value,
        attack=worst.attack,
        by_seed=by_seed,
        cost=max((each.cost for each in own if each.cost is not None), default=None),
        backdoor=max((each.backdoor for each in own if each.backdoor is not None), default=None),
        seconds=statistics.fmean(seconds) if seconds else None,
    )


def _tie(best: _Tried, other: _Tried) -> bool:
    """Whether the other is no worse than the noise between seeds allows."""
    if other.worst == best.worst:
        return True
    gaps = [abs(best.by_seed[seed] - other.by_seed[seed]) * _sign(best, other, seed) for seed in best.by_seed]
    if len(gaps) < 2:
        return False
    noise = max(best.by_seed.values()) - min(best.by_seed.values())
    return abs(best.worst - other.worst) <= noise and statistics.fmean(gaps) <= statistics.stdev(gaps)


def _sign(best: _Tried, other: _Tried, seed: int) -> int:
    return 1 if better(best.metric, best.by_seed[seed], other.by_seed[seed]) else -1


def _words(
    f: int, chosen: _Tried, leader: _Tried, equals: Sequence[_Tried], tried: Sequence[_Tried]
) -> tuple[str, ...]:
    sites = f"{f} hostile site" + ("s" if f > 1 else "")
    words = [f"Against {sites}, {chosen.candidate.name} has the worst case {_value(chosen)}, by {chosen.attack}."]
    if chosen is leader:
        words[0] = (
            f"Against {sites}, {chosen.candidate.name} has the best worst case: {_value(chosen)}, by {chosen.attack}."
        )
    else:
        words.append(
            f"{leader.candidate.name} reached {_value(leader)}, by {leader.attack}. That is no more than the noise "
            "between seeds, and it takes more steps or costs more."
        )
    if chosen.cost is not None:
        words.append(f"Where nobody attacks it {_cost_words(chosen)} the plain mean.")
    if chosen.backdoor is not None:
        least = min(tried, key=lambda each: each.backdoor or 0.0)
        rather = (
            "" if least is chosen else f" (the least of those tried is {least.candidate.name}, {least.backdoor:.3f})"
        )
        words.append(f"A backdoor succeeds on {chosen.backdoor:.3f} of the triggered records{rather}.")
    others = [each for each in equals if each is not chosen and each is not leader]
    if others:
        names = ", ".join(f"{each.candidate.name} ({_value(each)})" for each in others)
        words.append(f"Equal within the noise between seeds: {names}.")
    rest = [each for each in tried if each not in equals]
    if rest:
        words.append("Behind it: " + ", ".join(f"{e.candidate.name} {_value(e)} by {e.attack}" for e in rest) + ".")
    if len(chosen.by_seed) < 2:
        words.append("One seed has no interval and no noise to judge by: a small lead may be chance.")
    return tuple(words)


def _value(tried: _Tried) -> str:
    return f"{tried.metric} {tried.worst:.3f}"


def _cost_words(tried: _Tried) -> str:
    cost = tried.cost or 0.0
    size = f"{100 * abs(cost):.1f} points of {tried.metric}" if abs(cost) <= 1 else f"{abs(cost):.3g} {tried.metric}"
    if round(abs(cost), 3) == 0:
        return "is as good as"
    return f"is {size} {'below' if cost > 0 else 'above'}" if tried.metric == "accuracy" else f"costs {cost:+.3g} over"
