"""The data contract: what must hold for every site's records before a round runs.

Each rule looks at the facts of a survey, not at records. Findings are few: what a thousand sites have in common is said
once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from hedgerow.findings import LEVELS, Finding
from hedgerow.survey import SiteFacts, Survey, some, survey
from hedgerow.task import Site, Split, Task

__all__ = ["check_data", "judge_data", "suggest_delta"]


def check_data(task: Task, sites: Sequence[Site], *, privacy_delta: float | None = None) -> list[Finding]:
    """Look at every site's records and say what is wrong with them, the worst first.

    Errors: a site whose data cannot be loaded (its own code, or E120), without training records or, under privacy,
    with a single one (E125), shapes that differ or that the model does not take (E126), non-finite values (E123),
    labels beyond the model's outputs (E124), and `privacy_delta` ≥ 1/n at a site of n training records (E132).
    Warnings: the same record at two sites (E127), a label that no site has (E124). Notes: constant features, sites
    with a single label.

    Only this machine reads the records. O(total records) time; 8 bytes per record are kept.
    """
    return judge_data(task, survey(task, sites), privacy_delta=privacy_delta)


def judge_data(task: Task, seen: Survey, *, privacy_delta: float | None = None) -> list[Finding]:
    """As `check_data`, on what a survey of the task's sites has found."""
    facts = seen.sites
    findings = list(seen.failures)
    if not facts and not seen.failures:
        findings.append(Finding(level="error", code="E125", message="there are no sites"))
    findings += _sizes(facts, privacy_delta)
    if isinstance(seen.server, Finding):
        findings.append(seen.server)
    shown = [*facts, seen.server] if isinstance(seen.server, SiteFacts) else facts
    findings += _shapes(shown)
    findings += _values(shown)
    if seen.sample is not None:
        outputs = _outputs(task, seen.sample)
        findings += [outputs] if isinstance(outputs, Finding) else _labels(task, facts, shown, outputs)
    findings += _features(seen)
    findings += _copies(facts)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def suggest_delta(largest: int) -> float:
    """A δ well below 1/n at every site: a tenth of it or less, a power of ten, never above 1e-4.

    The largest site decides, because its 1/n is the smallest.

    >>> suggest_delta(120), suggest_delta(3000)
    (0.0001, 1e-05)
    """
    return float(f"1e-{max(4, math.ceil(math.log10(10 * max(1, largest))))}")


def _sizes(facts: Sequence[SiteFacts], delta: float | None) -> Iterator[Finding]:
    empty = [site.name for site in facts if site.records == 0]
    single = [site.name for site in facts if site.records == 1]
    hint = "leave such sites out, or merge them with others"
    if empty:
        what = f"{_have(empty)} no training records"
        yield Finding(level="error", code="E125", message=what, hint=hint)
    if single:
        what = f"{_have(single)} a single training record"
        why = "" if delta is None else ", whose update would be the noise that hides that record"
        yield Finding(level="warning" if delta is None else "error", code="E125", message=what + why, hint=hint)
    if delta is not None:
        large = [site for site in facts if site.records > 1 and delta >= 1 / site.records]
        if large:
            largest = max(large, key=lambda site: site.records)
            what = f"privacy.delta = {delta:g} is not below 1/n at {some([site.name for site in large], largest.name)}"
            hint = f"write privacy.delta = {suggest_delta(largest.records):g} or less"
            yield Finding(level="error", code="E132", message=f"{what} (n = {largest.records})", hint=hint)


def _shapes(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    counts = Counter(shape for site in facts for shape in site.shapes)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        other = [site for site in facts if any(shape != usual for shape in site.shapes)]
        odd = next(shape for shape in other[0].shapes if shape != usual)
        what = f"{_have([site.name for site in other])} records of shape {odd}"
        hint = "prepare the records in the same way at every site"
        yield Finding(level="error", code="E126", message=f"{what}, the others of shape {usual}", hint=hint)


def _values(facts: Sequence[SiteFacts]) -> Iterator[Finding]:
    names = [site.name for site in facts if not site.finite]
    if names:
        what = f"{_have(names)} NaN or infinite values"
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
        message = f"the model returned {got} for {_records(len(sample))}"
        return Finding(level="error", code="E126", message=message, hint="return logits of shape (records, classes)")
    return int(logits.shape[1])


def _labels(task: Task, facts: Sequence[SiteFacts], shown: Sequence[SiteFacts], outputs: int) -> Iterator[Finding]:
    beyond = [site for site in shown if any(not 0 <= label < outputs for label in site.all_labels)]
    if beyond:
        label = next(label for label in beyond[0].all_labels if not 0 <= label < outputs)
        what = f"{_have([site.name for site in beyond])} labels such as {label}"
        hint = f"number the labels from 0 to {outputs - 1}, or give the model more outputs"
        yield Finding(level="error", code="E124", message=f"{what}, but the model has {outputs} outputs", hint=hint)
    if task.labels and len(task.labels) != outputs:
        what = f"{len(task.labels)} label names, but the model has {outputs} outputs"
        yield Finding(level="warning", code="E124", message=what, hint="make Task.labels and the last layer agree")
    seen = {label for site in facts for label in site.labels}
    absent = [_label(task, label) for label in range(outputs) if label not in seen]
    if absent:
        of = {1: "the label ", 2: "the labels "}.get(len(absent), "")
        what = f"no site has a training record of {of}{some(absent, noun='labels')}"
        yield Finding(level="warning", code="E124", message=what, hint="the model cannot learn it")
    alone = [site.name for site in facts if len(site.labels) == 1]
    if alone:
        yield Finding(level="note", message=f"{_have(alone)} records of one label only")


def _label(task: Task, label: int) -> str:
    return task.labels[label] if label < len(task.labels) else str(label)


def _features(seen: Survey) -> Iterator[Finding]:
    if seen.ranges is None or sum(site.records for site in seen.sites) < 2:
        return
    low, high = seen.ranges
    constant = np.flatnonzero(low == high)
    if len(constant):
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
        verb = "occurs" if copies == 1 else "occur"
        what = f"{_records(copies)} {verb} at more than one site, for example at '{one}' and '{other}'"
        hint = "each site's ε protects its own copy: for one person at two sites they add up; remove the copies"
        yield Finding(level="warning", code="E127", message=what, hint=hint)


def _have(names: Sequence[str]) -> str:
    """The sites and their verb.

    >>> _have(["a"]), _have(["a", "b"]), _have(["a", "b", "c"])
    ("'a' has", "'a' and 'b' have", "3 sites, for example 'a', have")
    """
    return f"{some(names)}{',' if len(names) > 2 else ''} {'has' if len(names) == 1 else 'have'}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
