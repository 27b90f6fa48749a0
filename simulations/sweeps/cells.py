"""The runs of a sweep: every combination of the swept values, with every seed, all known before the first one starts.

A cell is one combination; its runs differ by the seed alone. The same seed stands for the same split, the same
attackers and the same random streams in every cell, so that cells are compared seed by seed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from hedgerow.errors import HedgerowError, Misconfigured, error_of
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar, Settings, nearest

__all__ = ["Cell", "Grid", "base", "cell_words", "cells", "checked_grid", "in_cell", "scalar_text"]

MOST_RUNS = 10_000
LONGEST_NAME = 80
UNFIT = re.compile(r"[^\w.-]+")

Grid: TypeAlias = Mapping[str, tuple[Scalar, ...]]
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run: the swept `settings`, its seed, and the job and scenario that follow from them.

    `name` is its folder's. `implied` are settings that go with the swept ones: no attack without attackers.
    """

    name: str
    settings: Mapping[str, Scalar]
    implied: Mapping[str, Scalar]
    seed: int
    job: Job
    scenario: Scenario

    @property
    def words(self) -> str:
        """The settings and the seed, as one would write them on the command line."""
        return cell_words({**self.settings, "seed": self.seed})


def checked_grid(grid: Mapping[str, Iterable[Scalar]]) -> dict[str, tuple[Scalar, ...]]:
    """The grid with its keys and lists checked; whether the values fit is for `cells` to say.

    Raises:
        Misconfigured: E101 for a key of neither job nor scenario, E102 for something else than a list of scalars, E103
            for an empty list, E105 for a value that stands twice and for the seed; the place is the key.
    """
    known = [*Job.keys(), *Scenario.keys()]
    checked = {}
    for key, given in grid.items():
        if key not in known:
            raise Misconfigured("E101", f"unknown key '{key}'", place=key, hint=nearest(key, known))
        if key == "seed":
            hint = "write --seeds 5, or seeds=5 in Python"
            raise Misconfigured("E105", "the seed is repeated, not swept", place=key, hint=hint)
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise Misconfigured("E102", f"'{key}' needs a list of values, not {given!r}", place=key)
        values = tuple(value.item() if hasattr(value, "item") else value for value in given)  # numpy's numbers too
        if not values:
            raise Misconfigured("E103", f"'{key}' has no values to sweep", place=key)
        for k, value in enumerate(values):
            if not isinstance(value, str | int | float | bool):
                kind = type(value).__name__
                raise Misconfigured("E102", f"'{key}' takes text, numbers and true/false, not {kind}", place=key)
            if value in values[:k]:
                raise Misconfigured("E105", f"'{key}' has the value {scalar_text(value)} twice", place=key)
        checked[key] = values
    return checked


def base(settings: S, overrides: Mapping[str, Scalar], grid: Grid) -> S:
    """The job or scenario that the cells of a sweep differ from: `settings` with `overrides`.

    Where these contradict each other, but not beside the swept values, those of a cell stand in for what is swept:
    every cell states them again, so only what the cells are is judged.

    Raises:
        Misconfigured: E101–E106 as `override`; with the first cell as the place where it is the cell that cannot be.

    >>> hostile = base(Scenario(), {"attack": "sign-flip"}, {"attackers": (1, 2)})
    >>> hostile.attack, hostile.attackers
    ('sign-flip', 1)
    """
    try:
        return settings.override(overrides)
    except Misconfigured as error:
        refused = error
    kept = {key: value for key, value in {**settings.flat(), **overrides}.items() if key not in grid}
    swept = {key: values for key, values in grid.items() if key in settings.keys()}
    usable: list[S] = []
    failures: list[HedgerowError] = []
    for values in itertools.islice(itertools.product(*swept.values()), MOST_RUNS):
        own = dict(zip(swept, values, strict=True))
        try:
            usable.append(settings.override({**overrides, **own, **_implied(own)}))
        except Misconfigured as error:
            failures.append(in_cell(error, cell_words(own)) if error.message != refused.message else refused)
            continue
        if kept.items() <= usable[-1].flat().items():  # not a cell that takes something away from the others
            return usable[-1]
    if usable:
        return usable[0]
    raise failures[0]


