"""The data contract: what must hold for every site's records before a round runs.

Each rule looks at facts, not at records: a `SiteFacts` per site is all that is kept, so that a thousand sites can be
judged one after another. Findings are few: what a thousand sites have in common is said once.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hedgerow.errors import HedgerowError
from hedgerow.findings import LEVELS, Finding
from hedgerow.task import Data, Site, Split, Task

__all__ = ["check_data", "suggest_delta"]

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteFacts:
    """What the rules need to know of one site; `low` and `high` are per feature over its training records."""

    name: str
    records: int
    shapes: tuple[tuple[int, ...], ...]
    finite: bool
    labels: tuple[int, ...]
    all_labels: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    hashes: Hashes


def check_data(task: Task, sites: Sequence[Site], *, privacy_delta: float | None = None) -> list[Finding]:
    """Look at every site's records and say what is wrong with them, the worst first.

    Errors: a site whose data cannot be loaded (its own code, or E120), without training records or, under privacy,
    with a single one (E125), shapes that differ or that the model does not take (E126), non-finite values (E123),
    labels beyond the model's outputs (E124), and `privacy_delta` ≥ 1/n at a site of n training records (E132).
    Warnings: the same record at two sites (E127), a label that no site has (E124). Notes: constant features, sites
    with a single label.

    Only this machine reads the records. O(total records) time; 8 bytes per record are kept.
    """
    findings: list[Finding] = []
    facts: list[SiteFacts] = []
    sample: Split | None = None
    failures: dict[str, tuple[Finding, list[str]]] = {}  # by kind of failure: a thousand sites fail alike
    for site in sites:
        loaded = _load(task, site)
        if isinstance(loaded, Finding):
            kind = f"{loaded.code} {loaded.message.partition(':')[0]}"
            failures.setdefault(kind, (loaded, []))[1].append(site.name)
            continue
        facts.append(_facts(site.name, loaded))
        if sample is None and len(loaded.train):
            sample = loaded.train.take(np.arange(min(2, len(loaded.train))))
    for failure, names in failures.values():
        message = f"the data of {_some(names)} cannot be loaded: {failure.message}"
        findings.append(replace(failure, message=message))
    if not sites:
        findings.append(Finding(level="error", code="E125", message="there are no sites"))
    findings += _sizes(facts, privacy_delta)
    server = _held_out(task)
    if isinstance(server, Finding):
        findings.append(server)
    shown = [*facts, server] if isinstance(server, SiteFacts) else facts
    findings += _shapes(shown)
    findings += _values(shown)
    if sample is not None:
        outputs = _outputs(task, sample)
        findings += [outputs] if isinstance(outputs, Finding) else _labels(task, facts, shown, outputs)
    findings += _features(facts)
    findings += _copies(facts)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def suggest_delta(largest: int) -> float:
    """A δ well below 1/n at every site: a tenth of it or less, a power of ten, never above 1e-4.

    The largest site decides, because its 1/n is the smallest.

    >>> suggest_delta(120), suggest_delta(3000)
    (0.0001, 1e-05)
    """
    return float(f"1e-{max(4, math.ceil(math.log10(10 * max(1, largest))))}")


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
    return _facts("the server (held out)", Data(train=split, test=split.take(np.arange(0))))


def _facts(name: str, data: Data) -> SiteFacts:
    parts = [part for part in (data.train, data.test) if len(part)]
    rows = data.train.x.reshape(len(data.train), -1) if len(data.train) else np.empty((0, 0), np.float32)
    return SiteFacts(
        name=name,
        records=len(data.train),
        shapes=tuple(part.x.shape[1:] for part in parts),
        finite=all(bool(np.isfinite(part.x).all()) for part in parts),
        labels=tuple(np.unique(data.train.y).tolist()),
        all_labels=tuple({int(label) for part in parts for label in np.unique(part.y)}),
        low=rows.min(axis=0, initial=np.inf),
        high=rows.max(axis=0, initial=-np.inf),
        hashes=np.concatenate([_hashes(part) for part in parts] or [np.empty(0, np.uint64)]),
    )


def _hashes(split: Split) -> Hashes:
    rows = np.ascontiguousarray(split.x).reshape(len(split), -1)
    digests = (
        hashlib.blake2b(row.tobytes() + label.tobytes(), digest_size=8).digest()
        for row, label in zip(rows, split.y, strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _sizes(facts: Sequence[SiteFacts], delta: float | None) -> Iterator[Finding]:
    empty = [site.name for site in facts if site.records == 0]
    single = [site.name for site in facts if site.records == 1]
    hint = "leave such sites out, or merge them with others"
    if empty:
        what = f"{_some(empty)} {_has(empty)} no training records"
        yield Finding(level="error", code="E125", message=what, hint=hint)
    if single:
        what = f"{_some(single)} {_has(single)} a single training record"
        why = "" if delta is None else ", whose update would be the noise that hides that record"
        yield Finding(level="warning" if delta is None else "error", code="E125", message=what + why, hint=hint)
    if delta is not None:
        large = [site for site in facts if site.records > 1 and delta >= 1 / site.records]
        if large:
            largest = max(large, key=lambda site: site.records)
            what = f"privacy.delta = {delta:g} is not below 1/n at {_some([site.name for site in large], largest.name)}"
            hint = f"write privacy.delta = {suggest_delta(largest.records):g} or less"
            yield Finding(level="error", code="E132", message=f"{what} (n = {largest.records})", hint=hint)


def _shapes(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    counts = Counter(shape for site in facts for shape in site.shapes)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        other = [site for site in facts if any(shape != usual for shape in site.shapes)]
        odd = next(shape for shape in other[0].shapes if shape != usual)
        what = f"{_some([site.name for site in other], other[0].name)} {_has(other)} records of shape {odd}"
        hint = "prepare the records in the same way at every site"
        yield Finding(level="error", code="E126", message=f"{what}, the others of shape {usual}", hint=hint)


def _values(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    names = [site.name for site in facts if not site.finite]
    if names:
        what = f"{_some(names)} {_has(names)} NaN or infinite values"
        yield Finding(level="error", code="E123", message=what, hint="fill or leave out such records in data(site)")


def _outputs(task: Task, sample: Split) -> int | Finding:
    """The number of the model's outputs, from one forward pass that leaves torch's generator as it was."""
    try:
        import torch
    except ImportError:
        what = "models need torch, which is not installed"
        return Finding(level="error", code="E107", message=what, hint="pip install 'hedgerow[full]'")
    records = torch.from_numpy(np.nan_to_num(sample.x))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = task.model().eval()(records)
    except Exception as error:  # a model is a user's own code
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message = f"the model does not take records of shape {sample.x.shape[1:]}: {reason.splitlines()[0]}"
        return Finding(level="error", code="E126", message=message, hint="fit the first layer to the records")
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(sample):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        message = f"the model returned {got} for {len(sample)} record(s)"
        return Finding(level="error", code="E126", message=message, hint="return logits of shape (records, classes)")
    return int(logits.shape[1])


def _labels(task: Task, facts: Sequence[SiteFacts], shown: Sequence[SiteFacts], outputs: int) -> Iterator[Finding]:
    beyond = [site for site in shown if any(not 0 <= label < outputs for label in site.all_labels)]
    if beyond:
        label = next(label for label in beyond[0].all_labels if not 0 <= label < outputs)
        what = f"{_some([site.name for site in beyond], beyond[0].name)} {_has(beyond)} labels such as {label}"
        hint = f"number the labels from 0 to {outputs - 1}, or give the model more outputs"
        yield Finding(level="error", code="E124", message=f"{what}, but the model has {outputs} outputs", hint=hint)
    if task.labels and len(task.labels) != outputs:
        what = f"{len(task.labels)} label names, but the model has {outputs} outputs"
        yield Finding(level="warning", code="E124", message=what, hint="make Task.labels and the last layer agree")
    seen = {label for site in facts for label in site.labels}
    absent = [_label(task, label) for label in range(outputs) if label not in seen]
    if absent:
        what = f"no site has a training record labelled {_some(absent, noun='labels')}"
        yield Finding(level="warning", code="E124", message=what, hint="the model cannot learn it")
    alone = [site.name for site in facts if len(site.labels) == 1]
    if alone:
        yield Finding(level="note", message=f"{_some(alone)} {_has(alone)} records of one label only")


def _label(task: Task, label: int) -> str:
    return task.labels[label] if label < len(task.labels) else str(label)


def _features(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    trained = [site for site in facts if site.records]
    if not trained or len({site.low.shape for site in trained}) > 1:
        return
    low = np.min([site.low for site in trained], axis=0)
    high = np.max([site.high for site in trained], axis=0)
    constant = np.flatnonzero(low == high)
    if len(constant) and sum(site.records for site in trained) > 1:
        what = f"{len(constant)} of {len(low)} features are the same in every record, for example number {constant[0]}"
        yield Finding(level="note", message=what)


def _copies(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    """Records that occur at more than one site, found by sorting the hashes of all."""
    if len(facts) < 2:
        return
    unique = [np.unique(site.hashes) for site in facts]
    hashes = np.concatenate(unique)
    owners = np.repeat(np.arange(len(facts)), [len(part) for part in unique])
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(again):
        copies = len(np.unique(hashes[order][again]))
        one, other = facts[owners[order[again[0]]]].name, facts[owners[order[again[0] + 1]]].name
        what = f"{copies} record(s) occur at more than one site, for example at '{one}' and '{other}'"
        hint = "each site's ε protects its own copy: for one person at two sites they add up; remove the copies"
        yield Finding(level="warning", code="E127", message=what, hint=hint)


def _some(names: Sequence[str], example: str = "", *, noun: str = "sites") -> str:
    """
    >>> _some(["a"]), _some(["a", "b"]), _some(["a", "b", "c"])
    ("'a'", "'a' and 'b'", "3 sites, for example 'a'")
    """
    if len(names) < 3:
        return " and ".join(f"'{name}'" for name in names)
    return f"{len(names)} {noun}, for example '{example or names[0]}'"


def _has(those: Sequence[object]) -> str:
    return "has" if len(those) == 1 else "have"
