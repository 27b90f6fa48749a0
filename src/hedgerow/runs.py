"""A run on disk: its folder, its checkpoints, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits/
  job.json         the job, its digest, the scenario, the engine, where the project is
  events.jsonl     everything that happened; reports are drawn from it
  models/<sha256>.safetensors   one file per released model, named by its own hash
  manifest.jsonl   round → model and optimiser state, a line a round
  ledger.sqlite    what each simulated site has spent (a real site keeps its own)
  report.html  report.json
```

Files are written beside their place and renamed into it, so a reader never sees half of one; to events and manifest
lines are added, and a line that a kill left half-written counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.checkpoints import Checkpoint, Checkpoints
from hedgerow.disk import disk_errors, write_whole
from hedgerow.errors import Misconfigured, Tampered
from hedgerow.folders import held, new_folder
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.store import LEDGER
from hedgerow.update import Layout, Vector

__all__ = ["RunFolder", "list_runs"]

SCHEMA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run's folder and what `job.json` says about it. `scenario` is `None` in a deployment."""

    path: Path
    job: Job
    scenario: Scenario | None
    engine: str
    task: str
    project: str = ""
    _checkpoints: Checkpoints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checkpoints", Checkpoints(self.path, durable=self.scenario is None))

    @classmethod
    def create(
        cls,
        parent: Path,
        *,
        job: Job,
        scenario: Scenario | None,
        engine: str,
        task: str,
        project: str = "",
        name: str | None = None,
    ) -> RunFolder:
        """Make a new folder, named by time and task unless `name` is given.

        Raises:
            Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no
                folder's name.
        """
        path = new_folder(parent, name, task=task, what="run")
        with disk_errors("the run", path):
            (path / "models").mkdir()
        folder = cls(path=path, job=job, scenario=scenario, engine=engine, task=task, project=project)
        record = {
            "schema_version": SCHEMA,
            "run": path.name,
            "task": task,
            "engine": engine,
            "project": project,
            "job": job.flat(),
            "job_digest": job.digest(),
            "scenario": None if scenario is None else scenario.flat(),
        }
        write_whole(path / "job.json", json.dumps(record, indent=2).encode() + b"\n")
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            Misconfigured: E112 no such run, E113 not a run, or one of another version. Tampered: E401 if its job was
                changed.
        """
        try:
            record: dict[str, Any] = json.loads((path / "job.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            hint = "list the runs with: hedgerow ls"
            raise Misconfigured("E112", f"there is no run at {path}", hint=hint) from None
        except (OSError, ValueError, RecursionError):
            raise Misconfigured("E113", "job.json cannot be read", place=str(path)) from None
        if not isinstance(record, dict) or record.get("schema_version") != SCHEMA:
            raise Misconfigured("E113", "the run folder was written by another version of Hedgerow", place=str(path))
        try:
            job = Job.from_record(record["job"])
            scenario = None if record["scenario"] is None else Scenario.from_flat(record["scenario"])
            words = {key: str(record[key]) for key in ("engine", "task", "project")}
            digest = record["job_digest"]
        except (KeyError, TypeError, AttributeError, Misconfigured) as error:
            raise Misconfigured("E113", f"job.json cannot be understood: {error}", place=str(path)) from None
        if job.digest() != digest:
            raise Tampered("E401", "the job in job.json does not match its digest", place=str(path / "job.json"))
        return cls(path=path, job=job, scenario=scenario, **words)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def ledger(self) -> Path:
        return self.path / LEDGER

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run: a second process that wants it gets an error at once. A crash releases it.

        Raises:
            Exhausted: E506.
        """
        return held(self.path, what="run")

    def save(
        self,
        round_number: int,
        layout: Layout,
        model: Vector,
        state: Mapping[str, np.ndarray],
        *,
        announce: Callable[[str], None] = lambda sha256: None,
    ) -> str:
        """As `Checkpoints.save`: a round's model and optimiser state; returns the model's sha256."""
        return self._checkpoints.save(round_number, layout, model, state, announce=announce)

    def latest(self) -> tuple[Layout, Checkpoint] | None:
        """As `Checkpoints.latest`: the last whole checkpoint, verified against its hash; `None` before the first."""
        return self._checkpoints.latest()

    def rounds(self) -> dict[int, str]:
        """Round → model sha256."""
        return self._checkpoints.rounds()


def list_runs(parent: Path) -> list[RunFolder]:
    """The runs in a folder, oldest first; other folders are passed over."""
    found = []
    for path in sorted(parent.glob("*/job.json")):
        with contextlib.suppress(Misconfigured, Tampered):
            found.append(RunFolder.open(path.parent))
    return found
