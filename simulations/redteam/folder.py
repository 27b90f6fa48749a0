"""A red team on disk: what it consists of, the runs of its cells, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits-attack/
  redteam.json     the job, the scenario, attacks, defences, f, splits, seeds, gates, and a digest of it all
  cells/nnm-trimmed-mean_alie_seed-0/   an ordinary run
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
from hedgerow.report.redteamrows import Case
from hedgerow.scenario import Scenario
from hedgerow.simulations.redteam.cells import cases_of, cells_of
from hedgerow.simulations.redteam.defences import Defence, rule_of
from hedgerow.simulations.redteam.gate import Gate
from hedgerow.simulations.sweeps.cells import Cell
from hedgerow.simulations.sweeps.record import definition_digest, open_record, recall_rules, write_record

__all__ = ["RedTeamFolder", "list_red_teams"]

WHAT = "red team"
FILE = "redteam.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedTeamFolder:
    """A red team's folder and what `redteam.json` says about it; `cells` follow from that, and from nothing else.

    The first of `defences` is the job's own. `sites` says how many each split has. `recommends` whether the defence to
    take was asked for.
    """

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

    @property
    def name(self) -> str:
        return self.path.name

    def digest(self) -> str:
        """SHA-256 over the canonical form of everything but the folder's place."""
        return definition_digest(WHAT, self._definition())

    def run_path(self, cell: Cell) -> Path:
        """Where the run of a cell is, or will be."""
        return self.path / "cells" / cell.name

    def write(self, parent: Path, name: str | None = None) -> RedTeamFolder:
        """Make the folder below `parent`, named by time and task unless `name` is given; returns it at its place.

        Raises:
            Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no
                folder's name.
        """
        path = write_record(parent, FILE, self._definition(), what=WHAT, name=name, task=self.task, suffix="-attack")
        return replace(self, path=path)

    @classmethod
    def open(cls, path: Path) -> RedTeamFolder:
        """An existing red team.

        Raises:
            Misconfigured: E112 no such red team, E113 not one, or one of another version. Tampered: E401 if what it
                consists of was changed.
        """

        def build(record: Mapping[str, Any]) -> RedTeamFolder:
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

        return open_record(path, FILE, what=WHAT, build=build)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the red team: a second process that wants it gets an error at once. A crash releases it.

        Raises:
            Exhausted: E506.
        """
        return held(self.path, what=WHAT)

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
    found = []
    for path in sorted(parent.glob(f"*/{FILE}")):
        with contextlib.suppress(Misconfigured, Tampered):
            found.append(RedTeamFolder.open(path.parent))
    return found
