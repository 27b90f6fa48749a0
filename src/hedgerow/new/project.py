"""Write a new project: look at the user's table, choose what depends on it, say what was found."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hedgerow.disk import disk_errors
from hedgerow.errors import Misconfigured
from hedgerow.findings import Finding
from hedgerow.new.choices import Choices, choose
from hedgerow.new.rendering import render_data, render_pyproject, template
from hedgerow.tasks.table import Table, TableProfile, inspect_table, table

__all__ = ["NewProject", "create_project"]

LONGEST_NAME = 32  # Flower's own limits for an app's name
TAKEN_NAMES = ("flwr", "hedgerow")  # a project named like its own dependency cannot be installed
RECORDS_PER_SIMULATED_SITE = 20
DIGITS_SITE = (60, 2_000)  # the smallest of ten sites (seed 0) and all of scikit-learn's digits lie between


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """A project that was written: its folder, its files, what was found (one sentence a line), and what to look at."""

    folder: Path
    files: tuple[Path, ...]
    said: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def create_project(
    target: Path, *, data: Path | None = None, label: str | None = None, site: str | None = None
) -> NewProject:
    """Write a project that is a Flower app, on digits or on the table in `data`. Works offline; nothing is overwritten.

    Raises:
        Misconfigured: E103 the folder's name cannot name an app, E115 it exists, E104 no label, E105 a label or a
            site without data, E120–E122 the table cannot be used as it is.
        Exhausted: E503, E504 the folder cannot be written; nothing is left behind.
    """
    name = _name(target)
    if data is None:
        if label is not None or site is not None:
            hint = "write --data FILE --label COLUMN"
            raise Misconfigured("E105", "a label or a site column says nothing without a table", hint=hint)
        choices = choose(sites=10, split="dirichlet:0.5", smallest=DIGITS_SITE[0], largest=DIGITS_SITE[1])
        said = ("scikit-learn's handwritten digits, split unevenly into 10 simulated sites", *choices.reasons)
        steps = ("Bring your own records: `hedgerow new NAME --data FILE --label COLUMN`, or a `hedgerow.Task`.",)
        return _write(target, name, template("data_digits.py"), choices, said, (), steps)
    profile = inspect_table(data.resolve(), label, site)
    if label is None:
        hint = f"write --label COLUMN; the columns are {', '.join(profile.kinds)}"
        raise Misconfigured("E104", "which column is the label is not stated", place=data.name, hint=hint)
    if not profile.ranges and not profile.categories:
        reasons = "; ".join(f"'{column}' {reason}" for column, reason in profile.left_out.items())
        raise Misconfigured("E122", f"no column can be a feature: {reasons}", place=data.name)
    sizes, findings = _sizes(profile, label, site)
    findings += _warnings(profile, sizes, site)
    choices = _choices(sizes, site)
    said = (*_said(profile, label, site, sizes), *choices.reasons)
    return _write(target, name, render_data(profile, label, site), choices, said, tuple(findings), _steps(profile))


def _name(target: Path) -> str:
    name = target.name
    if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9-]{{0,{LONGEST_NAME - 1}}}", name) or name.endswith("-"):
        other = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-0123456789")[:LONGEST_NAME].rstrip("-")
        hint = f"Flower takes a letter, then letters, digits and '-', at most {LONGEST_NAME} characters"
        hint += f"; for example '{other}'" if other else ""
        raise Misconfigured("E103", f"'{name}' cannot name a project", place=str(target), hint=hint)
    if name.lower() in TAKEN_NAMES:
        raise Misconfigured("E103", f"'{name}' is the name of a package that the project needs", hint="choose another")
    if target.exists() or target.is_symlink():
        raise _taken(target)
    return name


def _taken(target: Path) -> Misconfigured:
    return Misconfigured("E115", f"'{target.name}' already exists", place=str(target), hint="choose another name")


def _sizes(profile: TableProfile, label: str, site: str | None) -> tuple[Mapping[str, tuple[int, int]], list[Finding]]:
    """Training and held-out records per site, as the project itself will draw them; `""` is a table without sites."""
    task = _task(profile, label, site)
    try:
        data, column = task.pool(), task.column
    except Misconfigured as error:
        if error.code != "E125":  # too few records at a site: the project is still worth writing, with a word about it
            raise
        everyone = profile.sites or {"": profile.records}
        return {name: (count, 0) for name, count in everyone.items()}, [Finding.of(error)]
    train = Counter((column if column is not None else np.full(len(data.train), "")).tolist())
    if site is None:
        return {"": (train[""], len(data.test))}, []
    return {name: (train[name], profile.sites[name] - train[name]) for name in profile.sites}, []


def _task(profile: TableProfile, label: str, site: str | None) -> Table:
    return table(
        profile.path,
        label=label,
        labels=tuple(profile.labels),
        site=site,
        ranges=profile.ranges,
        categories=profile.categories,
        ignore=tuple(profile.left_out),
        missing="drop",
    )


def _choices(sizes: Mapping[str, tuple[int, int]], site: str | None) -> Choices:
    train = [count for count, _ in sizes.values()]
    if site is not None:
        return choose(sites=len(train), split="column", smallest=min(train), largest=max(train))
    sites = min(10, max(1, train[0] // RECORDS_PER_SIMULATED_SITE))
    return choose(sites=sites, split="iid", smallest=train[0] // sites, largest=-(-train[0] // sites))


def _said(profile: TableProfile, label: str, site: str | None, sizes: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    lines = [f"{profile.path.name}: {_count(profile.records, 'record')}, {_count(len(profile.kinds), 'column')}"]
    words = sum(map(len, profile.categories.values()))
    kinds = [_count(len(profile.ranges), "number column")] if profile.ranges else []
    if profile.categories:
        kinds.append(f"{_count(len(profile.categories), 'text column')} ({_count(words, 'word')})")
    lines.append(f"{_count(len(profile.ranges) + words, 'feature')} from {' and '.join(kinds)}")
    lines += [f"left out: column '{name}' {reason}" for name, reason in profile.left_out.items()]
    counts = ", ".join(f"{word} ({count:,})" for word, count in list(profile.labels.items())[:10])
    more = f" and {len(profile.labels) - 10} more" if len(profile.labels) > 10 else ""
    lines.append(f"{len(profile.labels)} labels in '{label}': {counts}{more}")
    held = sum(test for _, test in sizes.values())
    if site is None:
        lines.append("no site column was named: the records are shuffled into simulated sites")
    else:
        low, high = min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name])
        lines.append(
            f"{_count(len(sizes), 'site')} in '{site}': from {sizes[low][0]:,} training records ('{low}') "
            f"to {sizes[high][0]:,} ('{high}')"
        )
    lines.append(f"{_count(held, 'record')} held out for evaluation, drawn at each site by a hash of the record")
    return tuple(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _warnings(profile: TableProfile, sizes: Mapping[str, tuple[int, int]], site: str | None) -> list[Finding]:
    findings = []
    used = {name: count for name, count in profile.missing.items() if name not in profile.left_out}
    if used:
        where = ", ".join(f"'{name}' {count:,}" for name, count in list(used.items())[:5])
        hint = 'complete the file, or write missing="drop" or missing="zero" in data.py'
        message = f"missing values: {where}{', …' if len(used) > 5 else ''}; the project refuses them"
        findings.append(Finding(level="warning", code="E123", message=message, place=profile.path.name, hint=hint))
    for name in profile.repeated:
        message = f"'{name}' repeats: if it names a person, record-level privacy protects a record, not that person"
        findings.append(Finding(level="warning", message=message, hint="keep one record per person, or plan for it"))
    single = [name for name, (train, _) in sizes.items() if train < 2]
    if single:
        who = f"{len(single)} sites, for example '{single[0]}'," if len(single) > 2 else " and ".join(map(repr, single))
        who = "the table" if site is None else who
        message = f"{who} {'has' if len(single) == 1 else 'have'} fewer than 2 training records: privacy needs more"
        hint = "merge small sites in the file or take them out, then make the project again"
        findings.append(Finding(level="warning", code="E125", message=message, place=profile.path.name, hint=hint))
    if site is not None and len(sizes) == 1:
        message = f"'{site}' has a single value: there is nobody to train with"
        findings.append(Finding(level="warning", message=message, hint="name another --site column"))
    return findings


def _steps(profile: TableProfile) -> tuple[str, ...]:
    steps = ["Replace the values in `data.py` by publicly known ones: they were read from the file."]
    if profile.missing:
        steps.append('Complete the missing values, or write `missing="drop"` or `missing="zero"` in `data.py`.')
    steps.append("Agree with the sites on `privacy.epsilon`, `privacy.delta` and `aggregate.byzantine`.")
    return tuple(steps)


def _write(
    target: Path,
    name: str,
    data: str,
    choices: Choices,
    said: tuple[str, ...],
    findings: tuple[Finding, ...],
    steps: tuple[str, ...],
) -> NewProject:
    todo = "\n".join(f"- {step}" for step in steps)
    texts = {
        "pyproject.toml": render_pyproject(name, choices),
        "app.py": template("app.py"),
        "data.py": data,
        "README.md": template("README.md", title=name, sites=str(choices.sites), next=todo),
        ".gitignore": template("gitignore"),
    }
    with disk_errors("the project", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.mkdir()
        except FileExistsError:
            raise _taken(target) from None
        try:
            for file, text in texts.items():
                (target / file).write_text(text, encoding="utf-8")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return NewProject(folder=target, files=tuple(target / file for file in texts), said=said, findings=findings)
