"""A red team on disk: what it consists of, the runs of its cells, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits-attack/
  redteam.json     the job, the scenario, attacks, defences, f, splits, seeds, gates, and a digest of it all
  cells/nnm-trimmed-mean_alie_seed-0/   an ordinary run
  report.html  report.json
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hedgerow.job import Job
from hedgerow.report.redteamrows import Case
from hedgerow.scenario import Scenario
from hedgerow.simulations.redteam.cells import cases_of, cells_of
from hedgerow.simulations.redteam.defences import Defence, rule_of
from hedgerow.simulations.redteam.gate import Gate
from hedgerow.simulations.sweeps.batchfolder import BatchFolder, list_batches
from hedgerow.simulations.sweeps.cells import Cell
from hedgerow.simulations.sweeps.record import recall_rules

__all__ = ["RedTeamFolder", "list_red_teams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedTeamFolder(BatchFolder):
    """A red team's folder and what `redteam.json` says about it; `cells` follow from that, and from nothing else.

    The first of `defences` is the job's own. `sites` says how many each split has. `recommends` whether the defence to
    take was asked for.
    """

    what: ClassVar[str] = "red team"
    file: ClassVar[str] = "redteam.json"
    suffix: ClassVar[str] = "-attack"

    path: Path
    job: Job
    scenario: Scenario
    attacks: tuple[str, ...]
    defences: tuple[Defence, ...]
    f: tuple[int, ...]
    sites: Mapping[str, int]
    seeds: int
    gates: tuple[Gate, ...]
    recommends: bool
    engine: str
    task: str
    project: str = ""
    command: str = ""
    cases: tuple[Case, ...] = field(init=False, repr=False)
    cells: tuple[Cell, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cases", cases_of(self.job, self.sites, self.defences, self.f))
        cells = cells_of(
            self.job,
            self.scenario,
            attacks=self.attacks,
            defences=self.defences,
            f=self.f,
            sites=self.sites,
            seeds=self.seeds,
        )
        object.__setattr__(self, "cells", cells)

    @classmethod
    def _built(cls, path: Path, record: Mapping[str, Any]) -> RedTeamFolder:
        recall_rules([record["job"]["aggregate.rule"], *map(rule_of, record["defences"])], record.get("needs", {}))
        return cls(
            path=path,
            job=Job.from_flat(record["job"]),
            scenario=Scenario.from_flat(record["scenario"]),
            attacks=tuple(map(str, record["attacks"])),
            defences=tuple(map(Defence.parse, record["defences"])),
            f=tuple(map(int, record["f"])),
            sites={str(split): int(count) for split, count in record["sites"]},
            seeds=record["seeds"],
            gates=tuple(map(Gate.parse, record["gates"])),
            recommends=bool(record["recommends"]),
            **{key: str(record[key]) for key in ("engine", "task", "project", "command")},
        )

    def _definition(self) -> dict[str, Any]:
        from hedgerow.aggregation.registry import is_own, minimum_rows

        own = sorted({defence.rule for defence in self.defences if is_own(defence.rule)})
        needs = {name: [[f, minimum_rows(name, f)] for f in self.f] for name in own}  # to be read without the task
        return {
            **({"needs": needs} if needs else {}),
            "task": self.task,
            "engine": self.engine,
            "project": self.project,
            "command": self.command,
            "job": self.job.flat(),
            "scenario": self.scenario.flat(),
            "attacks": list(self.attacks),
            "defences": [defence.name for defence in self.defences],
            "f": list(self.f),
            "sites": [[split, count] for split, count in self.sites.items()],
            "seeds": self.seeds,
            "gates": list(map(str, self.gates)),
            "recommends": self.recommends,
        }


def list_red_teams(parent: Path) -> list[RedTeamFolder]:
    """The red teams in a folder, oldest first; other folders are passed over."""
    return list_batches(parent, RedTeamFolder)
