"""`hedgerow sim`, `hedgerow local` and `hedgerow resume`."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedgerow.cli.demo import DEMO, demo_task, say_nothing, say_twin, with_twins
from hedgerow.cli.outcome import closing_words, run_data
from hedgerow.cli.overriding import command, memory_bytes, overridden, read_words, scenario_of
from hedgerow.cli.sitelog import failures_once
from hedgerow.errors import Misconfigured
from hedgerow.events import Listener
from hedgerow.progress import Progress
from hedgerow.project import Project
from hedgerow.run import Run
from hedgerow.settings import nearest
from hedgerow.task import Task

__all__ = ["Asked", "Means", "refuse_engine", "resume_run", "run_project_locally", "simulate_project", "task_of"]

REACHES_REAL_SITES = frozenset({"sites", "attack", "attackers", "strength"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run is given to run with, as it was written; no result depends on it."""

    workers: int | None = None
    memory: str = ""
    address: str = ""

    @property
    def memory_bytes(self) -> int | None:
        return memory_bytes(self.memory)

    def refuse_wrong(self, engine: str) -> None:
        """Say what cannot be, before anything is written.

        Raises:
            Misconfigured: E103 for no workers or no size, E105 for an address without Ray.
        """
        if self.workers is not None and self.workers < 1:
            what = f"--workers is {self.workers}, but must be at least 1"
            raise Misconfigured("E103", what, place="--workers")
        memory_bytes(self.memory)
        if self.address and engine != "ray":
            raise Misconfigured(
                "E105",
                f"an address is a Ray cluster's, but the engine is '{engine}'",
                place="--address",
                hint="write --engine ray with it",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stands after `hedgerow sim`, as it was written."""

    path: Path = Path(".")
    engine: str = "auto"
    sites: int | None = None
    seeds: int = 1
    sweeps: tuple[str, ...] = ()
    device: str = "auto"
    means: Means = Means()
    config: str = ""
    scenario: str = ""

    @property
    def command(self) -> str:
        """The command itself."""
        options = [
            ("--engine", "" if self.engine == "auto" else self.engine),
            ("--sites", self.sites),
            ("--seeds", "" if self.seeds == 1 else self.seeds),
            *(("--sweep", words) for words in self.sweeps),
            ("--workers", self.means.workers),
            ("--memory", self.means.memory),
            ("--address", self.means.address),
            ("--device", "" if self.device == "auto" else self.device),
        ]
        return command("sim", str(self.path), self.config, self.scenario, options)

    def refuse_wrong(self) -> None:
        """Say what cannot be, before anything is written.

        Raises:
            Misconfigured: E103 for another engine or device, E105 for a sweep on a GPU, whose folder does not keep it,
                E107 for a device that is not there, and as `Means`.
        """
        from hedgerow.simulations.cohort.device import device_of

        refuse_engine(self.engine)
        if self.device == "cuda" and (self.sweeps or self.seeds != 1):
            hint = "leave it out, or start the runs one by one"
            raise Misconfigured("E105", "the runs of a sweep train on the CPU", place="--device", hint=hint)
        try:
            device_of(self.device)
        except Misconfigured as error:
            raise Misconfigured(error.code, error.message, place="--device", hint=error.hint) from None
        self.means.refuse_wrong(self.engine)


def refuse_engine(engine: str) -> None:
    """Say what cannot stand after `--engine`.

    Raises:
        Misconfigured: E103.
    """
    from hedgerow.simulations.engine import ENGINES

    engines = ["auto", *(name for name in ENGINES if name != "local")]
    if engine not in engines:
        near = difflib.get_close_matches(engine, engines, 1, 0.6)
        hint = f"did you mean '{near[0]}'?" if near else "the engines are " + ", ".join(engines)
        hint = "real servers are started by: hedgerow local" if engine == "local" else hint
        raise Misconfigured("E103", f"unknown engine '{engine}'", place="--engine", hint=hint)


def simulate_project(asked: Asked, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Simulate a Hedgerow project, or run another Flower app in this process.

    Raises:
        Misconfigured: E103 for another engine, and whatever keeps the project from being used.
    """
    from hedgerow.simulations import simulate

    asked.refuse_wrong()
    project = Project.open(asked.path)
    task = project.task()
    if task is None:
        return _foreign(project, asked)
    with failures_once():
        run = simulate(
            overridden(project.job(), "-c", asked.config),
            task,
            scenario=scenario_of(project.scenario(), asked.scenario, asked.sites),
            engine=asked.engine,
            workers=asked.means.workers,
            memory=asked.means.memory_bytes,
            address=asked.means.address or None,
            device=asked.device,
            runs=runs,
            listeners=_listeners(quiet),
            project=str(project.folder),
            command=asked.command,
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


def resume_run(run: Run, means: Means, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Continue a run that stopped.

    Raises:
        Misconfigured: E113 if the run's code cannot be found again, and as `Means`.
    """
    from hedgerow.simulations import resume

    means.refuse_wrong(run.folder.engine)
    demo = run.folder.project == DEMO
    with failures_once():
        run = resume(
            run.folder,
            demo_task() if demo else task_of(run.folder.project, run.name, "resume(RunFolder.open(path), task)"),
            workers=means.workers,
            memory=means.memory_bytes,
            address=means.address or None,
            listeners=_listeners(quiet),
        )
        if demo:
            run = with_twins(run, say=say_nothing if quiet else say_twin)
    return run_data(run), closing_words(run)


def task_of(project: str, name: str, call: str) -> Task:
    """The task of the project that a run or sweep was started from; `call` goes on with it from Python.

    Raises:
        Misconfigured: E113 if the project is not known, not there, or has no task any more.
    """
    if not project:
        raise Misconfigured(
            "E113",
            "this was started from Python, so its task is not known here",
            place=name,
            hint=f"continue it with hedgerow.simulations.{call}",
        )
    if not Path(project).is_dir():
        raise Misconfigured(
            "E113",
            "the run's project is not there any more",
            place=project,
            hint=f"put it back, or continue with hedgerow.simulations.{call}",
        )
    task = Project.open(project).task()
    if task is None:
        raise Misconfigured("E113", "the run's project has no Hedgerow task any more", place=project)
    return task


def _foreign(project: Project, asked: Asked) -> tuple[Mapping[str, Any], str]:
    """Another Flower app, unmodified, in this process; its own log lines go to stderr."""
    from hedgerow.scenario import Scenario
    from hedgerow.simulations import run_simulation

    if asked.engine not in ("auto", "in-process"):
        raise Misconfigured(
            "E103",
            f"another Flower app runs in-process here, not on '{asked.engine}'",
            place="--engine",
            hint="leave --engine out, or use flwr run",
        )
    device = "" if asked.device == "auto" else asked.device
    for option, value in (
        ("--workers", asked.means.workers),
        ("--memory", asked.means.memory),
        ("--device", device),
    ):
        if value:
            hint = "leave it out"
            raise Misconfigured("E105", f"{option} means nothing to another Flower app", place=option, hint=hint)
    overrides = read_words("-s", asked.scenario)
    for key in overrides.keys() - {"sites"}:
        hint = nearest(key, ["sites"]) if key not in Scenario.keys() else "-s 'sites=5' is what it can take"
        raise Misconfigured("E101", f"'{key}' means nothing to another Flower app", place="-s", hint=hint)
    settings = scenario_of(Scenario(sites=project.supernodes()), asked.scenario, asked.sites)
    run_config = project.run_config(read_words("-c", asked.config))
    server, client = project.apps()
    start = time.perf_counter()
    with failures_once():
        run_simulation(server, client, settings.sites, run_config=run_config)
    seconds = time.perf_counter() - start
    data = {"app": project.name, "engine": "in-process", "sites": settings.sites, "seconds": round(seconds, 3)}
    return data, f"{project.name}: {settings.sites} sites in {seconds:.1f} s, engine in-process"


def _listeners(quiet: bool) -> Sequence[Listener]:
    return [] if quiet else [Progress()]
