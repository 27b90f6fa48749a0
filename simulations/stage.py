"""What every engine is given, and the one thread that keeps a run's bytes the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch

from hedgerow.aggregation.arrays.threads import one_blas_thread
from hedgerow.eventlog import EventLog
from hedgerow.events import Listener
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.task import Site, Task

__all__ = ["Stage", "one_thread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything an engine needs to run a job's rounds.

    `log` is open on the run's events: opening one reads all of them. An engine whose rounds are told by another process
    leaves it behind them, so what follows opens its own.

    `workers` train sites at once within `memory` bytes on a `device` (the cohort engine); `address` names a cluster
    (Ray). A `bare` run is its rounds alone: nothing is measured after them, and no report is drawn.
    """

    folder: RunFolder
    task: Task
    scenario: Scenario
    sites: Sequence[Site]
    listeners: Sequence[Listener]
    log: EventLog
    workers: int | None = None
    memory: int | None = None
    address: str | None = None
    device: str = "auto"
    bare: bool = False

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        task: Task,
        scenario: Scenario,
        sites: Sequence[Site],
        *,
        listeners: Sequence[Listener],
        workers: int | None,
        memory: int | None,
        address: str | None,
        device: str = "auto",
        bare: bool = False,
    ) -> Self:
        """The stage of a run, its event log opened."""
        return cls(
            folder=folder,
            task=task,
            scenario=scenario,
            sites=sites,
            listeners=listeners,
            log=EventLog(folder.events, listeners=listeners),
            workers=workers,
            memory=memory,
            address=address,
            device=device,
            bare=bare,
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of numpy's BLAS: two sum in another order, so the bytes would depend on the machine, and
    small models lose."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        torch.set_num_threads(before)
