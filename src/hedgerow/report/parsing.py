"""From `events.jsonl` to a `RunSummary`: which events count, and what they add up to."""

from collections.abc import Sequence
from pathlib import Path

from hedgerow.errors import Misconfigured
from hedgerow.eventlog import current_events, read_events
from hedgerow.report.fields import Raw, entries, interval, number, numbers, scalars, text, texts, whole
from hedgerow.report.reading import Spending, Told, condensed
from hedgerow.report.summary import BudgetRange, Evaluation, Gate, Leak, RunSummary, TprAt, Trained
from hedgerow.report.tally import defence, sites

__all__ = ["load_run"]

BACKDOOR = "backdoor_success"  # the metric beside the task's own when the attack plants a backdoor


def load_run(folder: Path) -> RunSummary:
    """Read a run folder's `events.jsonl`, once and line by line.

    Events of rounds that were done again after a resume no longer count, and unknown events are passed over.

    Raises:
        Misconfigured: E112 if the folder has no event log. Tampered: E403 if the log is damaged.
    """
    path = folder / "events.jsonl"
    if not path.is_file():
        raise Misconfigured("E112", "there is no run here: events.jsonl is missing", place=str(folder))
    spending = Spending()
    counted = current_events(condensed(read_events(path), spending))
    start = next((event for event in counted if event["event"] == "run-started"), {})
    end = next((event for event in reversed(counted) if event["event"] == "run-finished"), {})
    told: list[Told] = [event["told"] for event in counted if event["event"] in ("round-closed", "round-voided")]
    scenario = start.get("scenario")
    attackers = texts(scenario, "attacker_sites") if isinstance(scenario, dict) else ()
    planned = [n for event in counted if event["event"] == "round-started" and (n := whole(event, "rounds"))]
    job = scalars(start, "job")
    rounds_of_job = job.get("rounds")
    return RunSummary(
        folder=folder.name,
        run=text(start, "run") or folder.name,
        task=text(start, "task"),
        engine=text(start, "engine"),
        trained=tuple(dict.fromkeys(_trained(event) for event in counted if event["event"] == "engine-chosen")),
        status=text(end, "status") or "unfinished",
        code=text(end, "code"),
        reason=text(end, "reason"),
        started=next((stamp for event in counted if (stamp := number(event, "time")) is not None), None),
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
        resumed_after=tuple(event["after_round"] for event in counted if event["event"] == "run-resumed"),
        rounds=tuple(entry.round for entry in told),
        evaluations=_evaluations(counted),
        sites=sites(counted, told, spending, frozenset(attackers)),
        label_names=max(
            (texts(event, "label_names") for event in counted if event["event"] == "data-described"),
            key=len,
            default=(),
        ),
        budget_over_rounds=_budget_over_rounds(counted),
        defence=defence(told, frozenset(attackers)),
        leaks=tuple(leak for event in counted if event["event"] == "leakage-measured" for leak in _leak(event)),
        gates=tuple(
            Gate(gate=text(event, "gate"), passed=event.get("passed") is True, text=text(event, "text"))
            for event in counted
            if event["event"] == "gate-checked"
        ),
        model_sha256=text(end, "model_sha256")
        or next((s for event in reversed(counted) if "told" in event and (s := text(event, "model_sha256"))), ""),
    )


def _trained(event: Raw) -> Trained:
    return Trained(
        engine=text(event, "engine"),
        path=text(event, "path"),
        reason=text(event, "reason"),
        private=text(event, "private"),
        difference=number(event, "difference"),
        workers=whole(event, "workers") or 1,
        chunk=whole(event, "chunk") or 0,
        device=text(event, "device"),
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
                    backdoor=metrics.get(BACKDOOR),
                )
            )
    at_server = [entry for entry in found if entry.where == "server"]
    return tuple(at_server or found)


def _budget_over_rounds(counted: Sequence[Raw]) -> tuple[BudgetRange, ...]:
    spent: dict[int, tuple[float, float]] = {}
    for event in counted:
        if event["event"] == "budgets-spent":
            lowest, highest = spent.get(event["round"], (event["lowest"], event["highest"]))
            spent[event["round"]] = min(lowest, event["lowest"]), max(highest, event["highest"])
    return tuple(BudgetRange(round=n, lowest=low, highest=high) for n, (low, high) in sorted(spent.items()))


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
