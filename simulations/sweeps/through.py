"""Carry out a batch of runs: what is finished never runs again, what was interrupted goes on, and what fails is
written down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from hedgerow.errors import HedgerowError, Tampered
from hedgerow.runs import RunFolder
from hedgerow.simulations.engine import engine_of, resume, simulate
from hedgerow.simulations.starting import prepare_to_start
from hedgerow.simulations.sweeps.batch import Means, Step, read_cell, started
from hedgerow.simulations.sweeps.batchfolder import BatchFolder
from hedgerow.simulations.sweeps.cells import Cell, in_cell
from hedgerow.simulations.sweeps.found import BatchResult
from hedgerow.task import Task

__all__ = ["refuse_other_runs", "refuse_unusable", "run_through"]

OF_THE_MACHINE = frozenset({"E107", "E503", "E504", "E506"})  # the next run would fail alike: stop, and go on later

B = TypeVar("B", bound=BatchFolder)
R = TypeVar("R", bound=BatchResult[Any])


def run_through(
    batch: B,
    task: Task,
    means: Means,
    *,
    result: Callable[[Path], R],
    told: Callable[[Step[B]], None],
    run_command: Callable[[Cell], str],
) -> R:
    """Every run that is not finished, and the `result`; whatever happens, its report shows what was done."""
    waiting = [cell for cell in batch.cells if not _finished(batch, cell, means)]
    done = len(batch.cells) - len(waiting)
    told(Step(folder=batch, done=done))
    start = time.perf_counter()
    try:
        for k, cell in enumerate(waiting, 1):
            failure = _attempt(batch, cell, task, means, run_command)
            left = (time.perf_counter() - start) / k * (len(waiting) - k)
            run = read_cell(batch, cell)
            told(Step(folder=batch, done=done + k, cell=cell, run=run, error=failure, left=left))
    except BaseException:
        _draw_anyway(lambda: result(batch.path).draw())
        raise
    found = result(batch.path)
    found.draw()
    return found


def refuse_unusable(batch: BatchFolder, chosen: Iterable[Cell], task: Task, means: Means, *, seed: int) -> None:
    """Everything that would keep a cell from starting, before the first one runs; `seed` is the batch's first one.

    Raises:
        Misconfigured: with the cell as the place.
    """
    engine = engine_of(batch.engine)
    for cell in chosen:
        try:
            prepare_to_start(
                cell.job,
                task,
                cell.scenario,
                engine=engine,
                project=batch.project,
                workers=means.workers,
                memory=means.memory,
                fitting=cell.seed == seed,  # with another seed it fits just as well
            )
        except HedgerowError as error:
            raise in_cell(error, cell.words) from None


def refuse_other_runs(batch: BatchFolder) -> None:
    """A run that is not its cell's was put there, or the batch was changed.

    Raises:
        Tampered: E401.
    """
    for cell in batch.cells:
        if not started(batch, cell):
            continue
        run = RunFolder.open(batch.run_path(cell))
        expected = cell.scenario.flat()
        found = {} if run.scenario is None else run.scenario.flat()
        if cell.scenario.split == "column":  # has as many sites as the column has values
            found["sites"] = expected["sites"]
        if run.job.digest() != cell.job.digest() or found != expected:
            what = "a run has another job or scenario than its cell"
            raise Tampered("E401", what, place=str(run.path))


def _attempt(
    batch: BatchFolder, cell: Cell, task: Task, means: Means, run_command: Callable[[Cell], str]
) -> Exception | None:
    """Start or resume one run; returns what it failed with, unless the next one would fail alike."""
    path = batch.run_path(cell)
    try:
        if started(batch, cell):
            resume(
                RunFolder.open(path),
                task,
                workers=means.workers,
                memory=means.memory,
                address=means.address,
                listeners=means.listeners,
                bare=means.bare,
            )
        else:
            shutil.rmtree(path, ignore_errors=True)  # of a kill before it had its job
            simulate(
                cell.job,
                task,
                scenario=cell.scenario,
                engine=batch.engine,
                workers=means.workers,
                memory=means.memory,
                address=means.address,
                runs=path.parent,
                name=cell.name,
                listeners=means.listeners,
                project=batch.project,
                command=run_command(cell),
                bare=means.bare,
            )
    except Exception as error:
        if isinstance(error, HedgerowError) and (error.code in OF_THE_MACHINE or not started(batch, cell)):
            raise  # the second: nothing was written that could tell of it
        return error
    return None


def _draw_anyway(draw: Callable[[], object]) -> None:
    """The report of a batch that stops; a disk that is full does not hide what stopped it."""
    try:
        draw()
    except HedgerowError:
        return


def _finished(batch: BatchFolder, cell: Cell, means: Means) -> bool:
    """Whether nothing is left to do; a run that was stopped before its report is resumed to draw it."""
    return read_cell(batch, cell).done and (means.bare or (batch.run_path(cell) / "report.html").exists())
