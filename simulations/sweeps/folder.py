"""A sweep on disk: what it consists of, the runs of its cells, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits-sweep/
  sweep.json       the job, the scenario, the grid, the seeds, the engine, where the project is, and a digest of it all
  cells/epsilon-1_rule-krum_seed-0/   an ordinary run
  report.html  report.json
```
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.folders import held
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.simulations.sweeps.cells import Cell, Grid, cells, checked_grid
from hedgerow.simulations.sweeps.record import definition_digest, open_record, recall_rules, write_record

__all__ = ["SweepFolder", "list_sweeps"]

WHAT = "sweep"
FILE = "sweep.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFolder:
    """A sweep's folder and what `sweep.json` says about it; `cells` follow from that, and from nothing else."""

    path: Path
    job: Job
    scenario: Scenario
    grid: Grid
    seeds: int
    engine: str
    task: str
    project: str = ""
    command: str = ""
    cells: tuple[Cell, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", cells(self.job, self.scenario, self.grid, self.seeds))

    @property
    def name(self) -> str:
        return self.path.name

    def digest(self) -> str:
        """SHA-256 over the canonical form of everything but the folder's place."""
        return definition_digest(WHAT, self._definition())

    def run_path(self, cell: Cell) -> Path:
        """Where the run of a cell is, or will be."""
        return self.path / "cells" / cell.name

    def write(self, parent: Path, name: str | None = None) -> SweepFolder:
        """Make the folder below `parent`, named by time and task unless `name` is given; returns it at its place.

        Raises:
            Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no
                folder's name.
        """
        path = write_record(parent, FILE, self._definition(), what=WHAT, name=name, task=self.task, suffix="-sweep")
        return replace(self, path=path)

    @classmethod
    def open(cls, path: Path) -> SweepFolder:
        """An existing sweep.

        Raises:
            Misconfigured: E112 no such sweep, E113 not a sweep, or one of another version. Tampered: E401 if what it
                consists of was changed.
        """

        def build(record: Mapping[str, Any]) -> SweepFolder:
            recall_rules([record["job"]["aggregate.rule"], *record["grid"].get("aggregate.rule", ())])
            return cls(
                path=path,
                job=Job.from_flat(record["job"]),
                scenario=Scenario.from_flat(record["scenario"]),
                grid=checked_grid(record["grid"]),
                seeds=record["seeds"],
                **{key: str(record[key]) for key in ("engine", "task", "project", "command")},
            )

        return open_record(path, FILE, what=WHAT, build=build)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the sweep: a second process that wants it gets an error at once. A crash releases it.

        Raises:
            Exhausted: E506.
        """
        return held(self.path, what=WHAT)

    def _definition(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "engine": self.engine,
            "project": self.project,
            "command": self.command,
            "job": self.job.flat(),
            "scenario": self.scenario.flat(),
            "grid": {key: list(values) for key, values in self.grid.items()},
            "order": list(self.grid),  # a digest sorts keys, and the order of the grid is that of the table
            "seeds": self.seeds,
        }


def list_sweeps(parent: Path) -> list[SweepFolder]:
    """The sweeps in a folder, oldest first; other folders are passed over."""
    found = []
    for path in sorted(parent.glob(f"*/{FILE}")):
        with contextlib.suppress(Misconfigured, Tampered):
            found.append(SweepFolder.open(path.parent))
    return found
