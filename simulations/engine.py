"""Simulate a job on this machine: one call from job and task to a run with a report.

```
job, task, scenario ─► check ─► run folder ─► engine (in-process | ray) ─► leakage ─► gate ─► report
```
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from hedgerow.check import check_job
from hedgerow.client import client_app
from hedgerow.errors import Exhausted, HedgerowError, Misconfigured
from hedgerow.events import DataDescribed, EventLog, GateChecked, LeakageMeasured, Listener, RunResumed
from hedgerow.findings import refuse_errors
from hedgerow.flowercompat import quiet_flower
from hedgerow.job import Job
from hedgerow.report import write_report
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.server.app import run_finished, run_started, server_app
from hedgerow.settings import Scalar
from hedgerow.simulations.attacks import Attack, attacker_indices, hostile
from hedgerow.simulations.localgrid import LocalNode, run_in_process
from hedgerow.simulations.partition import SplitTask, site_names, split
from hedgerow.task import PooledTask, Site, Task

__all__ = ["ENGINES", "SimulatedClientApp", "prepare", "resume", "simulate"]

ENGINES = ("in-process", "ray")
LEAKAGE_STREAM = 6  # the evaluator's part of a simulation's seed


def simulate(
    job: Job,
    task: Task,
    *,
    scenario: Scenario | None = None,
    engine: str = "in-process",
    runs: str | Path = "runs",
    name: str | None = None,
    listeners: Sequence[Listener] = (),
    project: str = "",
    command: str = "",
    variant: str = "",
) -> Run:
    """Run `job` on `task` with simulated sites and return the finished run, its report written.

    A task whose records are in one pool (the ready ones) is split as the scenario says.

    Raises:
        Misconfigured: whatever `hedgerow check` would call an error; nothing was written then.
        Exhausted: the run stopped early (its folder and checkpoint stay; `hedgerow resume` continues it), or E507 the
            finished run failed its gate.

    Example, 10 sites on handwritten digits:

    >>> import tempfile, hedgerow
    >>> from hedgerow.tasks import digits
    >>> job = hedgerow.Job(rounds=3, privacy=hedgerow.Privacy(unit="none"), secure=hedgerow.Secure(mode="off"))
    >>> run = simulate(job, digits(), runs=tempfile.mkdtemp())
    >>> run.final["accuracy"] > 0.7
    True
    """
    scenario = Scenario() if scenario is None else scenario
    if engine not in ENGINES:
        raise Misconfigured("E103", f"unknown engine '{engine}'", hint="the engines are " + ", ".join(ENGINES))
    task, scenario, sites = prepare(task, scenario)
    refuse_errors(check_job(job, task, sites))
    folder = RunFolder.create(
        Path(runs),
        job=job,
        scenario=scenario,
        engine=engine,
        task=task.name,
        project=project,
        name=name,
        variant=variant,
    )
    with folder.lock():
        log = EventLog(folder.events, listeners=listeners)
        _tell_start(log, folder, task, scenario, command)
        return _framed(folder, task, scenario, listeners)


def resume(folder: RunFolder, task: Task, *, listeners: Sequence[Listener] = ()) -> Run:
    """Continue a simulated run from its last checkpoint, to the same bytes as without the stop.

    A finished run is returned as it is.

    Raises:
        Misconfigured: E113 for a deployment's run or another model. Exhausted: as `simulate`; E506 if it is running.
    """
    if folder.scenario is None:
        raise Misconfigured("E113", "this run was a deployment; start its ServerApp again instead", place=folder.name)
    task, scenario, _ = prepare(task, folder.scenario)
    with folder.lock():
        run = Run(folder.path)
        if run.status == "finished":
            return run
        log = EventLog(folder.events, listeners=listeners)
        if not folder.events.exists():
            _tell_start(log, folder, task, scenario, "")
        log.append(RunResumed(after_round=max(folder.rounds(), default=0)))
        return _framed(folder, task, scenario, listeners)


class SimulatedClientApp(ClientApp):
    """One ClientApp for all simulated nodes: gives each its site's settings, and runs hostile sites' own version."""

    def __init__(
        self,
        honest: ClientApp,
        *,
        settings: Sequence[Mapping[str, Scalar]],
        run_config: Mapping[str, Scalar],
        hostile: Mapping[int, Callable[[Message, Context], Message]],
    ) -> None:
        super().__init__()
        self._honest = honest
        self._settings = settings
        self._run_config = run_config
        self._hostile = hostile

    def __call__(self, message: Message, context: Context) -> Message:
        index = int(context.node_config["partition-id"])
        own = Context(  # Flower refuses a context whose configuration changed
            run_id=context.run_id,
            node_id=context.node_id,
            node_config={**context.node_config, **self._settings[index]},
            state=context.state,
            run_config={**context.run_config, **self._run_config},
        )
        torch.set_num_threads(1)  # a worker of Ray: the same bytes as in this process
        return self._hostile.get(index, self._honest)(message, own)


def prepare(task: Task, scenario: Scenario) -> tuple[Task, Scenario, list[Site]]:
    """The task split into sites, the scenario with as many sites as the split has, and those sites.

    A split by column has a site for each of the column's values.
    """
    if isinstance(task, SplitTask):
        task = task.inner  # split by the project for its sites; a simulation may ask for another split
    if isinstance(task, PooledTask):
        task = split(task, scenario)
    if isinstance(task, SplitTask) and len(task.site_names) != scenario.sites:
        scenario = scenario.override({"sites": len(task.site_names)})
    return task, scenario, simulated_sites(task, scenario)


def simulated_sites(task: Task, scenario: Scenario) -> list[Site]:
    """The sites that a simulation of `task` has."""
    names = task.site_names if isinstance(task, SplitTask) else site_names(scenario)
    return [Site(name=name, index=index, count=len(names)) for index, name in enumerate(names)]




def _tell_start(log: EventLog, folder: RunFolder, task: Task, scenario: Scenario, command: str) -> None:
    sites = simulated_sites(task, scenario)
    attackers = sorted(sites[index].name for index in attacker_indices(scenario))
    log.append(run_started(task, folder, sites=len(sites), command=command, attacker_sites=attackers))
    for site in sites:
        data = task.data(site)
        labels = np.bincount(data.train.y, minlength=len(task.labels)).tolist() if len(data.train) else []
        log.append(
            DataDescribed(
                site=site.name, train=len(data.train), test=len(data.test), labels=labels, label_names=task.labels
            )
        )


def _framed(folder: RunFolder, task: Task, scenario: Scenario, listeners: Sequence[Listener]) -> Run:
    """Run the rounds and what follows them; whatever happens, the last event and the report are written."""
    with _last_event(folder, listeners), _one_thread():
        sites = simulated_sites(task, scenario)
        honest = client_app(task)
        attack = Attack.of(scenario)
        attackers = attacker_indices(scenario)
        client = SimulatedClientApp(
            honest,
            settings=[_site_settings(site, folder, scenario) for site in sites],
            run_config=folder.job.flat(),
            hostile={index: hostile(honest, str(attack), seed=scenario.seed) for index in attackers if attack},
        )
        server = server_app(task, folder=folder, listeners=listeners)
        _run_engine(folder.engine, server, client, len(sites))
        _measure_leakage(folder, task, scenario, sites, listeners)
    run = Run(folder.path)
    failed = next((event for event in run.events("gate-checked") if not event["passed"]), None)
    if failed is not None:
        raise Exhausted("E507", failed["text"], place=str(folder.path), hint=f"the report is {run.report}")
    return run


def _run_engine(engine: str, server: ServerApp, client: ClientApp, sites: int) -> None:
    with quiet_flower(logging.ERROR):
        if engine == "ray":
            from hedgerow.simulations.ray import run_on_ray

            run_on_ray(server, client, sites)
        else:
            nodes = [
                LocalNode(node_id=index + 1, config={"partition-id": index, "num-partitions": sites})
                for index in range(sites)
            ]
            run_in_process(server, client, nodes)


def _site_settings(site: Site, folder: RunFolder, scenario: Scenario) -> dict[str, Scalar]:
    return {
        "partition-id": site.index,
        "num-partitions": site.count,
        "site-name": site.name,
        "site-store": str(folder.path.resolve()),
        "simulation-seed": scenario.seed,
    }


def _measure_leakage(
    folder: RunFolder, task: Task, scenario: Scenario, sites: Sequence[Site], listeners: Sequence[Listener]
) -> None:
    """The membership attack on the final model, per site, then the gate on the result over all sites."""
    from hedgerow.privacy.leakage import Gate, loss_threshold

    log = EventLog(folder.events, listeners=listeners)
    held_out = task.held_out()
    results: Sequence[Any] = ()
    latest = folder.latest()
    if held_out is not None and len(held_out) and latest is not None and np.isfinite(latest[1].model).all():
        layout, checkpoint = latest
        model = task.model()
        layout.load(checkpoint.model, model)
        shares = {site.name: task.data(site).train for site in sites}
        results = loss_threshold(
            model,
            {name: (torch.from_numpy(share.x), torch.from_numpy(share.y)) for name, share in shares.items()},
            (torch.from_numpy(held_out.x), torch.from_numpy(held_out.y)),
            loss=task.loss,
            rng=np.random.default_rng(np.random.SeedSequence(scenario.seed, spawn_key=(LEAKAGE_STREAM,))),
        )
        for result in results:
            log.append(LeakageMeasured(result=result.to_dict()))
    if folder.job.leakage.gate:
        outcome = Gate.parse(folder.job.leakage.gate).check(results[:1])
        log.append(GateChecked(gate=folder.job.leakage.gate, passed=outcome.passed, text=outcome.text))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: two sum in another order, so the bytes would depend on the machine; small models lose by them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _last_event(folder: RunFolder, listeners: Sequence[Listener]) -> Iterator[None]:
    start = time.perf_counter()
    error: BaseException | None = None
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        try:
            log = EventLog(folder.events, listeners=listeners)
            log.append(run_finished(folder, seconds=time.perf_counter() - start, error=error))
            write_report(folder.path)
        except HedgerowError:
            if error is None:  # a full disk that already stopped the run must not hide behind its own consequences
                raise
