"""Runs of a red team that nobody trained: what each cell reached is stated."""

from collections.abc import Mapping, Sequence
from typing import Any

from hedgerow.report.redteamrows import Case, WorstCase, worst_cases
from hedgerow.report.sweeprows import SweepRun

__all__ = ["fake_cases", "fake_run", "fake_runs"]

Reached = Mapping[str, Sequence[float | None]]


def fake_run(
    defence: str, attack: str, value: float | None, *, f: int = 2, split: str = "iid", seed: int = 0, **changes: Any
) -> SweepRun:
    """One run that ended with `value`; `None` is a model that is not finite."""
    facts: dict[str, Any] = {
        "name": f"{split}_f{f}_{defence.replace('|', '-')}_{attack}_seed-{seed}",
        "settings": {"split": split, "f": f, "defence": defence, "attack": attack},
        "seed": seed,
        "status": "finished",
        "metric": "accuracy",
        "value": value,
        "seconds": 2.0,
    }
    return SweepRun(**{**facts, **changes})


def fake_runs(
    reached: Mapping[str, Reached], *, f: int = 2, split: str = "iid", mean: Sequence[float] = (0.95, 0.95, 0.95)
) -> list[SweepRun]:
    """`{"krum": {"none": [0.9, 0.9], "alie": [0.5, 0.6]}}`, values by seed, beside the plain mean nobody attacks."""
    seeds = max(len(values) for attacks in reached.values() for values in attacks.values())
    runs = [fake_run("mean", "none", mean[k], f=0, split=split, seed=k) for k in range(seeds)]
    for defence, attacks in reached.items():
        for attack, values in attacks.items():
            runs += [fake_run(defence, attack, value, f=f, split=split, seed=k) for k, value in enumerate(values)]
    return runs


def fake_cases(
    reached: Mapping[str, Reached], *, f: int = 2, unfit: Mapping[str, str] | None = None
) -> tuple[WorstCase, ...]:
    """The worst cases of such runs, in the order of the defences."""
    cases = [Case(split="iid", f=f, defence=name, unfit=(unfit or {}).get(name, "")) for name in reached]
    return worst_cases(cases, fake_runs(reached, f=f))
