"""What stands around a run's rounds, whoever runs them: its first event, its last event and its report."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import hedgerow
from hedgerow.errors import CODES, HedgerowError
from hedgerow.eventlog import EventLog
from hedgerow.events import Listener, RunFinished, RunStarted
from hedgerow.interrupts import interrupts_wait
from hedgerow.job import Job
from hedgerow.report import write_report
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.task import Task
from hedgerow.update import Layout

__all__ = ["last_event", "run_started", "switched_off"]


def run_started(
    task: Task, folder: RunFolder, *, sites: int, command: str = "", attackers: Sequence[str] = ()
) -> RunStarted:
    """The first event of a run. A simulation's scenario is told with the names of the sites that attack."""
    stated = {} if folder.scenario is None else {**folder.scenario.flat(), "attacker_sites": list(attackers)}
    return RunStarted(
        run=folder.name,
        task=task.name,
        engine=folder.engine,
        job=folder.job.flat(),
        job_digest=folder.job.digest(),
        scenario=stated,
        parameters=Layout.of(task.model()).size,
        sites=sites,
        versions=_versions(),
        command=command,
        switched_off=switched_off(folder.job),
    )


def switched_off(job: Job) -> list[str]:
    """What does not protect in this job, in words."""
    words = []
    if job.secure.mode == "off":
        words.append("Secure sums are off: the server sees single updates.")
    if job.privacy.unit == "none":
        words.append("Differential privacy is off: nothing bounds what the model or the updates say about a record.")
    if job.privacy.unit == "site":
        words.append(
            "The coordinator sees every update without noise: sites are protected against others, not against it."
        )
        words.append("The rule is a mean of clipped updates: a hostile site can move it by the clip, and no further.")
    elif job.aggregate.rule == "mean":
        words.append("The rule is the plain mean: one hostile site can move the model anywhere.")
    elif job.aggregate.byzantine == 0:
        words.append("No hostile site is expected (aggregate.byzantine = 0): one could move the model.")
    return words


@contextmanager
def last_event(
    folder: RunFolder, listeners: Sequence[Listener], log: EventLog | None = None, *, report: bool = True
) -> Iterator[None]:
    """Whatever happens inside, tell how the run ended and draw its report, unless `report` is false.

    `log` is the open one that told everything before; without it the last event opens its own.

    A Ctrl-C waits until both are written. What stopped the run is passed on, also where its consequences (a full disk)
    keep the last words from being written.
    """
    start = time.perf_counter()
    error: BaseException | None = None
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        try:
            with interrupts_wait():
                last = log or EventLog(folder.events, listeners=listeners)
                last.append(_run_finished(folder, seconds=time.perf_counter() - start, error=error))
                if report:
                    write_report(folder.path)
        except Exception:
            if error is None:
                raise


def _versions() -> dict[str, str]:
    found = {"hedgerow": hedgerow.__version__, "python": platform.python_version()}
    for name in ("flwr", "torch", "opacus", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _run_finished(folder: RunFolder, *, seconds: float, error: BaseException | None = None) -> RunFinished:
    """The last event of a run, from what the folder holds: final metrics, model and the sites' spending."""
    run = Run(folder.path)
    code = error.code if isinstance(error, HedgerowError) else "E900" if error else ""
    if isinstance(error, KeyboardInterrupt):
        code = "E901"
    reason = error.message if isinstance(error, HedgerowError) else CODES[code] if code else ""
    return RunFinished(
        status="finished" if error is None else "interrupted" if code == "E901" else "failed",
        rounds=run.rounds,
        final=run.final,
        model_sha256=run.model_sha256,
        epsilon=run.epsilon,
        seconds=round(seconds, 3),
        code=code,
        reason=reason,
    )
