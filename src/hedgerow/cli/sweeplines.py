"""What a terminal is told of a sweep: a line per run while it goes on, and the table at its end."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, TextIO

from hedgerow.errors import HedgerowError
from hedgerow.pace import span
from hedgerow.report.numbers import epsilon, plural
from hedgerow.report.sweeprows import SPENT, SweepRun, headings
from hedgerow.simulations.sweeps import Sweep
from hedgerow.simulations.sweeps.cells import scalar_text

if TYPE_CHECKING:
    from hedgerow.simulations.sweeps import Step

__all__ = ["SweepLines", "table_lines"]


class SweepLines:
    """Prints where a sweep stands: a line at its start, and one for each run when it has ended.

    A reader that leaves ends the printing, not the sweep.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, step: Step) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(_start_line(step) if step.cell is None else _run_line(step), file=self._stream, flush=True)


def _start_line(step: Step) -> str:
    folder = step.folder
    total = len(folder.cells)
    swept = ", ".join(f"{key} over {' '.join(map(scalar_text, values))}" for key, values in folder.grid.items())
    size = f"{plural(total // folder.seeds, 'cell')} × {plural(folder.seeds, 'seed')} = {plural(total, 'run')}"
    words = f"sweep {folder.name}, engine {folder.engine}\n  {size}" + (f": {swept}" if swept else "")
    return words + (f"\n  {step.done} of them are finished" if step.done else "")


def _run_line(step: Step) -> str:
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
