"""Simulate a job on this machine: one call from job and task to a run with a report.

```
job, task, scenario ─► check ─► run folder ─► rounds (cohort | in-process | ray | local) ─► leakage ─► gate ─► report
```
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.eventlog import EventLog
from hedgerow.events import DataDescribed, Listener, RunResumed
from hedgerow.interrupts import interrupts_wait
from hedgerow.job import Job
from hedgerow.report import write_report
from hedgerow.report.template import need_jinja2
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.server.framing import last_event, run_started
from hedgerow.server.ongoing import OngoingRun
from hedgerow.simulations.attacks import attacker_indices
from hedgerow.simulations.cohort.device import device_of
from hedgerow.simulations.cohort.rounds import cohort_rounds
from hedgerow.simulations.fitting import refuse_misfit
from hedgerow.simulations.leakage import measure_leakage, tell_leakage
from hedgerow.simulations.rounds import in_process_rounds, ray_rounds
from hedgerow.simulations.sites import prepare
from hedgerow.simulations.splittask import SplitTask
from hedgerow.simulations.stage import Stage, one_thread
from hedgerow.simulations.starting import prepare_to_start
from hedgerow.task import Site, Task

__all__ = ["ENGINES", "engine_of", "resume", "simulate"]


def _local_rounds(stage: Stage) -> None:
    from hedgerow.simulations.locally import local_rounds  # the servers' side takes long to import

    local_rounds(stage)


ENGINES: Mapping[str, Callable[[Stage], None]] = {
    "cohort": cohort_rounds,
    "in-process": in_process_rounds,
    "ray": ray_rounds,
    "local": _local_rounds,
}


def engine_of(name: str) -> str:
    """The engine that `name` stands for; `auto` is the fastest one.

    Raises:
        Misconfigured: E103 for an unknown name.

    >>> engine_of("auto"), engine_of("ray")
    ('cohort', 'ray')
    """
    engine = "cohort" if name == "auto" else name
    if engine not in ENGINES:
        hint = "the engines are " + ", ".join(["auto", *ENGINES])
        raise Misconfigured("E103", f"unknown engine '{name}'", place="engine", hint=hint)
    return engine


def _refuse_unused(
    engine: str, *, workers: int | None, memory: int | None, address: str | None, device: str = "auto"
) -> None:
    """Refuse what an engine has no use for, rather than take it without a word."""
    for name, value, home in (
        ("workers", workers, "cohort"),
        ("memory", memory, "cohort"),
        ("address", address, "ray"),
        ("device", None if device == "auto" else device, "cohort"),
    ):
        if value is not None and engine != home:
            hint = f"leave it out, or take the engine {home}"
            raise Misconfigured("E105", f"engine '{engine}' has no use for {name}", place=name, hint=hint)


def simulate(
    job: Job,
    task: Task,
    *,
    scenario: Scenario | None = None,
    engine: str = "auto",
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    device: str = "auto",
    runs: str | Path = "runs",
    name: str | None = None,
    listeners: Sequence[Listener] = (),
    project: str = "",
    command: str = "",
    bare: bool = False,
) -> Run:
    """Run `job` on `task` with simulated sites and return the finished run, its report written.

    A task whose records are in one pool (the ready ones) is split as the scenario says. `engine` is one of

    - `auto`, the fastest: `cohort`;
    - `cohort`: a round's sites are trained together in this process, by `workers` threads (all cores unless said)
      within `memory` bytes, or on a `device`: `cuda` is PyTorch's current GPU, and `auto` the CPU, always;
    - `in-process`: Flower's messages, one site after another;
    - `ray`: Flower's simulation on Ray, here or on the cluster at `address`;
    - `local`: real Flower servers and a process per site, which needs `project`, the folder of the app.

    The same seed gives the same model on each, to the byte but for `cohort`, which adds in another order and differs
    in the last bits (on a GPU from call to call as well). `name` is the folder's below `runs`; `listeners` hear every
    event; `command` is the one that starts the same run again, for the report. A `bare` run is one of many: no leakage
    is measured, no gate judged and no report drawn, which `hedgerow report` does later.

    Raises:
        Misconfigured: whatever `hedgerow check` would call an error, E103 for an unknown engine or device, E105 for
            conditions that need a clock on an engine without one, for what an engine has no use for, and for an attack
            on real servers that sees more than one site does, E107 for a device that is not there; nothing was written
            then. Later, as the engine says.
        Exhausted: the run stopped early (its folder and checkpoint stay; `hedgerow resume` continues it), or E507 the
            finished run failed its gate.

    Example, 10 sites on handwritten digits:

    >>> import tempfile
    >>> from hedgerow import Job, Local, Privacy, Secure
    >>> from hedgerow.tasks import digits
    >>> job = Job(rounds=5, local=Local(lr=0.5), privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    >>> run = simulate(job, digits(hidden=0), runs=tempfile.mkdtemp())
    >>> run.final["accuracy"] > 0.7
    True
    """
    engine = engine_of(engine)
    need_jinja2()  # asked for before the rounds, not after them
    _refuse_unused(engine, workers=workers, memory=memory, address=address, device=device)
    device_of(device)  # one that is not there is refused before anything is written
    task, scenario, sites = prepare_to_start(
        job,
        task,
        Scenario() if scenario is None else scenario,
        engine=engine,
        project=project,
        workers=workers,
        memory=memory,
        device=device,
    )
    folder = RunFolder.create(
        Path(runs),
        job=job,
        scenario=scenario,
        engine=engine,
        task=task.name,
        project=project,
        name=name,
    )
    stage = Stage.of(
        folder,
        task,
        scenario,
        sites,
        listeners=listeners,
        workers=workers,
        memory=memory,
        address=address,
        device=device,
        bare=bare,
    )
    with folder.lock(), torch.random.fork_rng(devices=[]):
        _tell_start(stage, command)
        return _whole(stage)


def resume(
    folder: RunFolder,
    task: Task,
    *,
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    bare: bool = False,
) -> Run:
    """Continue a simulated run from its last told checkpoint, to the same bytes and events as without the stop.

    A run on a GPU goes on there, and is the same as without the stop to float precision.
    A finished run is returned as it is, and fails again if it failed its gate.

    Raises:
        Misconfigured: E113 for a deployment's run or another model, E105 for too little memory and E107 if what trained
            it is not there now; nothing was written then. Exhausted: as `simulate`; E506 if it is running.
    """
    if folder.scenario is None:
        raise Misconfigured(
            "E113",
            "this run was started by Flower itself, and only Flower reaches its sites",
            place=folder.name,
            hint=f"start the app again on a SuperLink that has HEDGEROW_RUN={folder.path.resolve()} in its environment",
        )
    need_jinja2()
    _refuse_unused(folder.engine, workers=workers, memory=memory, address=address)
    task, scenario, sites = prepare(task, folder.scenario)
    stage = Stage.of(
        folder, task, scenario, sites, listeners=listeners, workers=workers, memory=memory, address=address, bare=bare
    )
    with folder.lock(), torch.random.fork_rng(devices=[]):
        run = Run(folder.path)
        if run.status == "finished":
            if not bare and (
                not run.report.exists() or run.report.stat().st_mtime_ns < folder.events.stat().st_mtime_ns
            ):
                write_report(run.path)  # the run was stopped between its last event and its report
            return _through_its_gate(run)
        if folder.engine == "cohort" and run.rounds < folder.job.rounds:
            chosen = run.events("engine-chosen")
            told = chosen[-1] if chosen else None
            refuse_misfit(folder.job, task, sites, seed=scenario.seed, workers=workers, memory=memory, told=told)
        _tell_start(stage, "")
        stage.log.append(RunResumed(after_round=run.rounds))
        return _whole(stage)


def _tell_start(stage: Stage, command: str) -> None:
    """Tell what the run is and each site's share, as far as it was not told before a stop."""
    run = Run(stage.folder.path)
    if not run.events("run-started"):
        attackers = sorted(stage.sites[index].name for index in attacker_indices(stage.scenario))
        stage.log.append(
            run_started(stage.task, stage.folder, sites=len(stage.sites), command=command, attackers=attackers)
        )
    described = {event["site"] for event in run.events("data-described")}
    stage.log.append_all([_described(stage.task, site) for site in stage.sites if site.name not in described])


def _described(task: Task, site: Site) -> DataDescribed:
    if isinstance(task, SplitTask):  # without a copy of the share
        y, held_out = task.inner.pool().train.y[task.shares[site.index]], 0
    else:
        data = task.data(site)
        y, held_out = data.train.y, len(data.test)
    names = task.labels
    labels = np.bincount(y, minlength=len(names)).tolist() if len(y) else []
    return DataDescribed(site=site.name, train=len(y), test=held_out, labels=labels, label_names=names)


def _whole(stage: Stage) -> Run:
    """The rounds and what follows them; whatever happens, the last event and the report are written.

    A Ctrl-C after the measurement waits for both: nothing is left to do then that takes time.
    """
    own = stage.folder.engine == "cohort"
    with (
        contextlib.ExitStack() as waiting,
        last_event(stage.folder, stage.listeners, stage.log if own else None, report=not stage.bare),
        one_thread(),
    ):
        if not _rounds_are_over(stage):
            ENGINES[stage.folder.engine](stage)
        if stage.bare:
            return Run(stage.folder.path)
        log = stage.log if own else EventLog(stage.folder.events, listeners=stage.listeners)
        results = measure_leakage(stage.folder, stage.task, stage.scenario, stage.sites, log)
        waiting.enter_context(interrupts_wait())
        tell_leakage(stage.folder, results, log)
    return _through_its_gate(Run(stage.folder.path))


def _rounds_are_over(stage: Stage) -> bool:
    """Whether a stop came after the last round was committed: then no engine is started again to find that out."""
    run = Run(stage.folder.path)
    if run.rounds < stage.folder.job.rounds:
        return False
    if stage.folder.job.evaluate == "server" and not any(
        event["round"] == run.rounds and event["where"] == "server" for event in run.events("evaluated")
    ):
        ongoing = OngoingRun.begin(stage.task, stage.folder, stage.log)
        ongoing.evaluate(run.rounds, ongoing.state.model)
    return True


def _through_its_gate(run: Run) -> Run:
    failed = next((event for event in run.events("gate-checked") if not event["passed"]), None)
    if failed is not None:
        raise Exhausted("E507", f"gate {failed['text']}", place=str(run.path), hint=f"the report is {run.report}")
    return run
