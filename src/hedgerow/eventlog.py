"""A run's events on the disk: `events.jsonl`, appended to by whoever has something to tell.

One event is one JSON object on one line: `{"seq": 3, "time": 1790000000.0, "event": "round-closed", …}`.
"""

import dataclasses
import fcntl
import functools
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgerow.disk import append_whole, disk_errors
from hedgerow.errors import Tampered
from hedgerow.events import Event, Listener

__all__ = ["EventLog", "current_events", "read_events"]

Json = Any  # what json.loads returns: the one place where an event is not yet typed

WORD_START = re.compile(r"(?<!^)(?=[A-Z])")  # `RoundClosed` is told as `round-closed`
OF_A_ROUND = frozenset({"round-started", "round-closed", "round-voided", "evaluated", "budgets-spent"})
OF_THE_END = frozenset({"leakage-started", "leakage-measured", "gate-checked", "run-finished"})
AS_THEY_ARE = frozenset({str, int, bool, type(None)})


class EventLog:
    """Appends events to a file, one line each, whole lines only; `listeners` hear each event after it is written.

    A line that a kill or a full disk left half-written is taken away before the next event, never written on.
    Opening a log reads all of it; open one and pass it on.

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
        self.append_all([event])

    def append_all(self, events: Iterable[Event]) -> None:
        """Write events in one go, then tell the listeners each in turn.

        A full disk leaves none of them, a kill in mid-write the first ones.
        """
        records = []
        for seq, event in enumerate(events, self._seq):
            kind: Any = type(event)
            word, names = _form(kind)
            told = {name: _plain(getattr(event, name)) for name in names}
            records.append({"seq": seq, "time": round(self._clock(), 3), "event": word, **told})
        if not records:
            return
        with disk_errors("the event log", self.path):
            _append(self.path, "".join(f"{_encoded(record)}\n" for record in records).encode())
        self._seq += len(records)
        for record in records:
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
            event = json.loads(line.decode())  # given bytes, json looks for their encoding first
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


def _append(path: Path, lines: bytes) -> None:
    # Opened anew each time: a handle that is kept would write on into a file that was moved or deleted, and asking
    # whether it was takes as long as opening.
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        _mend(file)
        append_whole(file, lines)
    finally:
        os.close(file)


def _mend(file: int) -> None:
    """Take a torn last line away, complete one that only lacks its end."""
    start = size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return
    tail = b""
    while start and b"\n" not in tail:
        start = max(0, start - 65536)
        tail = os.pread(file, size - start, start)
    torn = tail.rpartition(b"\n")[2]
    try:
        json.loads(torn)
    except (ValueError, RecursionError):
        os.ftruncate(file, size - len(torn))
    else:
        append_whole(file, b"\n")


@functools.cache
def _form(kind: type[Event]) -> tuple[str, tuple[str, ...]]:
    """What a kind of event is called in the log, and its fields."""
    return WORD_START.sub("-", kind.__name__).lower(), tuple(field.name for field in dataclasses.fields(kind))


def _plain(value: Any) -> Json:
    """JSON's own types; a number that JSON does not have becomes null, so every reader can parse every line."""
    kind = type(value)  # asked first: most values are of these kinds, and `isinstance` of an abstract one is slow
    if kind in AS_THEY_ARE:
        return value
    if kind is list or kind is tuple:
        return _all_plain(value)
    if isinstance(value, Mapping):
        return dict(zip(map(str, value), _all_plain(value.values()), strict=True))
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Sequence):
        return _all_plain(value)
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _all_plain(values: Iterable[Any]) -> list[Json]:
    """As `_plain` for each; values of one kind, such as thousands of sites' norms, are looked at together."""
    items = list(values)
    kinds = set(map(type, items))
    if kinds <= AS_THEY_ARE or (kinds == {float} and all(map(math.isfinite, items))):
        return items
    if len(kinds) == 1 and hasattr(items[0], "tolist"):
        return _all_plain([item.tolist() for item in items])
    return [_plain(item) for item in items]


_encoded = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
