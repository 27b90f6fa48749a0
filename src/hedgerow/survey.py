"""One look at every site's records, and the few facts that are kept of each.

The records are read once, a site at a time: judging a job, its data and its privacy all work on these facts, so that
ten thousand sites, or records that do not fit into memory, can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hedgerow.errors import HedgerowError
from hedgerow.findings import Finding
from hedgerow.task import Data, Site, Split, Task
from hedgerow.tasks.arrayfile import blocks

__all__ = ["SiteFacts", "Survey", "some", "survey"]

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]

SAMPLE = 4  # records on which a model is tried


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteFacts:
    """What is kept of one site: counts, shapes, labels, and 8 bytes a record that tell copies."""

    name: str
    records: int
    shapes: tuple[tuple[int, ...], ...]
    finite: bool
    labels: tuple[int, ...]
    all_labels: tuple[int, ...]
    hashes: Hashes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """The facts of the sites whose data could be read, in their order, and one finding per kind of failure.

    `ranges` are the least and largest value of each feature over all training records (features,) where all sites have
    the same features; `sample` holds a few training records of one site, of one with several where there is one.
    """

    sites: tuple[SiteFacts, ...]
    failures: tuple[Finding, ...]
    server: SiteFacts | Finding | None
    ranges: tuple[np.ndarray, np.ndarray] | None
    sample: Split | None


def survey(task: Task, sites: Sequence[Site]) -> Survey:
    """Read every site's records and the held-out ones, once. Whatever a user's own code raises is a finding."""
    facts: list[SiteFacts] = []
    sample: Split | None = None
    failures: dict[str, tuple[Finding, list[str]]] = {}  # by kind of failure: a thousand sites fail alike
    ranges: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by number of features
    for site in sites:
        loaded = _load(task, site)
        if isinstance(loaded, Finding):
            kind = f"{loaded.code} {loaded.message.partition(':')[0]}"
            failures.setdefault(kind, (loaded, []))[1].append(site.name)
            continue
        train = _range(loaded.train)
        facts.append(_facts(site.name, loaded, train))
        if train is not None:
            before = ranges.setdefault(len(train[0]), train)
            ranges[len(train[0])] = (np.minimum(before[0], train[0]), np.maximum(before[1], train[1]))
        if len(loaded.train) > (0 if sample is None else 1) and (sample is None or len(sample) < 2):
            sample = loaded.train.take(np.arange(min(SAMPLE, len(loaded.train))))
    return Survey(
        sites=tuple(facts),
        failures=tuple(
            replace(failure, message=f"the data of {some(names)} cannot be loaded: {failure.message}")
            for failure, names in failures.values()
        ),
        server=_held_out(task),
        ranges=next(iter(ranges.values())) if len(ranges) == 1 else None,
        sample=sample,
    )


def some(names: Sequence[str], example: str = "", *, noun: str = "sites") -> str:
    """A few names in words: all of one or two, an example of more.

    >>> some(["a"]), some(["a", "b"]), some(["a", "b", "c"])
    ("'a'", "'a' and 'b'", "3 sites, for example 'a'")
    """
    if len(names) < 3:
        return " and ".join(f"'{name}'" for name in names)
    return f"{len(names)} {noun}, for example '{example or names[0]}'"


def _load(task: Task, site: Site) -> Data | Finding:
    try:
        data = task.data(site)
    except HedgerowError as error:
        return Finding.of(error)
    except Exception as error:  # whatever a user's own code raises is a finding, not a crash
        return Finding(level="error", code="E120", message=f"data(site) raised {type(error).__name__}: {error}")
    if not isinstance(data, Data) or not isinstance(data.train, Split) or not isinstance(data.test, Split):
        what = f"data(site) returned {type(data).__name__}, not Data of two Splits"
        return Finding(level="error", code="E126", message=what, hint="return hedgerow.Data(train=…, test=…)")
    return data


def _held_out(task: Task) -> SiteFacts | Finding | None:
    try:
        split = task.held_out()
    except HedgerowError as error:
        return Finding.of(error)
    except Exception as error:  # as above
        return Finding(level="error", code="E120", message=f"held_out() raised {type(error).__name__}: {error}")
    if split is None:
        return None
    if not isinstance(split, Split):
        what = f"held_out() returned {type(split).__name__}"
        return Finding(level="error", code="E126", message=what, hint="return hedgerow.Split(x, y), or None")
    if not len(split):
        return None
    return _facts("the server (held out)", Data(train=split, test=split.take(np.arange(0))), _range(split))


def _facts(name: str, data: Data, train: tuple[np.ndarray, np.ndarray] | None) -> SiteFacts:
    parts = [part for part in (data.train, data.test) if len(part)]
    ranges = [found for found in (train, _range(data.test)) if found is not None]
    return SiteFacts(
        name=name,
        records=len(data.train),
        shapes=tuple(part.x.shape[1:] for part in parts),
        finite=all(bool(np.isfinite(bounds).all()) for bounds in ranges),
        labels=tuple(np.unique(data.train.y).tolist()),
        all_labels=tuple({int(label) for part in parts for label in np.unique(part.y)}),
        hashes=np.concatenate([_hashes(part) for part in parts] or [np.empty(0, np.uint64)]),
    )


def _range(split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """Each feature's least and largest value; NaN where there is one, so that both tell whether all are finite."""
    if not len(split):
        return None
    rows = split.x.reshape(len(split), -1)
    return rows.min(axis=0), rows.max(axis=0)


def _hashes(split: Split) -> Hashes:
    """Python's own keyed hash (SipHash, 64 bits): compared within this process only, and several times faster."""
    parts = [np.empty(0, np.uint64)]
    for rows in blocks(split.x):
        records = np.ascontiguousarray(split.x[rows]).reshape(rows.stop - rows.start, -1)
        width = records.shape[1] * records.itemsize
        texts = records.view(f"V{width}")[:, 0].tolist() if width else [b""] * len(records)
        found = map(hash, zip(texts, split.y[rows].tolist(), strict=True))
        parts.append(np.fromiter(found, np.int64, count=len(records)).view(np.uint64))
    return np.concatenate(parts)
