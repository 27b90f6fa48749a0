"""`server_app(task)`: the coordinator as a Flower ServerApp, the same simulated, by `flwr run` and `hedgerow local`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from hedgerow.errors import Misconfigured
from hedgerow.eventlog import EventLog
from hedgerow.events import Listener, RunResumed
from hedgerow.job import Job
from hedgerow.progress import Progress
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.server.framing import last_event, run_started
from hedgerow.server.ongoing import OngoingRun
from hedgerow.server.strategy import Strategy
from hedgerow.task import Task
from hedgerow.wire import model_record

__all__ = ["HedgerowServerApp", "RUN_VARIABLE", "coordinate", "server_app"]

RUN_VARIABLE = "HEDGEROW_RUN"  # the run folder that an engine prepared for a ServerApp in another process
RUNS_VARIABLE = "HEDGEROW_RUNS"  # where a ServerApp without a prepared folder makes one; `runs` here otherwise

FLOWER = "flower"  # the engine of a run that Flower started by itself


class HedgerowServerApp(ServerApp):
    """A ServerApp that knows its task, so that an engine can prepare the run and evaluate it afterwards."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task


def server_app(task: Task, *, folder: RunFolder | None = None, listeners: Sequence[Listener] = ()) -> ServerApp:
    """The coordinator's ServerApp.

    An engine prepares the run's folder and passes it (`folder`, or the environment variable HEDGEROW_RUN). Otherwise
    the job comes from Flower's run configuration and a folder is made under HEDGEROW_RUNS or `runs`; a run that stopped
    goes on if HEDGEROW_RUN names its folder.

    Raises:
        Misconfigured: E113 if the folder to go on with holds another job. As `coordinate`.
    """
    app = HedgerowServerApp(task)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        known = folder or _from_environment()
        if known is not None and known.engine != FLOWER:
            coordinate(task, known, grid, listeners=listeners)
            return
        job = Job.from_flat(dict(context.run_config))
        own = known or RunFolder.create(
            Path(os.environ.get(RUNS_VARIABLE, "runs")), job=job, scenario=None, engine=FLOWER, task=task.name
        )
        if own.job != job:
            raise Misconfigured("E113", "the run to go on with holds another job", place=str(own.path))
        with own.lock():
            _whole_run(task, own, grid, listeners or [Progress()])

    return app


def coordinate(task: Task, folder: RunFolder, grid: Grid, *, listeners: Sequence[Listener] = ()) -> None:
    """Run the rounds that the folder does not have yet, each durable before its model goes out.

    Raises:
        Exhausted: E501–E504. Misconfigured: E113 if the task's model is not the one in the folder, E130 in a simulation
            if the model mixes records at some site.
    """
    log = EventLog(folder.events, listeners=listeners)
    run = OngoingRun.begin(task, folder, log)
    layout = run.layout

    def evaluate_fn(number: int, arrays: ArrayRecord) -> MetricRecord | None:
        metrics = run.evaluate(number, layout.join({name: arrays[name].numpy() for name in layout.names}))
        return None if metrics is None else MetricRecord(dict(metrics))

    strategy = Strategy(
        folder.job,
        run=folder.name,
        tell=log.append,
        save=run.save,
        draw=run.draw,
        state=run.state,
        first_round=run.first_round,
        simulated=folder.scenario is not None,
        reference=run.reference,
        site_privacy=run.site_privacy,
    )
    record = model_record(layout, run.state.model)
    if run.first_round > 1:
        evaluate_fn(run.first_round - 1, record)  # the stop may have come before its evaluation
    strategy.start(grid, record, evaluate_fn=evaluate_fn)


def _whole_run(task: Task, folder: RunFolder, grid: Grid, listeners: Sequence[Listener]) -> None:
    """A run that no engine frames, or the rest of one: first event, rounds, last event, report."""
    log = EventLog(folder.events, listeners=listeners)
    run = Run(folder.path)
    if run.events("run-started"):
        log.append(RunResumed(after_round=run.rounds))
    else:
        log.append(run_started(task, folder, sites=len(list(grid.get_node_ids()))))
    with last_event(folder, listeners):
        coordinate(task, folder, grid, listeners=listeners)


def _from_environment() -> RunFolder | None:
    path = os.environ.get(RUN_VARIABLE)
    return RunFolder.open(Path(path)) if path else None