def cells(job: Job, scenario: Scenario, grid: Grid, seeds: int) -> tuple[Cell, ...]:
    """Every run of a sweep, seed by seed: a sweep that is stopped has whole rounds of comparisons.

    The seeds are the scenario's own, that plus 1, and so on. `attackers = 0` implies `attack = "none"` and the other
    way round, so that either can be swept with nobody attacking among its values.

    Raises:
        Misconfigured: E101–E106 with the cell as the place; E103 for less than one seed or too many runs.

    >>> from hedgerow import Privacy, Secure
    >>> job = Job(privacy=Privacy(unit="record", epsilon=3.0, delta=1e-4), secure=Secure(mode="off"))
    >>> runs = cells(job, Scenario(seed=7), {"privacy.epsilon": (1, 8)}, seeds=2)
    >>> [run.name for run in runs]
    ['epsilon-1_seed-7', 'epsilon-8_seed-7', 'epsilon-1_seed-8', 'epsilon-8_seed-8']
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise Misconfigured("E103", f"seeds is {seeds!r}, but must be a whole number of at least 1", place="seeds")
    total = seeds
    for values in grid.values():
        total *= len(values)
    if total > MOST_RUNS:
        raise Misconfigured("E103", f"a sweep of {total:,} runs is too large: at most {MOST_RUNS:,}", place="seeds")
    taken: set[str] = set()
    made = []
    for k in range(seeds):
        for values in itertools.product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            made.append(_cell(job, scenario, settings, scenario.seed + k, repeated=seeds > 1, taken=taken))
    return tuple(made)


def cell_words(settings: Mapping[str, Scalar]) -> str:
    """Settings in a line.

    >>> cell_words({"privacy.epsilon": 3.0, "aggregate.rule": "krum"})
    'privacy.epsilon=3 aggregate.rule=krum'
    """
    return " ".join(f"{key}={scalar_text(value)}" for key, value in settings.items())


def scalar_text(value: Scalar) -> str:
    """A value as it is written after `--sweep`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def in_cell(error: HedgerowError, words: str) -> HedgerowError:
    """The error, with the cell before its place."""
    place = f"cell {words}" + (f", {error.place}" if error.place else "")
    return error_of(error.code, error.message, place=place, hint=error.hint)


def _cell(
    job: Job, scenario: Scenario, settings: Mapping[str, Scalar], seed: int, *, repeated: bool, taken: set[str]
) -> Cell:
    implied = _implied(settings)
    of_job = {key: value for key, value in settings.items() if key in Job.keys()}
    of_scenario = {key: value for key, value in settings.items() if key not in of_job}
    try:
        return Cell(
            name=_name(settings, seed, repeated, taken),
            settings=settings,
            implied=implied,
            seed=seed,
            job=job.override(of_job) if of_job else job,
            scenario=scenario.override({**of_scenario, **implied, "seed": seed}),
        )
    except Misconfigured as error:
        raise in_cell(error, cell_words({**settings, "seed": seed})) from None


def _implied(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    if settings.get("attackers") == 0 and "attack" not in settings:
        return {"attack": "none"}
    if settings.get("attack") == "none" and "attackers" not in settings:
        return {"attackers": 0}
    return {}


def _name(settings: Mapping[str, Scalar], seed: int, repeated: bool, taken: set[str]) -> str:
    """A folder's name: the keys' last parts where they tell the keys apart, and nothing that a file system minds."""
    last = [key.rpartition(".")[2] for key in settings]
    parts = [
        f"{short if last.count(short) == 1 else key}-{UNFIT.sub('-', scalar_text(value)).strip('-')}"
        for short, (key, value) in zip(last, settings.items(), strict=True)
    ]
    tail = [f"seed-{seed}"] if repeated or not settings else []
    stem = "_".join(["_".join(parts)[:LONGEST_NAME], *tail] if parts else tail)
    name = next(name for k in itertools.count(1) if (name := stem if k == 1 else f"{stem}-{k}") not in taken)
    taken.add(name)
    return name
