"""`hedgerow sim` and `hedgerow resume`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgerow.cli.demo import DEMO, demo_task, with_twins
from hedgerow.cli.outcome import closing_words, find_run, run_data
from hedgerow.cli.progress import Progress
from hedgerow.errors import Misconfigured
from hedgerow.events import Listener
from hedgerow.project import Project
from hedgerow.runs import RunFolder
from hedgerow.settings import parse_overrides
from hedgerow.task import Task

__all__ = ["resume_run", "run_project_locally", "simulate_project"]

REACHES_REAL_SITES = frozenset({"sites", "attack", "attackers", "strength"})


def simulate_project(
    path: Path, engine: str, runs: Path, config: str, scenario: str, *, quiet: bool
) -> tuple[Mapping[str, Any], str]:
    """Simulate a Hedgerow project, or run another Flower app in this process."""
    from hedgerow.simulations import simulate

    project = Project.open(path)
    task = project.task()
    if task is None:
        return _foreign(project, engine, config, scenario)
    run = simulate(
        project.job(parse_overrides(config)),
        task,
        scenario=project.scenario(parse_overrides(scenario)),
        engine=engine,
        runs=runs,
        listeners=_listeners(quiet),
        project=str(project.folder),
        command=_command("sim", path, config, scenario, engine),
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

    overrides = parse_overrides(scenario)
    for key in overrides.keys() - REACHES_REAL_SITES:
        raise Misconfigured(
            "E105",
            f"'{key}' cannot be changed from here: real sites read it from their copy of the project",
            hint="change it in [tool.hedgerow.scenario] of pyproject.toml",
        )
    project = Project.open(path)
    task = project.task()
    if task is None:
        raise Misconfigured("E111", "this Flower app has no Hedgerow task", place=str(path), hint="use flwr run")
    if not quiet:
        print("starting a SuperLink and a process per site; a round takes seconds, because every message does", flush=True)
    run = simulate(
        project.job(parse_overrides(config)),
        task,
        scenario=project.scenario(overrides),
        engine="local",
        runs=runs,
        listeners=_listeners(quiet),
        project=str(project.folder),
        command=_command("local", path, config, scenario),
    )
    return run_data(run), closing_words(run)


def resume_run(runs: Path, name: str, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Continue a run that stopped.

    Raises:
        Misconfigured: E113 if the run's code cannot be found again.
    """
    from hedgerow.simulations import resume

    found = find_run(runs, name)
    if found.folder.project == DEMO:
        run = resume(found.folder, demo_task(), listeners=_listeners(quiet))
        run = with_twins(run, say=lambda name, final: None)
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
    task = Project.open(folder.project).task()
    if task is None:
        raise Misconfigured("E113", "the run's project has no Hedgerow task any more", place=folder.project)
    return task


def _foreign(project: Project, engine: str, config: str, scenario: str) -> tuple[Mapping[str, Any], str]:
    """Another Flower app, unmodified, in this process; its own log lines go to stderr."""
    from hedgerow.scenario import Scenario
    from hedgerow.simulations import run_simulation

    if engine != "in-process":
        raise Misconfigured("E103", f"another Flower app runs in-process here, not on '{engine}'", hint="use flwr run")
    settings = Scenario(sites=project.supernodes()).override(parse_overrides(scenario))
    server, client = project.apps()
    start = time.perf_counter()
    run_simulation(server, client, settings.sites, run_config=project.run_config(parse_overrides(config)))
    seconds = time.perf_counter() - start
    data = {"app": project.name, "sites": settings.sites, "seconds": round(seconds, 3)}
    return data, f"{project.name}: {settings.sites} sites in {seconds:.1f} s"


def _listeners(quiet: bool) -> Sequence[Listener]:
    return [] if quiet else [Progress()]


def _command(verb: str, path: Path, config: str, scenario: str, engine: str = "in-process") -> str:
    words = [f"hedgerow {verb}", str(path)]
    words += [f"--engine {engine}"] if engine != "in-process" else []
    words += [f"-c '{config}'"] if config else []
    words += [f"-s '{scenario}'"] if scenario else []
    return " ".join(words)
