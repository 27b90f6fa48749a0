"""What a sweep's runs add up to: each cell's mean, spread and interval, and its difference to the first cell."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hedgerow.errors import CODES, HedgerowError
from hedgerow.run import Run
from hedgerow.settings import Scalar

__all__ = [
    "SPENT",
    "SYMBOLS",
    "Grid",
    "Spread",
    "SweepRow",
    "SweepRun",
    "SweepSummary",
    "headings",
    "read_run",
    "spread",
    "sweep_rows",
]

CONFIDENCE = 0.95
SYMBOLS = {"privacy.epsilon": "ε", "privacy.delta": "δ"}
SPENT = "ε spent"  # beside a swept ε, which is the most that may be

Grid: TypeAlias = Mapping[str, tuple[Scalar, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One run of a sweep, as its own folder tells it.

    `status` is that of a run, `waiting` before it starts, or `damaged`. `code` says what failed, also a gate of a run
    that finished. `value` is the final main metric, `None` where the run did not finish or the metric is not a finite
    number; `epsilon` the most that a site has spent (infinite where nothing bounds it), `auc` the strongest attack's,
    `backdoor` the share of triggered records that the final model takes for a backdoor's target.
    """

    name: str
    settings: Mapping[str, Scalar]
    seed: int
    status: str
    code: str = ""
    reason: str = ""
    engine: str = ""
    metric: str = ""
    value: float | None = None
    epsilon: float | None = None
    auc: float | None = None
    backdoor: float | None = None
    seconds: float | None = None

    @property
    def done(self) -> bool:
        """Whether it was trained to its end; a failed gate is a result, too."""
        return self.status == "finished"

    @property
    def failed(self) -> bool:
        """Whether it stopped with an error, or finished and did not pass its gate."""
        return bool(self.code) and self.status != "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean of `count` values, their standard deviation, and the 95 % t interval of the mean, from two values on."""

    count: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One cell: its runs by seed, and what they add up to.

    `difference` is to the sweep's first cell, over the seeds that both have measured: seeds are paired.
    """

    settings: Mapping[str, Scalar]
    runs: tuple[SweepRun, ...]
    result: Spread | None
    difference: Spread | None
    epsilon: float | None
    auc: float | None
    seconds: float | None

    @property
    def failed(self) -> tuple[SweepRun, ...]:
        """The runs that stopped with an error or did not pass their gate."""
        return tuple(run for run in self.runs if run.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSummary:
    """What a sweep's page says. `rows` are its cells, the first one being what the others are compared with."""

    name: str
    task: str
    engine: str
    status: str
    command: str
    digest: str
    job: Mapping[str, Scalar]
    job_digest: str
    scenario: Mapping[str, Scalar]
    grid: Grid
    seeds: tuple[int, ...]
    rows: tuple[SweepRow, ...]

    @property
    def runs(self) -> tuple[SweepRun, ...]:
        return tuple(run for row in self.rows for run in row.runs)

    @property
    def metric(self) -> str:
        """The first metric that a run was judged by; empty where none was."""
        return next((run.metric for run in self.runs if run.metric), "")


def spread(values: Sequence[float]) -> Spread | None:
    """Mean, standard deviation (n − 1) and the 95 % interval of the mean by Student's t (Student, "The Probable Error
    of a Mean", Biometrika 1908); `None` for no values. One value has neither spread nor interval.

    Five seeds are few: with t = 2.78 instead of the normal 1.96 the interval is as wide as so few deserve.

    >>> of = spread([1.0, 2.0, 3.0])
    >>> of.mean, of.sd, round(of.low, 3), round(of.high, 3)
    (2.0, 1.0, -0.484, 4.484)
    """
    count = len(values)
    if count == 0:
        return None
    mean = statistics.fmean(values)
    if count == 1:
        return Spread(count=1, mean=mean, sd=None, low=None, high=None)
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types

    sd = statistics.stdev(values)
    half = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * sd / math.sqrt(count)
    return Spread(count=count, mean=mean, sd=sd, low=mean - half, high=mean + half)


def read_run(path: Path, *, settings: Mapping[str, Scalar], seed: int) -> SweepRun:
    """What became of a run; one that was never started is waiting, and one that cannot be read is damaged."""
    if not (path / "job.json").exists():
        return SweepRun(name=path.name, settings=settings, seed=seed, status="waiting")
    try:
        run = Run(path)
        status, final, ended = run.status, dict(run.final), run.events("run-finished")
        gate = next((event for event in run.events("gate-checked") if not event["passed"]), None)
        aucs = [float(each["auc"]["value"]) for each in run.leakage if each["scope"] == "all sites"]
        end = ended[-1] if ended else {}
        metric, value = next(iter(final.items()), ("", None))
        code, reason = str(end.get("code", "")), str(end.get("reason", ""))
        if not code and gate is not None:
            code, reason = "E507", f"gate {gate['text']}"
        return SweepRun(
            name=path.name,
            settings=settings,
            seed=seed,
            status=status,
            code=code,
            reason=reason,
            engine=run.folder.engine,
            metric=metric,
            value=float(value) if status == "finished" and value is not None and math.isfinite(value) else None,
            epsilon=max(run.epsilon.values(), default=None),
            auc=max(aucs, default=None),
            backdoor=final.get("backdoor_success"),
            seconds=float(end["seconds"]) if "seconds" in end else None,
        )
    except HedgerowError as error:
        code, reason = error.code, CODES[error.code]
        return SweepRun(name=path.name, settings=settings, seed=seed, status="damaged", code=code, reason=reason)


def headings(keys: Iterable[str]) -> tuple[str, ...]:
    """What tables and pictures call the swept keys: their last parts where these tell them apart, ε and δ as such.

    >>> headings(["privacy.epsilon", "aggregate.rule", "local.lr", "server.lr"])
    ('ε', 'rule', 'local.lr', 'server.lr')
    """
    wanted = tuple(keys)
    last = [key.rpartition(".")[2] for key in wanted]
    return tuple(
        SYMBOLS.get(key, short if last.count(short) == 1 else key) for short, key in zip(last, wanted, strict=True)
    )


def sweep_rows(runs: Sequence[SweepRun]) -> tuple[SweepRow, ...]:
    """One row per cell, in the order in which the cells first appear, its runs by seed."""
    by_cell: dict[tuple[tuple[str, Scalar], ...], list[SweepRun]] = {}
    for run in runs:
        by_cell.setdefault(tuple(run.settings.items()), []).append(run)
    first = {run.seed: run for run in next(iter(by_cell.values()), [])}
    return tuple(
        _row(sorted(mine, key=lambda run: run.seed), first if k else {}) for k, mine in enumerate(by_cell.values())
    )


def _row(runs: Sequence[SweepRun], first: Mapping[int, SweepRun]) -> SweepRow:
    """One cell beside the runs of the first one, which are empty for the first one itself."""
    pairs = [(run, first[run.seed]) for run in runs if run.seed in first]
    differences = [
        run.value - other.value
        for run, other in pairs
        if run.value is not None and other.value is not None and run.metric == other.metric
    ]
    aucs = [run.auc for run in runs if run.auc is not None]
    seconds = [run.seconds for run in runs if run.done and run.seconds is not None]
    return SweepRow(
        settings=runs[0].settings,
        runs=tuple(runs),
        result=spread([run.value for run in runs if run.value is not None]),
        difference=spread(differences),
        epsilon=max((run.epsilon for run in runs if run.epsilon is not None), default=None),
        auc=statistics.fmean(aucs) if aucs else None,
        seconds=statistics.fmean(seconds) if seconds else None,
    )
