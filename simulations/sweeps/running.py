"""Run a sweep: what is finished never runs again, what was interrupted goes on, and what fails is written down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hedgerow.check import check_job
from hedgerow.errors import HedgerowError, Tampered
from hedgerow.events import Listener
from hedgerow.findings import refuse_errors
from hedgerow.job import Job
from hedgerow.report.sweeprows import SweepRun
from hedgerow.report.template import need_jinja2
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.conditions import Conditions, need_clock
from hedgerow.simulations.engine import engine_of, resume, simulate
from hedgerow.simulations.fitting import refuse_misfit
from hedgerow.simulations.sites import prepare, project_place
from hedgerow.simulations.sweeps.cells import Cell, checked_grid, in_cell
from hedgerow.simulations.sweeps.folder import SweepFolder
from hedgerow.simulations.sweeps.result import Sweep, read_cell
from hedgerow.task import Task

__all__ = ["Step", "resume_sweep", "sweep"]

OF_THE_MACHINE = frozenset({"E107", "E503", "E504", "E506"})  # the next run would fail alike: stop, and go on later


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a sweep stands: before its first run (`cell` is `None`), and after each one.

    `error` is what a run failed with; `left` are the seconds that the rest will take if runs go on taking as long.
    """

    folder: SweepFolder
    done: int
    cell: Cell | None = None
    run: SweepRun | None = None
    error: Exception | None = None
    left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What every run of a sweep gets and no result depends on."""

    workers: int | None
    memory: int | None
    address: str | None
    listeners: Sequence[Listener]


def say_nothing(step: Step) -> None:
    """Nobody listens."""


def no_command(cell: Cell) -> str:
    """A run from Python has no command."""
    return ""


def sweep(
    job: Job,
    task: Task,
    *,
    grid: Mapping[str, Iterable[Scalar]] | None = None,
    seeds: int = 1,
    scenario: Scenario | None = None,
    engine: str = "auto",
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    listeners: Sequence[Listener] = (),
    told: Callable[[Step], None] = say_nothing,
    project: str = "",
    command: str = "",
    run_command: Callable[[Cell], str] = no_command,
) -> Sweep:
    """Simulate `job` with every combination of the values in `grid`, each with `seeds` seeds, and compare them.

    The keys of the grid are the job's or the scenario's. The same seed is the same split, the same attackers and the
    same random streams in every cell. `listeners` hear every run's events, `told` where the sweep stands. A run that
    fails is written down with its code, and the sweep goes on. What was stopped goes on with `resume_sweep`.

    Raises:
        Misconfigured: whatever is wrong with any cell, with the cell as the place; nothing was written then.
        Exhausted: E503, E504 the disk takes nothing more.

    Example, how much accuracy a smaller ε costs:

    >>> import tempfile
    >>> from hedgerow import Job, Privacy, Scenario, Secure
    >>> from hedgerow.tasks import digits
    >>> private = Privacy(unit="record", epsilon=3.0, delta=1e-4)
    >>> result = sweep(Job(rounds=1, privacy=private, secure=Secure(mode="off")), digits(hidden=0),
    ...                grid={"privacy.epsilon": [1, 8]}, scenario=Scenario(sites=5), runs=tempfile.mkdtemp())
    >>> [(row["privacy.epsilon"], row["seeds"], row["metric"]) for row in result.table]
    [(1, 1, 'accuracy'), (8, 1, 'accuracy')]
    """
    engine_of(engine)
    need_jinja2()  # asked for before the runs, not after them
    planned = SweepFolder(
        path=Path(runs),
        job=job,
        scenario=Scenario() if scenario is None else scenario,
        grid=checked_grid(grid or {}),
        seeds=seeds,
        engine=engine,
        task=task.name if isinstance(task, Task) else "",
        project=project,
        command=command,
    )
    means = _Means(workers=workers, memory=memory, address=address, listeners=listeners)
    _refuse_unusable(planned, planned.cells, task, means)
    folder = planned.write(Path(runs), name)
    with folder.lock():
        return _through(folder, task, means, told, run_command)


def resume_sweep(
    folder: SweepFolder,
    task: Task,
    *,
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    told: Callable[[Step], None] = say_nothing,
    run_command: Callable[[Cell], str] = no_command,
) -> Sweep:
    """Go on with a sweep: finished runs stay as they are, interrupted and failed ones go on from their checkpoint.

    Raises:
        Misconfigured: as `sweep`, for the runs that were not started yet. Tampered: E401 a run in its folder has
            another job or scenario than its cell. Exhausted: as `sweep`; E506 if the sweep is running.
    """
    need_jinja2()
    means = _Means(workers=workers, memory=memory, address=address, listeners=listeners)
    with folder.lock():
        for cell in folder.cells:
            _refuse_another_run(folder, cell)
        _refuse_unusable(folder, (cell for cell in folder.cells if not _started(folder, cell)), task, means)
        return _through(folder, task, means, told, run_command)


def _through(
    folder: SweepFolder, task: Task, means: _Means, told: Callable[[Step], None], run_command: Callable[[Cell], str]
) -> Sweep:
    """Every run that is not finished; whatever happens, the report shows what was done."""
    waiting = [cell for cell in folder.cells if not _finished(folder, cell)]
    done = len(folder.cells) - len(waiting)
    told(Step(folder=folder, done=done))
    start = time.perf_counter()
    try:
        for k, cell in enumerate(waiting, 1):
            failure = _attempt(folder, cell, task, means, run_command)
            left = (time.perf_counter() - start) / k * (len(waiting) - k)
            run = read_cell(folder, cell)
            told(Step(folder=folder, done=done + k, cell=cell, run=run, error=failure, left=left))
    except BaseException:
        _draw_anyway(folder)
        raise
    result = Sweep(folder.path)
    result.draw()
    return result


def _attempt(
    folder: SweepFolder, cell: Cell, task: Task, means: _Means, run_command: Callable[[Cell], str]
) -> Exception | None:
    """Start or resume one run; returns what it failed with, unless the next one would fail alike."""
    path = folder.run_path(cell)
    try:
        if _started(folder, cell):
            resume(
                RunFolder.open(path),
                task,
                workers=means.workers,
                memory=means.memory,
                address=means.address,
                listeners=means.listeners,
            )
        else:
            shutil.rmtree(path, ignore_errors=True)  # of a kill before it had its job
            simulate(
                cell.job,
                task,
                scenario=cell.scenario,
                engine=folder.engine,
                workers=means.workers,
                memory=means.memory,
                address=means.address,
                runs=path.parent,
                name=cell.name,
                listeners=means.listeners,
                project=folder.project,
                command=run_command(cell),
            )
    except Exception as error:
        if isinstance(error, HedgerowError) and (error.code in OF_THE_MACHINE or not _started(folder, cell)):
            raise  # the second: nothing was written that could tell of it
        return error
    return None


def _draw_anyway(folder: SweepFolder) -> None:
    """The report of a sweep that stops; a disk that is full does not hide what stopped it."""
    try:
        Sweep(folder.path).draw()
    except HedgerowError:
        return


def _refuse_unusable(folder: SweepFolder, chosen: Iterable[Cell], task: Task, means: _Means) -> None:
    """Everything that would keep a cell from starting, before the first one runs."""
    engine, place = engine_of(folder.engine), project_place(folder.project)
    for cell in chosen:
        try:
            need_clock(cell.scenario, engine)
            prepared, scenario, sites = prepare(task, cell.scenario)
            if engine == "cohort":
                Conditions.of(scenario, len(sites), names=[site.name for site in sites], folder=place)
            refuse_errors(check_job(cell.job, prepared, sites))
            if engine == "cohort" and cell.seed == folder.scenario.seed:  # with another seed it fits just as well
                refuse_misfit(cell.job, prepared, sites, seed=cell.seed, workers=means.workers, memory=means.memory)
        except HedgerowError as error:
            raise in_cell(error, cell.words) from None


def _refuse_another_run(folder: SweepFolder, cell: Cell) -> None:
    """A run that is not the cell's was put there, or the sweep was changed."""
    if not _started(folder, cell):
        return
    run = RunFolder.open(folder.run_path(cell))
    expected = cell.scenario.flat()
    found = {} if run.scenario is None else run.scenario.flat()
    if cell.scenario.split == "column":  # has as many sites as the column has values
        found["sites"] = expected["sites"]
    if run.job.digest() != cell.job.digest() or found != expected:
        raise Tampered("E401", "a run has another job or scenario than its cell of the sweep", place=str(run.path))


def _started(folder: SweepFolder, cell: Cell) -> bool:
    return (folder.run_path(cell) / "job.json").exists()


def _finished(folder: SweepFolder, cell: Cell) -> bool:
    """Whether nothing is left to do; a run that was stopped before its report is resumed to draw it."""
    return read_cell(folder, cell).done and (folder.run_path(cell) / "report.html").exists()
