"""The rounds of a run on real Flower servers of this machine: a SuperLink with TLS and a process per site."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

from hedgerow.errors import CODES, HedgerowError, Misconfigured, error_of
from hedgerow.job import Job
from hedgerow.server.app import RUN_VARIABLE
from hedgerow.simulations.attacks import attackers_of
from hedgerow.simulations.local import LocalOutcome, run_local
from hedgerow.simulations.sites import site_settings
from hedgerow.simulations.stage import Stage

__all__ = ["local_rounds"]

STARTING = 600.0  # seconds that servers and sites may take to start, on top of the rounds' own deadlines
POLL = 0.2  # seconds between looks at the event log, which the ServerApp's process writes
CODED = re.compile(r"\b(E[1-5]\d\d) (.*)")


def local_rounds(stage: Stage) -> None:
    """Start a SuperLink and a SuperNode for each site, run the project on them, and leave nothing running.

    Hostile sites run their own command; the project's code knows of no attack.

    Raises:
        Misconfigured: E111 a run without a project folder, and as `run_local`.
        Exhausted, HedgerowError: as `run_local`, and the ServerApp's own error.
    """
    folder = stage.folder
    project = Path(folder.project)
    if not (project / "pyproject.toml").is_file():
        raise Misconfigured(
            "E111",
            "real sites need a project folder to run",
            place=folder.project,
            hint="make one with: hedgerow new NAME",
        )
    settings = folder.job.flat()
    done = threading.Event()
    teller = threading.Thread(target=_follow, args=(stage, done), name="hedgerow-events")
    teller.start()
    try:
        outcome = run_local(
            project,
            folder=folder.path,
            sites=len(stage.sites),
            run_config=settings,
            site_names=[site.name for site in stage.sites],
            node_config=lambda index: site_settings(stage.sites[index], folder, stage.scenario),
            hostile={index: str(attacker) for index, attacker in attackers_of(stage.scenario).items()},
            environment={RUN_VARIABLE: str(folder.path.resolve())},
            timeout=STARTING + folder.job.rounds * folder.job.cohort.deadline,
            declare=Job.keys(),
            without=[key for key in Job.keys() if key not in settings],
            spare=max(0, len(stage.sites) - folder.job.cohort.quorum),
            seed=stage.scenario.seed,
        )
    finally:
        done.set()
        teller.join()
    if outcome.status != "finished":
        raise _error(outcome, folder.path / "logs")


def _follow(stage: Stage, done: threading.Event) -> None:
    """Tell the listeners what the ServerApp's process writes."""
    path = stage.folder.events
    told = path.stat().st_size
    while True:
        last_look = done.wait(POLL)
        with open(path, "rb") as file:
            file.seek(told)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        told += len(whole)
        for line in whole.splitlines():
            for listener in stage.listeners:
                listener(json.loads(line))
        if last_look:
            return


def _error(outcome: LocalOutcome, logs: Path) -> HedgerowError:
    """The ServerApp's own coded error where its log shows one."""
    for line in reversed([*outcome.tail, *outcome.details.splitlines()]):
        found = CODED.search(line)
        if found and found[1] in CODES:
            return error_of(found[1], found[2], place=str(logs))
    return HedgerowError("E902", f"the ServerApp {outcome.status}: {outcome.details}", place=str(logs))
