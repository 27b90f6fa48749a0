"""A batch of runs that are all known beforehand, and where it stands: what sweeps and red teams are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hedgerow.events import Listener
from hedgerow.report.sweeprows import SweepRun, read_run
from hedgerow.simulations.sweeps.batchfolder import BatchFolder
from hedgerow.simulations.sweeps.cells import Cell

__all__ = ["Means", "Step", "no_command", "read_cell", "say_nothing", "started"]


B = TypeVar("B", bound=BatchFolder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[B]):
    """Where a batch stands: before its first run (`cell` is `None`), and after each one.

    `error` is what a run failed with; `left` are the seconds that the rest will take if runs go on taking as long.
    """

    folder: B
    done: int
    cell: Cell | None = None
    run: SweepRun | None = None
    error: Exception | None = None
    left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every run of a batch gets and no result depends on. `bare` runs measure no leakage and draw no report."""

    workers: int | None = None
    memory: int | None = None
    address: str | None = None
    listeners: Sequence[Listener] = ()
    bare: bool = False


def say_nothing(step: Step[B]) -> None:
    """Nobody listens."""


def no_command(cell: Cell) -> str:
    """A run from Python has no command."""
    return ""


def read_cell(batch: BatchFolder, cell: Cell) -> SweepRun:
    """What became of one run of a batch."""
    return read_run(batch.run_path(cell), settings=cell.settings, seed=cell.seed)


def started(batch: BatchFolder, cell: Cell) -> bool:
    """Whether a cell has a run, however far it came."""
    return (batch.run_path(cell) / "job.json").exists()
