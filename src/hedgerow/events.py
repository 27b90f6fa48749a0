"""Everything worth telling about a run, appended to `events.jsonl`: reports, metrics and dashboards only read events.

One event is one JSON object on one line: `{"seq": 3, "time": 1790000000.0, "event": "round-closed", …}`. The kinds and
their fields are the dataclasses below; a field may be added to a kind, never renamed or given another meaning.
"""

import dataclasses
import errno
import fcntl
import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedgerow.disk import disk_errors
from hedgerow.errors import Tampered

__all__ = [
    "BudgetPlanned",
    "BudgetSpent",
    "DataDescribed",
    "EngineChosen",
    "Evaluated",
    "Event",
    "EventLog",
    "GateChecked",
    "LeakageMeasured",
    "Listener",
    "RoundClosed",
    "RoundStarted",
    "RoundVoided",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "current_events",
    "read_events",
]

Json = Any  # what json.loads returns: the one place where an event is not yet typed
Listener = Callable[[Mapping[str, Json]], None]

WORD_START = re.compile(r"(?<!^)(?=[A-Z])")  # `RoundClosed` is told as `round-closed`
OF_A_ROUND = ("round-started", "round-closed", "round-voided", "evaluated", "budget-spent")
OF_THE_END = ("leakage-measured", "gate-checked", "run-finished")


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

    `path` is `kernel`, `layers`, `vmap` or `one-by-one` for the cohort engine. `private` says how records' gradients
    are clipped under differential privacy (`ghost norms`, `per-record gradients`, `opacus`; empty without).
    `difference` is the largest one to the one-by-one path on the sites that were tried (`None` where nothing was to
    try). `chunk` sites are trained at a time by each of `workers` threads.
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
    round: int
    rounds: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundClosed(Event):
    """A round that released a model.

    `accepted` are sites whose update counted; `rejected` are `{"site", "code", "reason"}`: bad replies, silent or
    failed sites, and the rule's exclusions (E310). `norms` are the L2 norms of the received updates by site.
    `clock` is the simulated time at the round's end, in seconds since the run's start, where an engine simulates time.
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
    clock: float | None = None


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
class BudgetSpent(Event):
    """What a site's ledger says it has spent after a round."""

    round: int
    site: str
    epsilon: float
    limit: float
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageMeasured(Event):
    """One attack by one adversary against one scope ("all sites" or a site's name); see `hedgerow.privacy.leakage`."""

    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChecked(Event):
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


class EventLog:
    """Appends events to a file, one line each, whole lines only; `listeners` hear each event after it is written.

    A line that a kill or a full disk left half-written is taken away before the next event, never written on.

    Raises:
        Exhausted: E503 no space left, E504 the folder cannot be written.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, listeners: Sequence[Listener] = ()
    ) -> None:
        self.path = path
        self._clock = clock
        self._listeners = list(listeners)
        self._seq = sum(1 for _ in read_events(path)) if path.exists() else 0

    def append(self, event: Event) -> None:
        """Write one event and tell the listeners. Others may append in between: `seq` is this writer's count."""
        record = {
            "seq": self._seq,
            "time": round(self._clock(), 3),
            "event": WORD_START.sub("-", type(event).__name__).lower(),
            **_plain({field.name: getattr(event, field.name) for field in dataclasses.fields(event)}),
        }
        line = json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"
        with disk_errors("the event log", self.path):
            _append_line(self.path, line.encode())
        self._seq += 1
        for listener in self._listeners:
            listener(record)


def read_events(path: Path) -> Iterator[dict[str, Json]]:
    """The events of a run in order. A torn last line (a kill in mid-write) is left out; damage elsewhere is an error.

    Raises:
        Tampered: E403 with the line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Tampered("E403", f"the event log cannot be read: {reason}", place=str(path)) from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or "event" not in event:
                raise ValueError("not an event")
            yield event
        except (ValueError, RecursionError):
            if number < len(lines):
                raise Tampered("E403", "the event log is damaged", place=f"{path}:{number}") from None


def current_events(events: Iterable[Mapping[str, Json]]) -> tuple[Mapping[str, Json], ...]:
    """The events that still count: what a resume took up again is left out, as `RunResumed` says.

    With `after_round = k` these are the events of rounds after k, and what followed the last round (leakage, gate,
    `run-finished`), where they stand before the resume. Only privacy spent stays spent: read that from all events.

    >>> log = [{"event": "evaluated", "round": 1}, {"event": "evaluated", "round": 2}, {"event": "run-finished"},
    ...        {"event": "run-resumed", "after_round": 1}]
    >>> [event["event"] for event in current_events(log)]
    ['evaluated', 'run-resumed']
    """
    current: list[Mapping[str, Json]] = []
    for event in events:
        if event["event"] == "run-resumed":
            after = event.get("after_round", 0)
            current = [
                old
                for old in current
                if old["event"] not in OF_THE_END and not (old["event"] in OF_A_ROUND and old.get("round", 0) > after)
            ]
        current.append(event)
    return tuple(current)


def _append_line(path: Path, line: bytes) -> None:
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = _mend(file)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def _mend(file: io.FileIO) -> int:
    """Take a torn last line away, complete one that only lacks its end; returns the size up to there, in bytes."""
    size = file.seek(0, os.SEEK_END)
    start = size
    tail = b""
    while start and b"\n" not in tail:
        start = max(0, start - 65536)
        file.seek(start)
        tail = file.read(size - start)
    torn = tail.rpartition(b"\n")[2]
    if not torn:
        return size
    try:
        json.loads(torn)
    except (ValueError, RecursionError):
        size -= len(torn)
        file.truncate(size)
    else:
        size += file.write(b"\n")
    return size


def _plain(value: Any) -> Json:
    """JSON's own types; a number that JSON does not have becomes null, so every reader can parse every line."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
