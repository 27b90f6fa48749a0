"""A sweep as Python sees it: read from its folder, whoever ran it and whenever."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from hedgerow.report.sweeprows import SPENT, Spread, SweepRow, SweepRun, SweepSummary, sweep_rows
from hedgerow.settings import Scalar
from hedgerow.simulations.sweeps.cells import cell_words
from hedgerow.simulations.sweeps.folder import SweepFolder
from hedgerow.simulations.sweeps.found import BatchResult

__all__ = ["Sweep"]


class Sweep(BatchResult[SweepFolder]):
    """What a sweep has found so far. In a notebook it shows its report."""

    folder_kind = SweepFolder

    @functools.cached_property
    def rows(self) -> tuple[SweepRow, ...]:
        """One row per cell."""
        return sweep_rows(self.outcomes)

    @property
    def failed(self) -> tuple[SweepRun, ...]:
        """The runs that stopped with an error or did not pass their gate."""
        return tuple(run for run in self.outcomes if run.failed)

    @property
    def table(self) -> list[dict[str, object]]:
        """One dict per cell: the swept settings, then what its seeds add up to.

        `seeds` were measured; `mean`, `sd`, `low` and `high` (95 % t interval) are of `metric`; `difference` and its
        ends are to the first row, seed by seed; `epsilon` is the highest, `auc` and `seconds` are means, and `failed`
        has the code of each seed that failed. What is not known is `None`.
        """
        return [_record(row) for row in self.rows]

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
            engine=self.engine,
            status=self.status,
            command=folder.command,
            digest=folder.digest(),
            job=folder.job.flat(),
            job_digest=folder.job.digest(),
            scenario=folder.scenario.flat(),
            grid=folder.grid,
            seeds=self.seeds,
            rows=self.rows,
        )
        return write_sweep_report(self.path, summary)

    def __repr__(self) -> str:
        total = len(self.outcomes)
        lines = [f"<Sweep {self.name}: {self.status}, {self.done} of {total} runs, {len(self.rows)} cells>"]
        return "\n".join([*lines, *(f"  {_line(row)}" for row in self.rows)])


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
