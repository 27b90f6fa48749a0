"""Runs that stand beside the one reported: what they are called, and what was different about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hedgerow.report.summary import Evaluation, RunSummary
from hedgerow.settings import Scalar

__all__ = ["Beside", "beside", "comparable", "lower_is_better"]

_NAMES = {"undefended": "without defence", "without-dp": "without DP"}
_LOSSES = ("loss", "error", "mse", "mae", "perplexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Another run under a name that a sentence can end with, and its settings that differ, as `key = value`."""

    name: str
    twin: bool
    differs: tuple[str, ...]
    run: RunSummary


def beside(run: RunSummary, twins: Sequence[RunSummary], others: Sequence[RunSummary]) -> tuple[Beside, ...]:
    """Name each run: twins by what they leave out, other runs by their folder, and none twice."""
    found: list[Beside] = []
    taken = {"this run"}
    for other, twin in [*((entry, True) for entry in twins), *((entry, False) for entry in others)]:
        name = wanted = (_NAMES.get(other.folder) if twin else None) or other.folder or other.run
        suffix = 2
        while name in taken:
            name, suffix = f"{wanted} ({suffix})", suffix + 1
        taken.add(name)
        found.append(Beside(name=name, twin=twin, differs=_differences(run, other), run=other))
    return tuple(found)


def comparable(run: RunSummary, other: RunSummary) -> Evaluation | None:
    """The other run's final evaluation, if it is by the same metric as this run's."""
    mine, theirs = run.final, other.final
    return theirs if mine and theirs and mine.metric == theirs.metric else None


def lower_is_better(metric: str) -> bool:
    """Whether a metric is a loss, judged by its name.

    >>> lower_is_better("val_loss"), lower_is_better("accuracy")
    (True, False)
    """
    return any(word in metric.lower() for word in _LOSSES)


def _differences(run: RunSummary, other: RunSummary) -> tuple[str, ...]:
    mine: dict[str, Scalar] = {**run.job, **{f"scenario {key}": value for key, value in run.scenario.items()}}
    theirs: dict[str, Scalar] = {**other.job, **{f"scenario {key}": value for key, value in other.scenario.items()}}
    found = []
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            found.append(f"{key} = {theirs[key]}" if key in theirs else f"no {key}")
    if run.task and other.task and run.task != other.task:
        found.insert(0, f"task {other.task}")
    return tuple(found)
