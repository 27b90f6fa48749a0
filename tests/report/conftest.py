"""Synthetic runs, written with the same `EventLog` that real runs are written with."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hedgerow.eventlog import EventLog
from hedgerow.events import (
    BudgetPlanned,
    BudgetsSpent,
    DataDescribed,
    Evaluated,
    Event,
    GateChecked,
    LeakageMeasured,
    RoundClosed,
    RoundStarted,
    RoundVoided,
    RunFinished,
    RunStarted,
)
from hedgerow.job import Job, Privacy, Secure
from hedgerow.scenario import Scenario

SITES = ("north", "south", "east", "west", "hill", "coast", "lake", "moor", "dale", "fen")
HOSTILE = ("lake", "fen")


def write(folder: Path, events: Sequence[Event]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ticks = iter(range(10**6))
    log = EventLog(folder / "events.jsonl", clock=lambda: 1_795_500_000.0 + next(ticks))
    for event in events:
        log.append(event)
    return folder


def started(*, dp: bool = True, attack: bool = True, rule: str = "trimmed-mean", **changes: Any) -> RunStarted:
    privacy = Privacy(unit="record", epsilon=3.0, delta=1e-5) if dp else Privacy(unit="none")
    job = Job(rounds=10, privacy=privacy, secure=Secure(mode="off")).override({"aggregate.rule": rule})
    scenario = Scenario(sites=10, attack="sign-flip", attackers=2, seed=7) if attack else Scenario(sites=10, seed=7)
    event = RunStarted(
        run="2026-11-24-103000-digits",
        task="digits",
        engine="in-process",
        job=job.flat(),
        job_digest=job.digest(),
        scenario={**scenario.flat(), "attacker_sites": list(HOSTILE) if attack else []},
        parameters=4810,
        sites=10,
        versions={"hedgerow": "0.1.0", "flwr": "1.41.0", "torch": "2.13.0"},
        command="hedgerow demo",
        switched_off=["secure sums were off: the server saw single updates"],
    )
    return replace(event, **changes)


def planned(site: str, **changes: Any) -> BudgetPlanned:
    event = BudgetPlanned(
        site=site,
        epsilon=2.991,
        limit=3.0,
        delta=1e-5,
        noise_multiplier=1.1374,
        sampling_rate=0.2133,
        steps=50,
        clip=1.0,
        accountant="rdp",
        unit="record",
        relation="add or remove one record",
        randomness="seeded generator (simulation, not a DP release)",
    )
    return replace(event, **changes)


def evaluated(number: int, value: float, low: float | None = None, high: float | None = None) -> Evaluated:
    if low is None:
        low, high = max(0.0, value - 0.031), min(1.0, value + 0.029)
    return Evaluated(
        round=number, where="server", records=360, metrics={"accuracy": value, "loss": 0.4}, low=low, high=high
    )


def closed(number: int, sites: Sequence[str] = SITES, hostile: Sequence[str] = HOSTILE, **changes: Any) -> RoundClosed:
    event = RoundClosed(
        round=number,
        accepted=[site for site in sites if site not in hostile],
        rejected=[{"site": site, "code": "E310", "reason": "too far from its neighbours"} for site in hostile],
        norms={site: (3.1 if site in hostile else 1.2) + 0.05 * k + 1 / number for k, site in enumerate(sites)},
        weights={site: 0.0 if site in hostile else 0.125 for site in sites},
        scores={site: float(k) for k, site in enumerate(sites)},
        step_norm=0.8 / math.sqrt(number),
        seconds={"select": 0.001, "train": 0.31, "admit": 0.002, "aggregate": 0.004, "evaluate": 0.012},
        bytes_down=19_240 * len(sites),
        bytes_up=19_240 * len(sites),
        model_sha256=f"{number:064x}",
    )
    return replace(event, **changes)


def leakage(scope: str = "all sites", auc: float = 0.52, **changes: Any) -> LeakageMeasured:
    """A curve with the area asked for: tpr = fpr ** power has the area 1 / (1 + power)."""
    power = 1 / auc - 1
    points = [[0.0, 0.0]] + [[k / 360, (k / 360) ** power] for k in range(1, 361, 4)] + [[1.0, 1.0]]
    at = 0.01**power
    result = {
        "adversary": "queries the final model",
        "attack": "loss threshold",
        "scope": scope,
        "members": 1437 if scope == "all sites" else 140,
        "nonmembers": 360,
        "auc": {"value": auc, "low": auc - 0.031, "high": auc + 0.03, "confidence": 0.95},
        "tpr": [
            {
                "fpr": 0.01,
                "interval": {"value": at, "low": at * 0.6, "high": at * 1.5, "confidence": 0.95},
                "claim": {"value": at, "low": at * 0.4, "high": at * 2, "confidence": 0.95},
                "resolvable": True,
                "note": "",
            }
        ],
        "roc": points,
    }
    return LeakageMeasured(result={**result, **changes})


def finished(rounds: int = 10, accuracy: float = 0.9134, **changes: Any) -> RunFinished:
    event = RunFinished(
        status="finished",
        rounds=rounds,
        final={"accuracy": accuracy},
        model_sha256=f"{rounds:064x}",
        epsilon={},
        seconds=4.218,
    )
    return replace(event, **changes)


def described(k: int, site: str, labels: int = 10) -> DataDescribed:
    counts = [max(0, (7 * k * k + 11 * c * (k + 1)) % 37 - 9) for c in range(labels)]
    return DataDescribed(
        site=site, train=sum(counts), test=20, labels=counts, label_names=[str(c) for c in range(labels)]
    )


def whole_run(
    dp: bool = True, attack: bool = True, rule: str = "trimmed-mean", top: float = 0.9134, auc: float = 0.52
) -> list[Event]:
    """Ten rounds on ten sites, with everything that a run can have."""
    hostile = HOSTILE if attack and rule != "mean" else ()
    events: list[Event] = [started(dp=dp, attack=attack, rule=rule)]
    events += [described(k, site) for k, site in enumerate(SITES)]
    events += [planned(site) for site in SITES] if dp else []
    events.append(evaluated(0, 0.1))
    for number in range(1, 11):
        events.append(RoundStarted(round=number, rounds=10, asked=10))
        events.append(closed(number, hostile=hostile))
        events.append(evaluated(number, 0.1 + (top - 0.1) * (1 - math.exp(-0.5 * number)) / (1 - math.exp(-5))))
        if dp:
            spent = [2.99101 * math.sqrt(number / 10) - 0.1 * k * number / 10 for k in range(10)]
            events.append(BudgetsSpent(round=number, epsilon=dict(zip(SITES, spent, strict=True))))
    events.append(leakage(auc=auc))
    events += [leakage(site, auc + 0.004 * k) for k, site in enumerate(SITES)]
    events.append(GateChecked(gate="auc <= 0.6", passed=auc < 0.56, text="auc <= 0.6: passed, at most 0.59 (fen)"))
    events.append(finished(accuracy=top, epsilon={site: 2.9 - 0.1 * k for k, site in enumerate(SITES)} if dp else {}))
    return events


def voided(number: int) -> RoundVoided:
    return RoundVoided(
        round=number,
        code="E501",
        reason="1 usable update, 2 needed",
        rejected=[{"site": site, "code": "E309", "reason": "no answer before the deadline"} for site in SITES[1:]],
    )


@pytest.fixture
def make() -> ModuleType:
    """This module: `make.whole_run()`, `make.closed(3)`, `make.write(folder, events)`."""
    return sys.modules[__name__]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The run that the demo makes, with its two twins."""
    folder = write(tmp_path / "demo", whole_run())
    write(folder / "twins" / "undefended", whole_run(rule="mean", top=0.0972))
    write(folder / "twins" / "without-dp", whole_run(dp=False, top=0.9687, auc=0.61))
    return folder
