"""`server_app(task)`: the coordinator as a Flower ServerApp, the same simulated, by `flwr run` and `hedgerow local`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from hedgerow.errors import Misconfigured
from hedgerow.evaluation import evaluate
from hedgerow.events import EventLog, Listener, RunResumed
from hedgerow.job import Job
from hedgerow.progress import Progress
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.server.framing import last_event, run_started
from hedgerow.server.round import GlobalState
from hedgerow.server.strategy import Strategy
from hedgerow.task import Task
from hedgerow.update import Layout
from hedgerow.wire import model_record

if TYPE_CHECKING:
    import torch

__all__ = ["HedgerowServerApp", "RUN_VARIABLE", "coordinate", "server_app"]

RUN_VARIABLE = "HEDGEROW_RUN"  # the run folder that an engine prepared for a ServerApp in another process
RUNS_VARIABLE = "HEDGEROW_RUNS"  # where a ServerApp without a prepared folder makes one; `runs` here otherwise

FLOWER = "flower"  # the engine of a run that Flower started by itself
COHORT_STREAM = 3  # the cohorts' part of a simulation's seed
DECLARED = "declared."  # prefix of the sites' frozen example counts among a checkpoint's tensors


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
        Exhausted: E501–E504. Misconfigured: E113 if the task's model is not the one in the folder.
    """
    log = EventLog(folder.events, listeners=listeners)
    model = task.model() if folder.scenario is None else _seeded_model(task, folder.scenario.seed)
    layout = Layout.of(model)
    state, first_round = _continued(folder, layout)
    if state is None:
        vector = layout.flatten(model)
        folder.save(0, layout, vector, {})
    else:
        vector = state.model
    held_out = task.held_out() if folder.job.evaluate == "server" else None

    def evaluate_fn(number: int, arrays: ArrayRecord) -> MetricRecord | None:
        if held_out is None:
            return None
        layout.load(layout.join({name: arrays[name].numpy() for name in layout.names}), model)
        event = evaluate(task, model, held_out, round=number)
        log.append(event)
        return MetricRecord(dict(event.metrics))

    def save(number: int, new: GlobalState, announce: Callable[[str], None]) -> None:
        declared = {f"{DECLARED}{site}": np.array([count], np.int64) for site, count in new.declared.items()}
        folder.save(number, layout, new.model, {**new.memory, **declared}, announce=announce)

    seed = None if folder.scenario is None else folder.scenario.seed
    strategy = Strategy(
        folder.job,
        run=folder.name,
        tell=log.append,
        save=save,
        draw=lambda number: np.random.default_rng(
            None if seed is None else np.random.SeedSequence(seed, spawn_key=(COHORT_STREAM, number))
        ),
        state=state,
        first_round=first_round,
    )
    if first_round > 1:
        evaluate_fn(first_round - 1, model_record(layout, vector))  # the stop may have come before its evaluation
    strategy.start(grid, model_record(layout, vector), evaluate_fn=evaluate_fn)


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


def _continued(folder: RunFolder, layout: Layout) -> tuple[GlobalState | None, int]:
    latest = folder.latest()
    if latest is None:
        return None, 1
    saved, checkpoint = latest
    if saved != layout:
        raise Misconfigured(
            "E113", "the task's model has other tensors than the run's checkpoint", place=str(folder.path)
        )
    if checkpoint.round == 0:
        return None, 1
    memory = {name: value for name, value in checkpoint.state.items() if not name.startswith(DECLARED)}
    declared = {
        name.removeprefix(DECLARED): int(value[0])
        for name, value in checkpoint.state.items()
        if name.startswith(DECLARED)
    }
    return GlobalState(model=checkpoint.model, memory=memory, declared=declared), checkpoint.round + 1


def _seeded_model(task: Task, seed: int) -> torch.nn.Module:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return task.model()
