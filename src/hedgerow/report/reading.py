"""From one event after the other to what the report needs of it, so that a long log never lies in memory whole."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

from hedgerow.report.fields import Raw, entries, number, numbers, text, texts, whole
from hedgerow.report.numbers import quantile
from hedgerow.report.summary import Round

__all__ = ["ARRIVED", "Spending", "Told", "condensed"]

# Rejections of an update that arrived. The others (E308 failed, E309 silent, E305 empty) say that none did.
ARRIVED = frozenset({"E301", "E302", "E303", "E304", "E306", "E307", "E310"})
INNER = (0.05, 0.95)  # the quantiles between which nine of ten updates lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A round, who counted in it, and who did not: `(site, code, reason)`.

    `hostile_weight` is the attackers' share of the aggregate, None where the rule gives no weights.
    """

    round: Round
    accepted: tuple[str, ...]
    rejected: tuple[tuple[str, str, str], ...]
    hostile_weight: float | None


@dataclass(slots=True, kw_only=True)
class Spending:
    """What the sites say they have spent, in rounds that were done again too: what was spent stays spent."""

    spent: dict[str, float] = field(default_factory=dict)

    def add(self, site: str, epsilon: float | None) -> None:
        """The most that was said counts."""
        if epsilon is not None and epsilon > self.spent.get(site, -math.inf):
            self.spent[site] = epsilon


def condensed(events: Iterable[Raw], spending: Spending) -> Iterator[Raw]:
    """The events that a report reads, made small: a round's as `Told`, what its sites spent as a range.

    Each site's budget goes to `spending` at once, whether or not a resume supersedes its round.
    """
    attackers: tuple[str, ...] = ()
    same = functools.cache(str)  # a name lies in memory once, however often the log repeats it
    for event in events:
        kind = event["event"]
        if kind == "budgets-spent":
            spent = numbers(event, "epsilon")
            for site, epsilon in spent.items():
                spending.add(site, epsilon)
            if spent:
                ends = {"lowest": min(spent.values()), "highest": max(spent.values())}
                yield {"event": kind, "time": event.get("time"), "round": whole(event, "round") or 0, **ends}
        elif kind in ("round-closed", "round-voided"):
            told = _told(event, attackers, same)
            facts = {key: event.get(key) for key in ("event", "time", "model_sha256")}
            yield {**facts, "round": told.round.number, "told": told}
        elif kind in ("round-started", "evaluated"):
            yield {**event, "round": whole(event, "round") or 0}
        elif kind == "run-resumed":
            yield {**event, "after_round": whole(event, "after_round") or 0}
        elif isinstance(kind, str):
            if kind == "run-started" and not attackers and isinstance(event.get("scenario"), dict):
                attackers = texts(event["scenario"], "attacker_sites")
            for site, epsilon in numbers(event, "epsilon").items() if kind == "run-finished" else ():
                spending.add(site, epsilon)
            yield event


def _told(event: Raw, attackers: tuple[str, ...], same: Callable[[str], str]) -> Told:
    norms = numbers(event, "norms")
    ordered = sorted(norms.values())
    hostile = [norms[site] for site in attackers if site in norms]
    voided = event["event"] == "round-voided"
    accepted = tuple(map(same, texts(event, "accepted")))
    rejected = tuple(
        (same(text(entry, "site")), same(text(entry, "code")), same(text(entry, "reason")))
        for entry in entries(event, "rejected")
    )
    weights = numbers(event, "weights")
    total = sum(weights.values())
    low, high = (quantile(ordered, share) if ordered else None for share in INNER)
    round_ = Round(
        number=whole(event, "round") or 0,
        accepted=len(accepted),
        rejected=len(rejected),
        suspects=len(texts(event, "suspects")),
        answered=len(accepted) + sum(code in ARRIVED for _, code, _ in rejected),
        void_code=text(event, "code") if voided else "",
        void=(text(event, "reason") or "no reason recorded") if voided else "",
        norm_low=ordered[0] if ordered else None,
        norm_inner_low=low,
        norm_median=median(ordered) if ordered else None,
        norm_inner_high=high,
        norm_high=ordered[-1] if ordered else None,
        norm_hostile=median(hostile) if hostile else None,
        step_norm=number(event, "step_norm"),
        seconds=numbers(event, "seconds"),
        bytes_down=whole(event, "bytes_down") or 0,
        bytes_up=whole(event, "bytes_up") or 0,
        clock=number(event, "clock"),
    )
    return Told(
        round=round_,
        accepted=accepted,
        rejected=rejected,
        hostile_weight=sum(weights.get(name, 0.0) for name in attackers) / total if total and not voided else None,
    )
