"""What a terminal is told of a batch of runs: a line per run while it goes on, and a sweep's table at its end."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TextIO, TypeVar

from hedgerow.errors import HedgerowError
from hedgerow.pace import span
from hedgerow.report.numbers import epsilon, plural
from hedgerow.report.sweeprows import SPENT, SweepRun, headings
from hedgerow.simulations.sweeps import Sweep
from hedgerow.simulations.sweeps.batchfolder import BatchFolder
from hedgerow.simulations.sweeps.cells import scalar_text

if TYPE_CHECKING:
    from hedgerow.simulations.sweeps import Step, SweepFolder

__all__ = ["StepLines", "start_words", "table_lines"]

B = TypeVar("B", bound=BatchFolder)


class StepLines(Generic[B]):
    """Prints where a batch of runs stands: what `start` says of it, and a line for each run when it has ended.

    A reader that leaves ends the printing, not the runs.
    """

    def __init__(self, start: Callable[[B], str], stream: TextIO | None = None) -> None:
        self._start = start
        self._stream = stream

    def __call__(self, step: Step[B]) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(self._begin(step) if step.cell is None else _run_line(step), file=self._stream, flush=True)

    def _begin(self, step: Step[B]) -> str:
        return self._start(step.folder) + (f"\n  {step.done} of them are finished" if step.done else "")


def start_words(folder: SweepFolder) -> str:
    """What is swept, before the first run."""
    total = len(folder.cells)
    swept = ", ".join(f"{key} over {' '.join(map(scalar_text, values))}" for key, values in folder.grid.items())
    size = f"{plural(total // folder.seeds, 'cell')} × {plural(folder.seeds, 'seed')} = {plural(total, 'run')}"
    return f"sweep {folder.name}, engine {folder.engine}\n  {size}" + (f": {swept}" if swept else "")


def _run_line(step: Step[B]) -> str:
    assert step.cell is not None
    total = len(step.folder.cells)
    parts = [f"{step.done:>{len(str(total))}}/{total} {step.cell.words}: {_outcome(step.run, step.error)}"]
    if step.left:
        parts.append(f"about {span(step.left)} left")
    return "  ".join(parts)


def _outcome(run: SweepRun | None, error: Exception | None) -> str:
    if isinstance(error, HedgerowError):
        return f"{error.code} {error.message}"
    if error is not None:
        return f"E900 {type(error).__name__}: {error}"
    if run is None:
        return ""
    parts = [f"{run.metric} {run.value:.3f}" if run.value is not None else f"{run.metric} not finite".strip()]
    parts += [f"ε {_epsilon(run.epsilon)}"] if run.epsilon is not None else []
    parts += [span(run.seconds)] if run.seconds is not None else []
    return "  ".join(parts)


def table_lines(done: Sweep) -> list[str]:
    """The table of the report, as far as a terminal has room."""
    head = [*headings(done.folder.grid), "seeds", *_first(done), "sd", "95 % interval", SPENT, "failed"]
    lines = [head]
    for row in done.rows:
        of = row.result
        interval = f"{of.low:.3f} to {of.high:.3f}" if of and of.low is not None and of.high is not None else ""
        lines.append(
            [
                *(scalar_text(row.settings[key]) for key in done.folder.grid),
                str(of.count if of else 0),
                *([f"{of.mean:.3f}" if of else ""] if _first(done) else []),
                f"{of.sd:.3f}" if of and of.sd is not None else "",
                interval,
                _epsilon(row.epsilon) if row.epsilon is not None else "",
                ", ".join(run.code for run in row.failed),
            ]
        )
    filled = [k for k in range(len(head)) if any(line[k] for line in lines[1:])]
    widths = {k: max(len(line[k]) for line in lines) for k in filled}
    return ["  ".join(f"{line[k]:<{widths[k]}}" for k in filled).rstrip() for line in lines]


def _first(done: Sweep) -> list[str]:
    """The metric's name, where something was measured."""
    return sorted({run.metric for run in done.outcomes if run.metric})[:1]


def _epsilon(value: float) -> str:
    return epsilon(value) if math.isfinite(value) else "unbounded"
