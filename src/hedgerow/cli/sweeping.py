"""`hedgerow sim --seeds … --sweep …`, and `hedgerow resume` and `hedgerow report` for what it made."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hedgerow.cli.again import resume_command
from hedgerow.cli.answer import failed_after
from hedgerow.cli.outcome import closing_words
from hedgerow.cli.overriding import at_option, command, read_words, scenario_words
from hedgerow.cli.simulating import Asked, Means, task_of
from hedgerow.cli.sitelog import failures_once
from hedgerow.cli.sweeplines import StepLines, start_words, table_lines
from hedgerow.errors import Misconfigured, error_of
from hedgerow.job import Job
from hedgerow.project import Project
from hedgerow.report.sweeprows import SweepRow
from hedgerow.settings import Scalar, Settings
from hedgerow.simulations.sweeps import Cell, Sweep
from hedgerow.simulations.sweeps.cells import Grid, base, cells, checked_grid, scalar_text

__all__ = ["read_sweeps", "report_sweep", "resume_sweep_of", "run_command", "sweep_project"]

S = TypeVar("S", bound=Settings)

OF_A_SWEEP = ("--seeds", "--sweep")


def sweep_project(asked: Asked, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Simulate a project with every combination of the swept values and every seed.

    Raises:
        Misconfigured: whatever is wrong with the options or with any cell; nothing was written then.
        Failed: some run failed; the envelope's error has everything that a sweep without failures answers with.
    """
    from hedgerow.simulations.sweeps import sweep
    from hedgerow.simulations.sweeps.batch import say_nothing

    asked.refuse_wrong()
    grid = read_sweeps(asked.sweeps)
    project = Project.open(asked.path)
    task = project.task()
    option = "--sweep" if asked.sweeps else "--seeds"
    if task is None:
        hint = "leave it out; another Flower app runs as it is"
        raise Misconfigured("E105", f"{option} means nothing to another Flower app", place=option, hint=hint)
    job = _base(project.job(), "-c", read_words("-c", asked.config), grid)
    scenario = _base(project.scenario(), *scenario_words(asked.scenario, asked.sites), grid)
    try:
        cells(job, scenario, grid, asked.seeds)
    except Misconfigured as error:
        raise _at(option, error) from None
    with failures_once():
        try:
            done = sweep(
                job,
                task,
                grid=grid,
                seeds=asked.seeds,
                scenario=scenario,
                engine=asked.engine,
                workers=asked.means.workers,
                memory=asked.means.memory_bytes,
                address=asked.means.address or None,
                runs=runs,
                told=say_nothing if quiet else StepLines(start_words),
                project=str(project.folder),
                command=asked.command,
                run_command=partial(run_command, asked.command),
            )
        except Misconfigured as error:
            raise (_at(option, error) if error.place.startswith("cell ") else error) from None
    return _answer(done, runs, quiet=quiet)


