"""What a batch of runs has found, as Python sees it: read from its folder, whoever ran it and whenever."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from hedgerow.report.sweeprows import SweepRun
from hedgerow.run import Run
from hedgerow.simulations.sweeps.batch import read_cell
from hedgerow.simulations.sweeps.batchfolder import BatchFolder

__all__ = ["BatchResult"]

F = TypeVar("F", bound=BatchFolder)


class BatchResult(Generic[F]):
    """The runs of a folder, and how far they are. In a notebook it shows its report."""

    folder_kind: ClassVar[type[BatchFolder]]

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.folder: F = self.folder_kind.open(self.path)  # type: ignore[assignment]

    @property
    def name(self) -> str:
        return self.folder.name

    @functools.cached_property
    def outcomes(self) -> tuple[SweepRun, ...]:
        """What became of each run, in the order in which they run."""
        return tuple(read_cell(self.folder, cell) for cell in self.folder.cells)

    @property
    def runs(self) -> Mapping[str, Run]:
        """The runs that were started, by name."""
        paths = (self.folder.run_path(cell) for cell in self.folder.cells)
        return {path.name: Run(path) for path in paths if (path / "job.json").exists()}

    @property
    def done(self) -> int:
        """How many runs were trained to their end."""
        return sum(run.done for run in self.outcomes)

    @property
    @abstractmethod
    def failed(self) -> tuple[SweepRun, ...]:
        """The runs that did not end well."""

    @property
    def engine(self) -> str:
        """The engines that ran, or the one that was asked for."""
        return ", ".join(sorted({run.engine for run in self.outcomes if run.engine})) or self.folder.engine

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.folder.scenario.seed + k for k in range(self.folder.seeds))

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @abstractmethod
    def draw(self) -> Path:
        """Draw the report again from the runs' events; returns the page's path."""

    def _repr_html_(self) -> str:
        from html import escape

        page = self.report.read_text(encoding="utf-8") if self.report.exists() else escape(repr(self))
        size = 'width="100%" height="720"'
        return f'<iframe srcdoc="{escape(page)}" {size} title="Report of {escape(self.name)}"></iframe>'

    @property
    def status(self) -> str:
        """`finished` (every run, and none `failed`), `failed` (every run was tried, and some did) or `unfinished`."""
        tried = all(run.done or run.status in ("failed", "damaged") for run in self.outcomes)
        return "unfinished" if not tried else "failed" if self.failed else "finished"
