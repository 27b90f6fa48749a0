"""A sweep as Python sees it: read from its folder, whoever ran it and whenever."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from hedgerow.report.sweeprows import SPENT, Spread, SweepRow, SweepRun, SweepSummary, sweep_rows
from hedgerow.run import Run
from hedgerow.settings import Scalar
from hedgerow.simulations.sweeps.batch import read_cell
from hedgerow.simulations.sweeps.cells import cell_words
from hedgerow.simulations.sweeps.folder import SweepFolder

__all__ = ["Sweep"]


class Sweep:
    """What a sweep has found so far. In a notebook it shows its report."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.folder = SweepFolder.open(self.path)

    @property
    def name(self) -> str:
        return self.folder.name

    @functools.cached_property
    def outcomes(self) -> tuple[SweepRun, ...]:
        """What became of each run, in the order in which they run."""
        return tuple(read_cell(self.folder, cell) for cell in self.folder.cells)

    @functools.cached_property
    def rows(self) -> tuple[SweepRow, ...]:
        """One row per cell."""
        return sweep_rows(self.outcomes)

    @property
    def runs(self) -> Mapping[str, Run]:
        """The runs that were started, by name."""
        paths = (self.folder.run_path(cell) for cell in self.folder.cells)
        return {path.name: Run(path) for path in paths if (path / "job.json").exists()}

    @property
    def failed(self) -> tuple[SweepRun, ...]:
        """The runs that stopped with an error or did not pass their gate."""
        return tuple(run for run in self.outcomes if run.failed)

    @property
    def done(self) -> int:
        """How many runs were trained to their end."""
        return sum(run.done for run in self.outcomes)

    @property
    def status(self) -> str:
        """`finished` (every run, and every gate passed), `failed` (every run was tried, and some failed), or
        `unfinished`."""
        tried = all(run.done or run.status in ("failed", "damaged") for run in self.outcomes)
        return "unfinished" if not tried else "failed" if self.failed else "finished"

    @property
    def table(self) -> list[dict[str, object]]:
        """One dict per cell: the swept settings, then what its seeds add up to.

        `seeds` were measured; `mean`, `sd`, `low` and `high` (95 % t interval) are of `metric`; `difference` and its
        ends are to the first row, seed by seed; `epsilon` is the highest, `auc` and `seconds` are means, and `failed`
        has the code of each seed that failed. What is not known is `None`.
        """
        return [_record(row) for row in self.rows]

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def draw(self) -> Path:
        """Draw the report again from the runs' events; returns the page's path.

        Raises:
            Misconfigured: E107 without jinja2. Exhausted: E503, E504.
        """
        from hedgerow.report.sweeppage import write_sweep_report

        folder = self.folder
        summary = SweepSummary(
            name=self.name,
            task=folder.task,
            engine=", ".join(sorted({run.engine for run in self.outcomes if run.engine})) or folder.engine,
            status=self.status,
            command=folder.command,
            digest=folder.digest(),
            job=folder.job.flat(),
            job_digest=folder.job.digest(),
            scenario=folder.scenario.flat(),
            grid=folder.grid,
            seeds=tuple(folder.scenario.seed + k for k in range(folder.seeds)),
            rows=self.rows,
        )
        return write_sweep_report(self.path, summary)

    def __repr__(self) -> str:
        total = len(self.outcomes)
        lines = [f"<Sweep {self.name}: {self.status}, {self.done} of {total} runs, {len(self.rows)} cells>"]
        return "\n".join([*lines, *(f"  {_line(row)}" for row in self.rows)])

    def _repr_html_(self) -> str:
        from html import escape

        page = self.report.read_text(encoding="utf-8") if self.report.exists() else escape(repr(self))
        size = 'width="100%" height="720"'
        return f'<iframe srcdoc="{escape(page)}" {size} title="Report of {escape(self.name)}"></iframe>'


def _record(row: SweepRow) -> dict[str, object]:
    metric = next((run.metric for run in row.runs if run.metric), "")
    settings: Mapping[str, Scalar] = row.settings
    return {
        **settings,
        "seeds": row.result.count if row.result else 0,
        "metric": metric,
        **_ends(row.result, "mean", "low", "high"),
        "sd": row.result.sd if row.result else None,
        **_ends(row.difference, "difference", "difference_low", "difference_high"),
        "epsilon": row.epsilon,
        "auc": row.auc,
        "seconds": row.seconds,
        "failed": {run.seed: run.code for run in row.failed},
    }


def _ends(of: Spread | None, middle: str, low: str, high: str) -> dict[str, float | None]:
    return {middle: None, low: None, high: None} if of is None else {middle: of.mean, low: of.low, high: of.high}


def _line(row: SweepRow) -> str:
    words = [cell_words(row.settings) or "as it is"]
    metric = next((run.metric for run in row.runs if run.metric), "")
    if row.result is not None:
        result = f"{metric} {row.result.mean:.4g}"
        result += f" ± {row.result.sd:.2g} (n = {row.result.count})" if row.result.sd is not None else ""
        words.append(result)
    words += [f"{SPENT} {row.epsilon:.3g}"] if row.epsilon is not None else []
    words += [f"{len(row.failed)} failed"] if row.failed else []
    return "  ".join(words)
