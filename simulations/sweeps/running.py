"""Run a sweep: what is finished never runs again, what was interrupted goes on, and what fails is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hedgerow.events import Listener
from hedgerow.job import Job
from hedgerow.report.template import need_jinja2
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.engine import engine_of
from hedgerow.simulations.sweeps.batch import Means, Step, no_command, say_nothing, started
from hedgerow.simulations.sweeps.cells import Cell, checked_grid
from hedgerow.simulations.sweeps.folder import SweepFolder
from hedgerow.simulations.sweeps.result import Sweep
from hedgerow.simulations.sweeps.through import refuse_other_runs, refuse_unusable, run_through
from hedgerow.task import Task

__all__ = ["resume_sweep", "sweep"]


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
    told: Callable[[Step[SweepFolder]], None] = say_nothing,
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
    means = Means(workers=workers, memory=memory, address=address, listeners=listeners)
    refuse_unusable(planned, planned.cells, task, means, seed=planned.scenario.seed)
    folder = planned.write(Path(runs), name)
    with folder.lock():
        return run_through(folder, task, means, result=Sweep, told=told, run_command=run_command)


def resume_sweep(
    folder: SweepFolder,
    task: Task,
    *,
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    told: Callable[[Step[SweepFolder]], None] = say_nothing,
    run_command: Callable[[Cell], str] = no_command,
) -> Sweep:
    """Go on with a sweep: finished runs stay as they are, interrupted and failed ones go on from their checkpoint.

    Raises:
        Misconfigured: as `sweep`, for the runs that were not started yet. Tampered: E401 a run in its folder has
            another job or scenario than its cell. Exhausted: as `sweep`; E506 if the sweep is running.
    """
    need_jinja2()
    means = Means(workers=workers, memory=memory, address=address, listeners=listeners)
    with folder.lock():
        refuse_other_runs(folder)
        left = [cell for cell in folder.cells if not started(folder, cell)]
        refuse_unusable(folder, left, task, means, seed=folder.scenario.seed)
        return run_through(folder, task, means, result=Sweep, told=told, run_command=run_command)
