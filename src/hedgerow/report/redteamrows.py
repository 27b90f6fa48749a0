"""What a red team's runs add up to: for each defence, number of attackers and split, the worst that any attack did."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hedgerow.report.beside import lower_is_better
from hedgerow.report.sweeprows import Spread, SweepRun, spread
from hedgerow.settings import Scalar

__all__ = [
    "MEAN",
    "NOBODY",
    "Case",
    "Pair",
    "Judged",
    "RedTeamSummary",
    "WorstCase",
    "better",
    "broken",
    "pair_of",
    "worst_cases",
]

NOBODY = "none"  # the attack of a run in which nobody attacks
BY_AN_ATTACK = ("E501", "E502")  # rounds that release nothing, for want of usable updates or of a finite model
MEAN = "mean"  # the rule that the clean cost of all others is measured against


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a defence is up against: `f` hostile sites that it was told of, among sites with this split.

    `unfit` says why the defence cannot be run there, and is empty where it can.
    """

    split: str
    f: int
    defence: str
    unfit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The worst over all attacks and seeds of one case, and what the defence costs where nobody attacks.

    `value` is the lowest (for a loss the highest) final metric of any single run, by `attack` with `seed`; `by_seed` is
    the worst over the attacks for each seed. Both are `None` where an attack left no usable model: its rounds released
    nothing, or its metric is no finite number; these runs are `lost`. What failed for any other reason is `broken`, and
    counts in nothing. `unmeasured` runs under attack ended well, and nobody had records to judge their model by;
    `untried` ones did not tell how often their backdoor opens. `clean` is the metric with nobody attacking, `costs` by
    seed what it lacks to the plain mean (positive: worse than the mean). `backdoor` is the highest success of any
    backdoor. `seconds` are the mean of a run. `waiting` runs are not done yet, and count in nothing.
    """

    case: Case
    metric: str
    measured: int
    waiting: int
    value: float | None
    attack: str
    seed: int
    by_seed: Mapping[int, float | None]
    clean: Spread | None
    costs: Mapping[int, float]
    backdoor: float | None
    backdoor_attack: str
    seconds: float | None
    lost: tuple[SweepRun, ...]
    broken: tuple[SweepRun, ...]
    unmeasured: tuple[SweepRun, ...]
    untried: tuple[SweepRun, ...]

    @property
    def cost(self) -> float | None:
        """The mean of `costs`."""
        return statistics.fmean(self.costs.values()) if self.costs else None

    @property
    def low(self) -> float | None:
        """The lowest of the seeds' worst cases; `None` where one of them has no usable model."""
        return min(self._values, default=None) if not self.lost else None

    @property
    def high(self) -> float | None:
        """The highest of the seeds' worst cases."""
        return max(self._values, default=None)

    @property
    def _values(self) -> list[float]:
        return [value for value in self.by_seed.values() if value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One attack on one defence: its runs by seed, and what they add up to (`lost` ended without a usable model)."""

    runs: tuple[SweepRun, ...]
    result: Spread | None
    lowest: float | None
    backdoor: float | None
    seconds: float | None
    lost: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a gate found: `measured` is the figure that decided, `None` where one is missing and it fails for that."""

    passed: bool
    measured: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedTeamSummary:
    """What a red team's page says. The first of `defences` is the job's own.

    `sees` says for each attack which adversary it assumes, `does` what that does. `guessing` is by split the share of
    the sites' most common label: the accuracy of a model that has learned nothing else.
    """

    name: str
    task: str
    engine: str
    status: str
    command: str
    digest: str
    job: Mapping[str, Scalar]
    job_digest: str
    scenario: Mapping[str, Scalar]
    attacks: tuple[str, ...]
    sees: Mapping[str, str]
    does: Mapping[str, str]
    defences: tuple[str, ...]
    f: tuple[int, ...]
    splits: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[SweepRun, ...]
    cases: tuple[WorstCase, ...]
    gates: tuple[Judged, ...]
    guessing: Mapping[str, float] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The first metric that a run was judged by; empty where none was."""
        return next((run.metric for run in self.runs if run.metric), "")

    @property
    def done(self) -> int:
        """How many runs were trained to their end."""
        return sum(run.done for run in self.runs)


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is a better value of the metric.

    >>> better("accuracy", 0.9, 0.8), better("val_loss", 0.9, 0.8)
    (True, False)
    """
    return one < other if lower_is_better(metric) else one > other


def pair_of(runs: Sequence[SweepRun], case: Case, attack: str) -> Pair:
    """What one attack did to one defence."""
    mine = _where(runs, case, attack)
    values = [run.value for run in mine if run.value is not None]
    metric = next((run.metric for run in mine if run.metric), "")
    worst = max if lower_is_better(metric) else min
    seconds = [run.seconds for run in mine if run.done and run.seconds is not None]
    return Pair(
        runs=mine,
        result=spread(values),
        lowest=worst(values, default=None),
        backdoor=max((success for run in mine if (success := _success(run)) is not None), default=None),
        seconds=statistics.fmean(seconds) if seconds else None,
        lost=sum(map(_lost, mine)),
        waiting=sum(map(_waiting, mine)),
    )


def worst_cases(
    cases: Sequence[Case], runs: Sequence[SweepRun], *, backdoors: Collection[str] = ()
) -> tuple[WorstCase, ...]:
    """The worst of each case, in their order.

    The runs' settings are `split`, `f`, `defence` and `attack`; those of the plain mean that nobody attacks, which the
    clean cost is measured against, have `f` = 0. `backdoors` are the attacks that plant one, beside those of which some
    run tells its success.
    """
    planting = {*backdoors, *(str(run.settings["attack"]) for run in runs if _success(run) is not None)}
    return tuple(_worst_case(case, runs, planting) for case in cases)


def _worst_case(case: Case, runs: Sequence[SweepRun], planting: Collection[str]) -> WorstCase:
    own = [run for run in runs if (_at(run), run.settings["defence"]) == ((case.split, case.f), case.defence)]
    attacked = [run for run in own if run.settings["attack"] != NOBODY]
    metric = next((run.metric for run in own if run.metric), "")
    ended = [run for run in attacked if _judged(run)]
    worst = min(ended, key=lambda run: _rank(run, metric), default=None)
    by_seed: dict[int, float | None] = {}
    for run in sorted(ended, key=lambda run: _rank(run, metric)):
        by_seed.setdefault(run.seed, run.value)
    clean = _where(runs, case, NOBODY)
    opened = [run for run in ended if _success(run) is not None]
    strongest = max(opened, key=lambda run: run.backdoor or 0.0, default=None)
    seconds = [run.seconds for run in own if run.done and run.seconds is not None]
    return WorstCase(
        case=case,
        metric=metric,
        measured=len(ended),
        waiting=sum(map(_waiting, own)),
        value=worst.value if worst else None,
        attack=str(worst.settings["attack"]) if worst else "",
        seed=worst.seed if worst else 0,
        by_seed=dict(sorted(by_seed.items())),
        clean=spread([run.value for run in clean if run.value is not None]),
        costs=_costs(clean, runs, case.split, metric),
        backdoor=strongest.backdoor if strongest else None,
        backdoor_attack=str(strongest.settings["attack"]) if strongest else "",
        seconds=statistics.fmean(seconds) if seconds else None,
        lost=tuple(run for run in ended if _lost(run)),
        broken=tuple(run for run in own if broken(run)),
        unmeasured=tuple(run for run in attacked if run.done and not (run.metric and run.metric == metric)),
        untried=tuple(
            run for run in attacked if run.done and run.settings["attack"] in planting and _success(run) is None
        ),
    )


def _costs(clean: Sequence[SweepRun], runs: Sequence[SweepRun], split: str, metric: str) -> dict[int, float]:
    """What the defence lacks to the plain mean, by seed."""
    means = {run.seed: run.value for run in runs if _at(run) == (split, 0)}
    sign = -1 if lower_is_better(metric) else 1
    pairs = [(run.seed, means.get(run.seed), run.value) for run in clean]
    return {seed: sign * (mean - own) for seed, mean, own in pairs if mean is not None and own is not None}


def _where(runs: Sequence[SweepRun], case: Case, attack: str) -> tuple[SweepRun, ...]:
    wanted = ((case.split, case.f), case.defence, attack)
    found = [run for run in runs if (_at(run), run.settings["defence"], run.settings["attack"]) == wanted]
    return tuple(sorted(found, key=lambda run: run.seed))


def _at(run: SweepRun) -> tuple[Scalar, Scalar]:
    return run.settings["split"], run.settings["f"]


def _rank(run: SweepRun, metric: str) -> tuple[bool, float]:
    """No usable model is worse than any value."""
    if run.value is None:
        return False, 0.0
    return True, -run.value if lower_is_better(metric) else run.value


def broken(run: SweepRun) -> bool:
    """Whether it stopped with an error that no attack could cause."""
    attacked = run.settings["attack"] != NOBODY
    return run.status in ("failed", "damaged") and not (attacked and run.code in BY_AN_ATTACK)


def _judged(run: SweepRun) -> bool:
    """Whether it ended by itself or by its attackers, and somebody had records to judge its model by."""
    return not (_waiting(run) or broken(run) or (run.done and not run.metric))


def _success(run: SweepRun) -> float | None:
    """How often its backdoor opens, where that was tried on any record."""
    return run.backdoor if run.backdoor is not None and math.isfinite(run.backdoor) else None


def _lost(run: SweepRun) -> bool:
    return run.value is None and _judged(run)


def _waiting(run: SweepRun) -> bool:
    return run.status in ("waiting", "interrupted", "unfinished")