def resume_sweep_of(found: Sweep, means: Means, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Go on with a sweep.

    Raises:
        Misconfigured: E113 if its code cannot be found again. Failed: as `sweep_project`.
    """
    from hedgerow.simulations.sweeps import resume_sweep
    from hedgerow.simulations.sweeps.batch import say_nothing

    folder = found.folder
    means.refuse_wrong(folder.engine)
    task = task_of(folder.project, folder.name, "sweeps.resume_sweep(SweepFolder.open(path), task)")
    with failures_once():
        done = resume_sweep(
            folder,
            task,
            workers=means.workers,
            memory=means.memory_bytes,
            address=means.address or None,
            told=say_nothing if quiet else StepLines(start_words),
            run_command=partial(run_command, folder.command),
        )
    return _answer(done, runs, quiet=quiet)


def report_sweep(found: Sweep, others: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """Draw a sweep's report again.

    Raises:
        Misconfigured: E105 for other runs to set beside it.
    """
    if others:
        what = f"'{found.name}' is a sweep: nothing is set beside it"
        raise Misconfigured("E105", what, place=" ".join(others), hint=f"hedgerow report {found.name}")
    page = found.draw()
    return {"sweep": found.name, "report": str(page)}, str(page)


def read_sweeps(options: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    """The grid after every `--sweep`: `key=value,value`, each value read as after `-c`; `"a,b"` is one value.

    Raises:
        Misconfigured: E101 unknown key, E102 not of this form, E103 an empty list or value, E105 a key or value twice.

    >>> read_sweeps(["privacy.epsilon=1,3", "aggregate.rule=median,krum"])
    {'privacy.epsilon': (1, 3), 'aggregate.rule': ('median', 'krum')}
    """
    grid: dict[str, tuple[Scalar, ...]] = {}
    for option in options:
        key, equals, text = (part.strip() for part in option.partition("="))
        if not equals or not key:
            hint = "write for example --sweep privacy.epsilon=1,3,8"
            raise Misconfigured("E102", f"'{option}' is not key=value,value", place="--sweep", hint=hint)
        if key in grid:
            hint = "write all of its values after one --sweep"
            raise Misconfigured("E105", f"'{key}' is swept twice", place=f"--sweep, {key}", hint=hint)
        fields = next(csv.reader([text], skipinitialspace=True), []) if text else []
        if not all(field.strip() for field in fields):
            raise Misconfigured("E103", f"'{key}' has an empty value in '{text}'", place=f"--sweep, {key}")
        try:
            read = [read_words("--sweep", f"{key}={shlex.quote(field.strip())}")[key] for field in fields]
            grid[key] = checked_grid({key: read})[key]
        except Misconfigured as error:
            raise at_option("--sweep", error) if not error.place.startswith("--sweep") else error from None
    return grid


def run_command(of_sweep: str, cell: Cell) -> str:
    """The command of one run, from that of its sweep; empty where the sweep has none."""
    if not of_sweep.startswith("hedgerow sim "):
        return ""
    _, verb, path, *rest = shlex.split(of_sweep)
    options = [pair for pair in zip(rest[::2], rest[1::2], strict=True) if pair[0] not in OF_A_SWEEP]
    said = {option: value for option, value in options if option in ("-c", "-s")}
    changed = {**cell.settings, **cell.implied, "seed": cell.seed}
    kept = [pair for pair in options if pair[0] not in said and not (pair[0] == "--sites" and "sites" in changed)]
    job = {key: value for key, value in changed.items() if key in Job.keys()}
    scenario = {key: value for key, value in changed.items() if key not in job}
    return command(verb, path, _words(said.get("-c", ""), job), _words(said.get("-s", ""), scenario), kept)


def _words(before: str, changed: Mapping[str, Scalar]) -> str:
    """Override words with some keys changed; those that were there and did not change stay as they were written."""
    values: dict[str, Scalar] = {**read_words("", before), **changed}
    if changed.get("privacy.unit") == "none":  # takes the budget with it, unless it is stated
        for key in {"privacy.epsilon", "privacy.delta"} - changed.keys():
            values.pop(key, None)
    return " ".join(f"{key}={shlex.quote(scalar_text(value))}" for key, value in values.items())


def _answer(done: Sweep, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """The envelope's data and the words; an error with the first failed run's code if there is one."""
    data = {
        "sweep": done.name,
        "folder": str(done.path),
        "report": str(done.report),
        "status": done.status,
        "cells": [_cell_data(done, row, record) for row, record in zip(done.rows, done.table, strict=True)],
    }
    words = "\n".join([*table_lines(done), closing_words(done)])
    if done.status == "finished":
        return data, words
    failed = done.failed or tuple(run for run in done.outcomes if not run.done)
    error = error_of(
        failed[0].code or "E900",
        f"{len(failed)} of {len(done.outcomes)} runs failed; {failed[0].name}: {failed[0].reason or failed[0].status}",
        place=str(done.path),
        hint=f"the report is {done.report}; those that stopped are tried again by: {resume_command(runs, done.name)}",
    )
    raise failed_after(words, error, data, quiet=quiet)


def _cell_data(done: Sweep, row: SweepRow, record: Mapping[str, object]) -> dict[str, Any]:
    """A cell in the envelope: what its runs add up to, and each of them."""
    told = {key: _plain(value) for key, value in record.items() if key not in row.settings and key != "failed"}
    runs = [
        {
            "run": run.name,
            "seed": run.seed,
            "status": run.status,
            "code": run.code,
            "value": run.value,
            "epsilon": _plain(run.epsilon),
        }
        for run in row.runs
    ]
    privacy = next(cell.job.privacy for cell in done.folder.cells if cell.name == row.runs[0].name)
    told["delta"] = privacy.delta  # an ε means nothing without it
    return {"settings": dict(row.settings), **told, "failed": [run.name for run in row.failed], "runs": runs}


def _plain(value: Any) -> Any:
    """A number that JSON does not have becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _base(settings: S, option: str, overrides: Mapping[str, Scalar], grid: Grid) -> S:
    """As `base`, with the option as the place of what is wrong in any cell."""
    try:
        return base(settings, overrides, grid)
    except Misconfigured as error:
        raise at_option("--sweep" if error.place.startswith("cell ") else option, error) from None


def _at(option: str, error: Misconfigured) -> Misconfigured:
    """The error with the option as its place; a wrong number of seeds is there itself."""
    if error.place == "seeds":
        return Misconfigured(error.code, error.message, place="--seeds", hint=error.hint)
    return at_option(option, error)
