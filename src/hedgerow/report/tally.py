"""What is known about each site, and what became of hostile and honest updates, from all rounds together."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from hedgerow.report.fields import Raw, number, text, whole, wholes
from hedgerow.report.reading import ARRIVED, Spending, Told
from hedgerow.report.summary import Budget, Defence, Reason, Site

__all__ = ["defence", "sites"]


def sites(
    counted: Sequence[Raw], told: Sequence[Told], spending: Spending, hostile: frozenset[str]
) -> tuple[Site, ...]:
    """Every site that any event names, by name. O(sites × rounds)."""
    data = {text(event, "site"): event for event in counted if event["event"] == "data-described"}
    planned = {text(event, "site"): _budget(event) for event in counted if event["event"] == "budget-planned"}
    accepted, rejected = Counter[str](), Counter[tuple[str, str, str]]()
    last: dict[str, int] = {}
    for entry in told:
        accepted.update(entry.accepted)
        rejected.update(entry.rejected)
        last.update(dict.fromkeys(entry.accepted, entry.round.number))
        last.update({site: entry.round.number for site, code, _ in entry.rejected if code in ARRIVED})
    reasons: defaultdict[str, list[Reason]] = defaultdict(list)
    for (site, code, reason), count in rejected.most_common():
        reasons[site].append(Reason(code=code, text=reason, count=count))
    names = {*data, *planned, *accepted, *reasons, *spending.spent} - {""}
    return tuple(
        _site(
            name,
            data.get(name, {}),
            planned.get(name),
            spending.spent.get(name),
            accepted[name],
            tuple(reasons.get(name, ())),
            last.get(name),
            name in hostile,
        )
        for name in sorted(names)
    )


def defence(told: Sequence[Told], hostile: frozenset[str]) -> Defence:
    """What was kept and what was excluded in the rounds that released a model."""
    released = [entry for entry in told if not entry.round.void]
    kept, excluded = Counter[bool](), Counter[bool]()
    for entry in released:
        kept.update(map(hostile.__contains__, entry.accepted))
        excluded.update(site in hostile for site, code, _ in entry.rejected if code in ARRIVED)
    shares = [entry.hostile_weight for entry in released if entry.hostile_weight is not None]
    return Defence(
        hostile_sites=len(hostile),
        hostile_received=kept[True] + excluded[True],
        hostile_excluded=excluded[True],
        honest_received=kept[False] + excluded[False],
        honest_excluded=excluded[False],
        hostile_weight=sum(shares) / len(shares) if shares and hostile else None,
    )


def _site(
    name: str,
    data: Raw,
    planned: Budget | None,
    spent: float | None,
    accepted: int,
    reasons: tuple[Reason, ...],
    last_round: int | None,
    hostile: bool,
) -> Site:
    return Site(
        name=name,
        train=whole(data, "train"),
        test=whole(data, "test"),
        labels=wholes(data, "labels"),
        accepted=accepted,
        rejected=sum(reason.count for reason in reasons),
        reasons=reasons,
        planned=planned,
        spent=spent,
        limit=planned.limit if planned else None,
        delta=planned.delta if planned else None,
        last_round=last_round,
        hostile=hostile,
    )


def _budget(event: Raw) -> Budget | None:
    epsilon, limit, delta = (number(event, name) for name in ("epsilon", "limit", "delta"))
    words = [text(event, name) for name in ("accountant", "unit", "relation")]
    if epsilon is None or delta is None or not all(words):
        return None  # an epsilon without its definition says nothing, so it is not repeated
    return Budget(
        epsilon=epsilon,
        limit=epsilon if limit is None else limit,
        delta=delta,
        noise_multiplier=number(event, "noise_multiplier"),
        sampling_rate=number(event, "sampling_rate"),
        steps=whole(event, "steps"),
        clip=number(event, "clip"),
        accountant=words[0],
        unit=words[1],
        relation=words[2],
        randomness=text(event, "randomness") or "not recorded",
    )
