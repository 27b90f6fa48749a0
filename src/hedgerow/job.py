"""What was agreed: the `Job`, one frozen tree that means the same in simulation and in deployment.

TOML, Python and the command line are three doors to it:

>>> job = Job(rounds=5, privacy=Privacy(unit="record", epsilon=3.0, delta=1e-4), secure=Secure(mode="off"))
>>> job == Job.from_flat({"rounds": 5, "privacy.unit": "record", "privacy.epsilon": 3.0, "privacy.delta": 1e-4,
...                       "secure.mode": "off"})
True
>>> job.override({"aggregate.rule": "krum"}).aggregate.rule
'krum'

What exists only in simulation (the split, the attackers, the seed) is a `Scenario`: it never changes the digest.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hedgerow.contradictions import refuse_contradictions
from hedgerow.errors import Misconfigured
from hedgerow.settings import Scalar, Settings, option

__all__ = ["Aggregate", "Cohort", "Job", "Leakage", "Local", "Privacy", "Secure", "Server"]

_USUAL = ("trimmed-mean", "reject+arc+nnm")  # aggregate.rule and aggregate.before where a job does not say
LATER: Mapping[str, Scalar] = {
    "local.clip": 0.0,
    "local.update_momentum": 0.0,
    "privacy.clip_quantile": 0.0,
}  # settings that are younger than the first digests


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort(Settings):
    """Who is asked in a round, and how long the coordinator waits.

    `fraction` of the enrolled sites is asked, `over_select` more than that in case some stay silent. A round closes
    when everyone asked has answered, or `grace` seconds after `quorum` updates have been received, or at the
    `deadline` (seconds); with fewer than `quorum` usable updates the round releases nothing.
    """

    prefix: ClassVar[str] = "cohort."
    fraction: float = option(1.0, above=0, high=1)
    quorum: int = option(2, low=1)
    over_select: float = option(0.0, low=0, high=1)
    grace: float = option(30.0, low=0)
    deadline: float = option(600.0, above=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Settings):
    """How a site trains: passes over its data, expected batch size, optimiser, and FedProx's `proximal` weight μ.

    `clip` is the largest norm of a batch's gradient, FedProx's pull included, where privacy does not clip every record;
    0 clips nothing. `update_momentum` is the client momentum β: a site answers with the average of its updates so far,
    each past round weighing β of the next (`hedgerow.client.momentum`); it is part of a robust rule's defence.
    FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, Algorithm 2.
    """

    prefix: ClassVar[str] = "local."
    epochs: int = option(1, low=1)
    batch: int = option(32, low=1)
    optimizer: str = option("sgd", choices=("sgd", "adam"))
    lr: float = option(0.1, above=0)
    momentum: float = option(0.0, low=0, below=1)
    weight_decay: float = option(0.0, low=0)
    proximal: float = option(0.0, low=0)
    clip: float = option(0.0, low=0)
    update_momentum: float = option(0.0, low=0, below=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Settings):
    """How the aggregate moves the model (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, Algorithm 2).

    `lr` defaults to 1 for `avg` and `avgm`, and to 0.01 for the adaptive ones.
    """

    prefix: ClassVar[str] = "server."
    optimizer: str = option("avg", choices=("avg", "avgm", "adagrad", "adam", "yogi"))
    lr: float | None = option(None, above=0)
    momentum: float = option(0.9, low=0, below=1)
    beta2: float = option(0.99, low=0, below=1)
    tau: float = option(1e-3, above=0)

    @property
    def learning_rate(self) -> float:
        if self.lr is not None:
            return self.lr
        return 1.0 if self.optimizer in ("avg", "avgm") else 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy(Settings):
    """What is protected and how much. `unit` has no default: `"none"` must be written out.

    `epsilon` and `delta` hold for the whole job: with `"record"` for each site's records (add or remove one record),
    against everyone but the site; with `"site"` for each site as a whole (add or remove one site), against everyone but
    the coordinator. `clip` is the longest gradient of a record, or the longest update of a site; `clip_quantile` lets
    the latter follow that quantile of the updates' lengths, 0 keeps it.
    """

    prefix: ClassVar[str] = "privacy."
    unit: str = option(choices=("record", "site", "none"))
    epsilon: float | None = option(None, above=0)
    delta: float | None = option(None, above=0, below=1)
    clip: float = option(1.0, above=0)
    clip_quantile: float = option(0.0, low=0, below=1)
    accountant: str = option("rdp", choices=("pld", "rdp", "prv"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Settings):
    """How updates become one. The defaults tolerate one hostile site; `byzantine = 0` must be written out.

    `weights = "examples"` (never under differential privacy, and not with every rule) uses the count that a site
    declared in its first reply, frozen for the run and capped at three times the median. A robust rule then withstands
    hostile sites as long as the `byzantine` heaviest hold less than half of the weight.

    `rule` is a name in `hedgerow.aggregation.RULES`, or one that the task's module registered; `before` is `none`, or
    steps of `hedgerow.aggregation.BEFORE` joined with `+` in their order, as in `arc+nnm`.
    """

    prefix: ClassVar[str] = "aggregate."
    rule: str = option("trimmed-mean")
    byzantine: int = option(1, low=0)
    before: str = option("reject+arc+nnm")
    weights: str = option("uniform", choices=("uniform", "examples"))

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if (self.rule, self.before) != _USUAL:  # the usual job needs no rules to be read, only to be run
            from hedgerow.aggregation import check_names

            check_names(self.rule, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secure(Settings):
    """Secure aggregation. On by default once it exists; until then `mode = "off"` must be written out."""

    prefix: ClassVar[str] = "secure."
    mode: str = option(choices=("groups", "sum", "off"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage(Settings):
    """What may leak: `gate = "tpr@0.01 <= 0.03"` or `"auc <= 0.55"` fails the run when an interval reaches above it."""

    prefix: ClassVar[str] = "leakage."
    gate: str = option("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Settings):
    """A federated training job.

    Raises:
        Misconfigured: E101–E106 for keys, types, ranges and contradictions that need no data to see.
    """

    section: ClassVar[tuple[str, ...]] = ("tool", "flwr", "app", "config")
    rounds: int = option(10, low=1)
    evaluate: str = option("server", choices=("server", "sites", "none"))
    cohort: Cohort = Cohort()
    local: Local = Local()
    server: Server = Server()
    privacy: Privacy
    aggregate: Aggregate = Aggregate()
    secure: Secure
    leakage: Leakage = Leakage()

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        refuse_contradictions(self)

    def override(self, values: Mapping[str, Scalar]) -> "Job":
        """The same job with some dotted keys changed. `privacy.unit = "none"` takes the budget away with it.

        Raises:
            Misconfigured: E101–E106.
        """
        kept = self.flat()
        if values.get("privacy.unit") == "none":
            kept = {key: value for key, value in kept.items() if key not in ("privacy.epsilon", "privacy.delta")}
        return Job.from_flat({**kept, **values})

    def digest(self) -> str:
        """SHA-256 over the canonical form: two jobs are the same job exactly when their digests are equal."""
        return hashlib.sha256(b"hedgerow job 1\n" + self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """Every setting, defaults included, as JSON with sorted keys and no spaces.

        A setting of `LATER` is left out at its default, so that a job that was approved before it existed is the same.
        """
        stated = {key: value for key, value in self.flat().items() if LATER.get(key) != value}
        return json.dumps(stated, sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, path: str | Path) -> "Job":
        """Read a job from a project folder, its `pyproject.toml`, or a TOML file that holds only the job.

        Raises:
            Misconfigured: E110 no such file, E111 not TOML, E101–E106 as above, with the line.
        """
        return cls.from_toml(project_file(Path(path)))

    @classmethod
    def from_record(cls, values: Mapping[str, Scalar]) -> "Job":
        """A job that was run, read back. A rule that its task registered keeps its name, though no task is here.

        Raises:
            Misconfigured: E101–E106 for everything else.
        """
        try:
            return cls.from_flat(values)
        except Misconfigured as error:
            rule = values.get("aggregate.rule")
            if error.code != "E103" or error.place != "aggregate.rule" or not isinstance(rule, str):
                raise
        job = cls.from_flat({**values, "aggregate.rule": "mean"})
        object.__setattr__(job.aggregate, "rule", rule)  # past the look-up, which nobody here can answer
        return job


def project_file(path: Path) -> Path:
    """A folder's `pyproject.toml`, or the file itself."""
    return path / "pyproject.toml" if path.is_dir() or not (path.suffix or path.is_file()) else path
