"""What a run's events say, typed: the one content that the page and the JSON file are both drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass

from hedgerow.settings import Scalar

__all__ = [
    "MANY",
    "Budget",
    "BudgetRange",
    "Defence",
    "Evaluation",
    "Gate",
    "Interval",
    "Leak",
    "Reason",
    "Round",
    "RunSummary",
    "Site",
    "TprAt",
    "Trained",
]

MANY = 200  # sites up to which each has its row


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured value and the ends between which the truth lies with the stated confidence."""

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """How often a site did not count for one reason: a bad update, no answer, or left out by the rule."""

    code: str
    text: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round that counts. `void` is empty for a round that released a model.

    `answered` sites sent an update that arrived, usable or not. `suspects` is how many of these look hostile where they
    are more than the rule expects, else 0. Update norms (L2) are summed up over these: lowest,
    median, highest, the ends between which nine of ten lie, and the median of the sites known to attack. `clock` is
    the simulated time at the round's end, in seconds, where the engine simulated time.
    """

    number: int
    accepted: int
    rejected: int
    suspects: int
    answered: int
    void_code: str
    void: str
    norm_low: float | None
    norm_inner_low: float | None
    norm_median: float | None
    norm_inner_high: float | None
    norm_high: float | None
    norm_hostile: float | None
    step_norm: float | None
    seconds: Mapping[str, float]
    bytes_down: int
    bytes_up: int
    clock: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How an engine trained the sites, as the event `engine-chosen` tells it; see `hedgerow.events.EngineChosen`."""

    engine: str
    path: str
    reason: str
    private: str
    difference: float | None
    workers: int
    chunk: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The global model on held-out records after a round; round 0 is before training.

    `backdoor` is the share of the held-out records with an attacker's trigger that it takes for the attacker's target.
    """

    round: int
    where: str
    records: int
    metric: str
    value: float
    low: float | None
    high: float | None
    backdoor: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a site planned to spend, and under which definition."""

    epsilon: float
    limit: float
    delta: float
    noise_multiplier: float | None
    sampling_rate: float | None
    steps: int | None
    clip: float | None
    accountant: str
    unit: str
    relation: str
    randomness: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRange:
    """What the sites had spent after a round: the lowest and the highest epsilon."""

    round: int
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site: its data, what became of its updates, and its budget.

    `spent` is the most that any event says this site has spent, rounds done twice after a resume included: it may say
    too much, never too little. `hostile` is known in simulation only.
    """

    name: str
    train: int | None
    test: int | None
    labels: tuple[int, ...]
    accepted: int
    rejected: int
    reasons: tuple[Reason, ...]
    planned: Budget | None
    spent: float | None
    limit: float | None
    delta: float | None
    last_round: int | None
    hostile: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """What became of hostile and honest updates in the rounds that released a model.

    Only updates that arrived count; a site that stayed silent sent none. `hostile_weight` is the mean share of the
    aggregate that hostile updates had, or None where the rule weighs each coordinate on its own.
    """

    hostile_sites: int
    hostile_received: int
    hostile_excluded: int
    honest_received: int
    honest_excluded: int
    hostile_weight: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TprAt:
    """The share of members found when the attack may accuse a share `fpr` of non-members."""

    fpr: float
    interval: Interval
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One attack by one adversary on one scope. `roc` is kept for the scope "all sites" only."""

    adversary: str
    attack: str
    scope: str
    members: int
    nonmembers: int
    auc: Interval
    tpr: tuple[TprAt, ...]
    roc: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One release gate and its verdict."""

    gate: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A whole run. `status` is finished, interrupted, failed, or unfinished where the log just ends."""

    folder: str
    run: str
    task: str
    engine: str
    trained: tuple[Trained, ...]
    status: str
    code: str
    reason: str
    started: float | None
    seconds: float | None
    job: Mapping[str, Scalar]
    job_digest: str
    scenario: Mapping[str, Scalar]
    attacker_sites: tuple[str, ...]
    parameters: int | None
    enrolled: int | None
    versions: Mapping[str, str]
    command: str
    switched_off: tuple[str, ...]
    planned_rounds: int | None
    resumed_after: tuple[int, ...]
    rounds: tuple[Round, ...]
    evaluations: tuple[Evaluation, ...]
    sites: tuple[Site, ...]
    label_names: tuple[str, ...]
    budget_over_rounds: tuple[BudgetRange, ...]
    defence: Defence
    leaks: tuple[Leak, ...]
    gates: tuple[Gate, ...]
    model_sha256: str

    @property
    def released(self) -> int:
        """How many rounds released a model."""
        return sum(not entry.void for entry in self.rounds)

    @property
    def many(self) -> bool:
        """Whether there are more sites than a reader would go through one by one."""
        return max(self.enrolled or 0, len(self.sites)) > MANY

    @property
    def simulated_seconds(self) -> float | None:
        """How long the run took on the simulated clock, or None where no engine simulated time."""
        return next((entry.clock for entry in reversed(self.rounds) if entry.clock is not None), None)

    @property
    def final(self) -> Evaluation | None:
        """The last evaluation, or None."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def overall_leak(self) -> Leak | None:
        """The strongest attack on all sites together: the one with the highest area under its curve."""
        overall = [leak for leak in self.leaks if leak.scope == "all sites"] or list(self.leaks)
        return max(overall, key=lambda leak: leak.auc.value, default=None)

    @property
    def most_spent(self) -> Site | None:
        """The site that has spent the most, among those whose epsilon has its delta, unit, accountant and relation."""
        stated = [site for site in self.sites if site.spent is not None and site.planned and site.delta]
        return max(stated, key=lambda site: site.spent or 0.0, default=None)

    @property
    def most_planned(self) -> Site | None:
        """The site that planned to spend the most, whether or not it has spent anything."""
        stated = [site for site in self.sites if site.planned]
        return max(stated, key=lambda site: site.planned.epsilon if site.planned else 0.0, default=None)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Sites whose update counted although no budget of theirs is recorded with its definition."""
        return tuple(site.name for site in self.sites if site.accepted and (site.spent is None or not site.planned))

    @property
    def private(self) -> bool:
        """Whether the job asked for differential privacy, or some site spent a budget."""
        unit = self.job.get("privacy.unit")
        return unit not in (None, "none") or any(site.planned or site.spent is not None for site in self.sites)

    @property
    def randomness(self) -> tuple[str, ...]:
        """The random sources that the sites named, each once."""
        return tuple(sorted({site.planned.randomness for site in self.sites if site.planned}))

    @property
    def simulated_noise(self) -> bool:
        """Whether any site's noise came from somewhere else than the operating system's generator."""
        return self.private and any(not source.startswith("operating system") for source in self.randomness)
