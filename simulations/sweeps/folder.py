"""A sweep on disk: what it consists of, the runs of its cells, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits-sweep/
  sweep.json       the job, the scenario, the grid, the seeds, the engine, where the project is, and a digest of it all
  cells/epsilon-1_rule-krum_seed-0/   an ordinary run
  report.html  report.json
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.simulations.sweeps.batchfolder import BatchFolder, list_batches
from hedgerow.simulations.sweeps.cells import Cell, Grid, cells, checked_grid
from hedgerow.simulations.sweeps.record import recall_rules

__all__ = ["SweepFolder", "list_sweeps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFolder(BatchFolder):
    """A sweep's folder and what `sweep.json` says about it; `cells` follow from that, and from nothing else."""

    what: ClassVar[str] = "sweep"
    file: ClassVar[str] = "sweep.json"
    suffix: ClassVar[str] = "-sweep"

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

    @classmethod
    def _built(cls, path: Path, record: Mapping[str, Any]) -> SweepFolder:
        recall_rules([record["job"]["aggregate.rule"], *record["grid"].get("aggregate.rule", ())])
        return cls(
            path=path,
            job=Job.from_flat(record["job"]),
            scenario=Scenario.from_flat(record["scenario"]),
            grid=checked_grid(record["grid"]),
            seeds=record["seeds"],
            **{key: str(record[key]) for key in ("engine", "task", "project", "command")},
        )

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
    return list_batches(parent, SweepFolder)
