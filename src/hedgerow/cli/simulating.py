"""`hedgerow sim`, `hedgerow local` and `hedgerow resume`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgerow.cli.demo import DEMO, demo_task, say_nothing, say_twin, with_twins
from hedgerow.cli.outcome import closing_words, find_run, run_data
from hedgerow.cli.overriding import command, overridden, read_words
from hedgerow.cli.sitelog import failures_once
from hedgerow.errors import Misconfigured
from hedgerow.events import Listener
from hedgerow.progress import Progress
from hedgerow.project import Project
from hedgerow.runs import RunFolder
from hedgerow.settings import nearest
from hedgerow.task import Task

__all__ = ["resume_run", "run_project_locally", "simulate_project"]

SIMULATED = ("in-process", "ray")
REACHES_REAL_SITES = frozenset({"sites", "attack", "attackers", "strength"})


def simulate_project(
    path: Path, engine: str, runs: Path, config: str, scenario: str, *, quiet: bool
) -> tuple[Mapping[str, Any], str]:
    """Simulate a Hedgerow project, or run another Flower app in this process.

    Raises:
        Misconfigured: E103 for another engine, and whatever keeps the project from being used.
    """
    from hedgerow.simulations import simulate

    if engine not in SIMULATED:
        local = engine == "local"
        hint = "real servers are started by: hedgerow local" if local else nearest(engine, SIMULATED)
        raise Misconfigured("E103", f"unknown engine '{engine}'", place="--engine", hint=hint)
    project = Project.open(path)
    task = project.task()
    if task is None:
        return _foreign(project, engine, config, scenario)
    with failures_once():
        run = simulate(
            overridden(project.job(), "-c", config),
            task,
            scenario=overridden(project.scenario(), "-s", scenario),
            engine=engine,
            runs=runs,
            listeners=_listeners(quiet),
            project=str(project.folder),
            command=command("sim", str(path), config, scenario, engine),
        )
    return run_data(run), closing_words(run)


def run_project_locally(
    path: Path, runs: Path, config: str, scenario: str, *, quiet: bool
) -> tuple[Mapping[str, Any], str]:
    """Run a Hedgerow project on real servers of this machine.

    Raises:
        Misconfigured: E105 for an override of the scenario that the sites' own copy of the project would not see.
    """
    from hedgerow.simulations import simulate

    project = Project.open(path)
    wanted = overridden(project.scenario(), "-s", scenario)
    for key in sorted(read_words("-s", scenario).keys() - REACHES_REAL_SITES):
        raise Misconfigured(
            "E105",
            f"'{key}' cannot be changed from here: real sites read it from their copy of the project",
            place="-s",
            hint="change it in [tool.hedgerow.scenario] of pyproject.toml",
        )
    task = project.task()
    if task is None:
        raise Misconfigured("E111", "this Flower app has no Hedgerow task", place=str(path), hint="use flwr run")
    if not quiet:
        print("starting a SuperLink and a process per site; a round takes seconds", flush=True)
    run = simulate(
        overridden(project.job(), "-c", config),
        task,
        scenario=wanted,
        engine="local",
        runs=runs,
        listeners=_listeners(quiet),
        project=str(project.folder),
        command=command("local", str(path), config, scenario),
    )
    return run_data(run), closing_words(run)


def resume_run(runs: Path, name: str, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Continue a run that stopped.

    Raises:
        Misconfigured: E113 if the run's code cannot be found again.
    """
    from hedgerow.simulations import resume

    found = find_run(runs, name)
    with failures_once():
        if found.folder.project == DEMO:
            run = resume(found.folder, demo_task(), listeners=_listeners(quiet))
            run = with_twins(run, say=say_nothing if quiet else say_twin)
        else:
            run = resume(found.folder, _task_of(found.folder), listeners=_listeners(quiet))
    return run_data(run), closing_words(run)


def _task_of(folder: RunFolder) -> Task:
    if not folder.project:
        raise Misconfigured(
            "E113",
            "this run was started from Python, so its task is not known here",
            place=folder.name,
            hint="continue it with hedgerow.simulations.resume(RunFolder.open(path), task)",
        )
    if not Path(folder.project).is_dir():
        raise Misconfigured(
            "E113",
            "the run's project is not there any more",
            place=folder.project,
            hint="put it back, or continue with hedgerow.simulations.resume(RunFolder.open(path), task)",
        )
    task = Project.open(folder.project).task()
    if task is None:
        raise Misconfigured("E113", "the run's project has no Hedgerow task any more", place=folder.project)
    return task


def _foreign(project: Project, engine: str, config: str, scenario: str) -> tuple[Mapping[str, Any], str]:
    """Another Flower app, unmodified, in this process; its own log lines go to stderr."""
    from hedgerow.scenario import Scenario
    from hedgerow.simulations import run_simulation

    if engine != "in-process":
        raise Misconfigured(
            "E103",
            f"another Flower app runs in-process here, not on '{engine}'",
            place="--engine",
            hint="leave --engine out, or use flwr run",
        )
    overrides = read_words("-s", scenario)
    for key in overrides.keys() - {"sites"}:
        hint = nearest(key, ["sites"]) if key not in Scenario.keys() else "-s 'sites=5' is what it can take"
        raise Misconfigured("E101", f"'{key}' means nothing to another Flower app", place="-s", hint=hint)
    settings = overridden(Scenario(sites=project.supernodes()), "-s", scenario)
    run_config = project.run_config(read_words("-c", config))
    server, client = project.apps()
    start = time.perf_counter()
    with failures_once():
        run_simulation(server, client, settings.sites, run_config=run_config)
    seconds = time.perf_counter() - start
    data = {"app": project.name, "engine": engine, "sites": settings.sites, "seconds": round(seconds, 3)}
    return data, f"{project.name}: {settings.sites} sites in {seconds:.1f} s, engine {engine}"


def _listeners(quiet: bool) -> Sequence[Listener]:
    return [] if quiet else [Progress()]
