"""From `events.jsonl` to a `RunSummary`: which events count, and what they add up to."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from hedgerow.errors import Misconfigured
from hedgerow.events import current_events, read_events
from hedgerow.report.fields import Raw, entries, interval, number, numbers, scalars, text, texts, whole, wholes
from hedgerow.report.summary import (
    Budget,
    BudgetRange,
    Defence,
    Evaluation,
    Gate,
    Leak,
    Reason,
    Round,
    RunSummary,
    Site,
    TprAt,
)

__all__ = ["load_run"]

# Rejections of an update that arrived. The others (E308 failed, E309 silent, E305 empty) say that none did.
_ARRIVED = frozenset({"E301", "E302", "E303", "E304", "E306", "E307", "E310"})


def load_run(folder: Path) -> RunSummary:
    """Read a run folder's `events.jsonl`.

    Events of rounds that were done again after a resume no longer count, and unknown events are passed over.

    Raises:
        Misconfigured: E112 if the folder has no event log. Tampered: E403 if the log is damaged.
    """
    path = folder / "events.jsonl"
    if not path.is_file():
        raise Misconfigured("E112", "there is no run here: events.jsonl is missing", place=str(folder))
    everything = [event for event in read_events(path) if isinstance(event["event"], str)]
    counted = current_events(everything)
    start = next((event for event in counted if event["event"] == "run-started"), {})
    end = next((event for event in reversed(counted) if event["event"] == "run-finished"), {})
    described = [event for event in counted if event["event"] == "data-described"]
    scenario = start.get("scenario")
    attackers = texts(scenario, "attacker_sites") if isinstance(scenario, dict) else ()
    closed = [event for event in counted if event["event"] in ("round-closed", "round-voided")]
    times = [stamp for event in everything if (stamp := number(event, "time")) is not None]
    planned = [n for event in counted if event["event"] == "round-started" and (n := whole(event, "rounds"))]
    job = scalars(start, "job")
    rounds_of_job = job.get("rounds")
    return RunSummary(
        folder=folder.name,
        run=text(start, "run") or folder.name,
        task=text(start, "task"),
        engine=text(start, "engine"),
        status=text(end, "status") or "unfinished",
        code=text(end, "code"),
        reason=text(end, "reason"),
        started=times[0] if times else None,
        seconds=number(end, "seconds"),
        job=job,
        job_digest=text(start, "job_digest"),
        scenario=scalars(start, "scenario"),
        attacker_sites=attackers,
        parameters=whole(start, "parameters"),
        enrolled=whole(start, "sites"),
        versions=_versions(start),
        command=text(start, "command"),
        switched_off=texts(start, "switched_off"),
        planned_rounds=rounds_of_job if isinstance(rounds_of_job, int) else (max(planned) if planned else None),
        resumed_after=tuple(whole(event, "after_round") or 0 for event in counted if event["event"] == "run-resumed"),
        rounds=tuple(_round(event, attackers) for event in closed),
        evaluations=_evaluations(counted),
        sites=_sites(everything, counted, attackers),
        label_names=max((texts(event, "label_names") for event in described), key=len, default=()),
        budget_over_rounds=_budget_over_rounds(counted),
        defence=_defence(closed, attackers),
        leaks=tuple(leak for event in counted if event["event"] == "leakage-measured" for leak in _leak(event)),
        gates=tuple(
            Gate(gate=text(event, "gate"), passed=event.get("passed") is True, text=text(event, "text"))
            for event in counted
            if event["event"] == "gate-checked"
        ),
        model_sha256=text(end, "model_sha256")
        or next((s for e in reversed(closed) if (s := text(e, "model_sha256"))), ""),
    )


def _round(event: Raw, attackers: Sequence[str]) -> Round:
    norms = numbers(event, "norms")
    hostile = [norms[site] for site in attackers if site in norms]
    voided = event["event"] == "round-voided"
    return Round(
        number=whole(event, "round") or 0,
        accepted=len(texts(event, "accepted")),
        rejected=len(entries(event, "rejected")),
        void_code=text(event, "code") if voided else "",
        void=(text(event, "reason") or "no reason recorded") if voided else "",
        norm_low=min(norms.values(), default=None),
        norm_median=median(norms.values()) if norms else None,
        norm_high=max(norms.values(), default=None),
        norm_hostile=median(hostile) if hostile else None,
        step_norm=number(event, "step_norm"),
        seconds=numbers(event, "seconds"),
        bytes_down=whole(event, "bytes_down") or 0,
        bytes_up=whole(event, "bytes_up") or 0,
    )


def _evaluations(counted: Sequence[Raw]) -> tuple[Evaluation, ...]:
    found = []
    for event in counted:
        metrics = numbers(event, "metrics") if event["event"] == "evaluated" else {}
        if metrics:
            metric = next(iter(metrics))
            found.append(
                Evaluation(
                    round=whole(event, "round") or 0,
                    where=text(event, "where"),
                    records=whole(event, "records") or 0,
                    metric=metric,
                    value=metrics[metric],
                    low=number(event, "low"),
                    high=number(event, "high"),
                )
            )
    at_server = [entry for entry in found if entry.where == "server"]
    return tuple(at_server or found)


@dataclass(slots=True)
class _Tally:
    """What is known so far about one site."""

    data: Raw = field(default_factory=dict)
    planned: Budget | None = None
    spent: float | None = None
    limit: float | None = None
    delta: float | None = None
    accepted: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    last_round: int | None = None


def _sites(everything: Sequence[Raw], counted: Sequence[Raw], attackers: Sequence[str]) -> tuple[Site, ...]:
    found: defaultdict[str, _Tally] = defaultdict(_Tally)
    for event in counted:
        if event["event"] == "data-described":
            found[text(event, "site")].data = event
        elif event["event"] == "budget-planned":
            found[text(event, "site")].planned = _budget(event)
        elif event["event"] in ("round-closed", "round-voided"):
            for name in texts(event, "accepted"):
                found[name].accepted += 1
                found[name].last_round = whole(event, "round")
            for entry in entries(event, "rejected"):
                site = found[text(entry, "site")]
                site.reasons[text(entry, "code"), text(entry, "reason")] += 1
                if text(entry, "code") in _ARRIVED:
                    site.last_round = whole(event, "round")
    for event in everything:  # what was spent stays spent, also in a round that was done again
        if event["event"] == "budget-spent":
            site = found[text(event, "site")]
            site.spent = _most(site.spent, number(event, "epsilon"))
            site.limit, site.delta = number(event, "limit"), number(event, "delta")
        elif event["event"] == "run-finished":
            for name, epsilon in numbers(event, "epsilon").items():
                found[name].spent = _most(found[name].spent, epsilon)
    return tuple(_site(name, tally, name in attackers) for name, tally in sorted(found.items()) if name)


def _site(name: str, tally: _Tally, hostile: bool) -> Site:
    return Site(
        name=name,
        train=whole(tally.data, "train"),
        test=whole(tally.data, "test"),
        labels=wholes(tally.data, "labels"),
        accepted=tally.accepted,
        rejected=tally.reasons.total(),
        reasons=tuple(Reason(code=c, text=t, count=n) for (c, t), n in tally.reasons.most_common()),
        planned=tally.planned,
        spent=tally.spent,
        limit=tally.limit if tally.limit is not None else (tally.planned.limit if tally.planned else None),
        delta=tally.delta if tally.delta is not None else (tally.planned.delta if tally.planned else None),
        last_round=tally.last_round,
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


def _budget_over_rounds(counted: Sequence[Raw]) -> tuple[BudgetRange, ...]:
    spent: defaultdict[int, list[float]] = defaultdict(list)
    for event in counted:
        epsilon = number(event, "epsilon") if event["event"] == "budget-spent" else None
        if epsilon is not None:
            spent[whole(event, "round") or 0].append(epsilon)
    return tuple(BudgetRange(round=n, lowest=min(eps), highest=max(eps)) for n, eps in sorted(spent.items()))


def _defence(closed: Sequence[Raw], attackers: Sequence[str]) -> Defence:
    kept, excluded, shares = Counter[bool](), Counter[bool](), list[float]()
    for event in closed:
        if event["event"] != "round-closed":
            continue
        kept.update(name in attackers for name in texts(event, "accepted"))
        excluded.update(
            text(entry, "site") in attackers for entry in entries(event, "rejected") if text(entry, "code") in _ARRIVED
        )
        weights = numbers(event, "weights")
        if total := sum(weights.values()):
            shares.append(sum(weights.get(name, 0.0) for name in attackers) / total)
    return Defence(
        hostile_sites=len(attackers),
        hostile_received=kept[True] + excluded[True],
        hostile_excluded=excluded[True],
        honest_received=kept[False] + excluded[False],
        honest_excluded=excluded[False],
        hostile_weight=sum(shares) / len(shares) if shares and attackers else None,
    )


def _leak(event: Raw) -> list[Leak]:
    result = event.get("result")
    auc = interval(result, "auc") if isinstance(result, dict) else None
    if not isinstance(result, dict) or auc is None:
        return []
    scope = text(result, "scope")
    rates = [(number(at, "fpr"), interval(at, "interval"), text(at, "note")) for at in entries(result, "tpr")]
    return [
        Leak(
            adversary=text(result, "adversary"),
            attack=text(result, "attack"),
            scope=scope,
            members=whole(result, "members") or 0,
            nonmembers=whole(result, "nonmembers") or 0,
            auc=auc,
            tpr=tuple(TprAt(fpr=f, interval=i, note=n) for f, i, n in rates if f is not None and i is not None),
            roc=_points(result.get("roc")) if scope == "all sites" else (),
        )
    ]


def _points(curve: object) -> tuple[tuple[float, float], ...]:
    found = []
    for point in curve if isinstance(curve, list) else ():
        pair = dict(enumerate(point)) if isinstance(point, list) else {}
        x, y = (number({"at": pair.get(k)}, "at") for k in (0, 1))
        if x is not None and y is not None and 0 <= x <= 1 and 0 <= y <= 1:
            found.append((round(x, 6), round(y, 6)))
    return tuple(found)


def _versions(start: Raw) -> dict[str, str]:
    named = start.get("versions")
    return {name: text(named, name) for name in named} if isinstance(named, dict) else {}


def _most(known: float | None, new: float | None) -> float | None:
    return new if known is None else known if new is None else max(known, new)
