"""Everything worth telling about a run: reports, metrics and dashboards only read events.

The kinds and their fields are the dataclasses below; a field may be added to a kind, never renamed or given another
meaning. `eventlog.py` writes and reads them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BudgetPlanned",
    "BudgetsSpent",
    "DataDescribed",
    "EngineChosen",
    "Evaluated",
    "Event",
    "GateChecked",
    "LeakageMeasured",
    "LeakageStarted",
    "Listener",
    "RoundClosed",
    "RoundStarted",
    "RoundVoided",
    "RunFinished",
    "RunResumed",
    "RunStarted",
]

Json = Any  # what json.loads returns: the one place where an event is not yet typed
Listener = Callable[[Mapping[str, Json]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """The first event: everything needed to get the run again. `switched_off` says in words what does not protect."""

    run: str
    task: str
    engine: str
    job: Mapping[str, Json]
    job_digest: str
    scenario: Mapping[str, Json]
    parameters: int
    sites: int
    versions: Mapping[str, str]
    command: str
    switched_off: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Event):
    """The run goes on after a stop: events of rounds after `after_round` that stand before this one no longer count."""

    after_round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChosen(Event):
    """How an engine trains a round's sites, and why so.

    `path` is `kernel`, `layers`, `vmap` or `one-by-one` for the cohort engine, `reason` what kept it from a faster one.
    `private` says how records' gradients are clipped under differential privacy (`ghost norms`, `per-record gradients`,
    `opacus`; empty without). `difference` is the distance to the updates of one by one on the sites that were tried, as
    a share of their length, `None` where nothing was to try. `chunk` sites are trained at a time by each of `workers`
    threads.
    """

    engine: str
    path: str
    reason: str
    private: str
    difference: float | None
    workers: int
    chunk: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDescribed(Event):
    """A site's share (simulation only): record counts and, for classification, records per label."""

    site: str
    train: int
    test: int
    labels: Sequence[int]
    label_names: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlanned(Event):
    """What a site will spend over the whole job, by the plan it computed."""

    site: str
    epsilon: float
    limit: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    clip: float
    accountant: str
    unit: str
    relation: str
    randomness: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted(Event):
    """The coordinator has asked `asked` sites for an update."""

    round: int
    rounds: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundClosed(Event):
    """A round that released a model.

    `accepted` are sites whose update counted; `rejected` are `{"site", "code", "reason"}`: bad replies, silent or
    failed sites, and the rule's exclusions (E310). `norms` are the L2 norms of the received updates by site.
    `suspects` are sites whose update lies far from the others', if they are more than the rule was told to expect.
    `clock` is the simulated time at the round's end, in seconds since the run's start, where an engine simulates time.
    Under site-level privacy `clip` is the length that updates were shortened to, and `within` the noisy share of those
    that were no longer, where the clip follows it.
    """

    round: int
    accepted: Sequence[str]
    rejected: Sequence[Mapping[str, str]]
    norms: Mapping[str, float]
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    step_norm: float
    seconds: Mapping[str, float]
    bytes_down: int
    bytes_up: int
    model_sha256: str
    suspects: Sequence[str] = ()
    clock: float | None = None
    clip: float | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundVoided(Event):
    """A round that released nothing, and why."""

    round: int
    code: str
    reason: str
    rejected: Sequence[Mapping[str, str]]
    clock: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """The global model's metrics after a round (round 0: before training), on `records` held-out records.

    `where` is `server` or `sites`. `metrics` has the main metric first; for a share of records (accuracy), `low` and
    `high` are its 95 % Wilson interval.
    """

    round: int
    where: str
    records: int
    metrics: Mapping[str, float]
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetsSpent(Event):
    """What many sites' ledgers say they have spent after a round: ε by site.

    A site's limit and δ are those of its `BudgetPlanned`, told before.
    """

    round: int
    epsilon: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageStarted(Event):
    """The rounds are over, and the final model is attacked with the training records of these sites."""

    sites: int
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageMeasured(Event):
    """One attack by one adversary against one scope ("all sites" or a site's name); see `hedgerow.privacy.leakage`."""

    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChecked(Event):
    """Whether the measured leak lets the model pass the job's gate; `text` says so in words."""

    gate: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The last event. `status` is `finished`, `interrupted` or `failed` (then `code` and `reason` say why)."""

    status: str
    rounds: int
    final: Mapping[str, float]
    model_sha256: str
    epsilon: Mapping[str, float]
    seconds: float
    code: str = ""
    reason: str = ""
