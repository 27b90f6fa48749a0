"""A run on disk: its folder, its checkpoints, and the lock that keeps a second process out.

```
runs/2026-11-24-103000-digits/
  job.json         the job, its digest, the scenario, the engine, where the project is
  events.jsonl     everything that happened; reports are drawn from it
  models/<sha256>.safetensors   one file per released model, named by its own hash
  manifest.json    round → model and optimiser state
  ledger.sqlite    what each simulated site has spent (a real site keeps its own)
  report.html  report.json
```

Files are written beside their place and renamed into it, so a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.disk import disk_errors, write_whole
from hedgerow.errors import Exhausted, Misconfigured, Rejected, Tampered
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.update import Layout, Vector

__all__ = ["Checkpoint", "RunFolder", "list_runs"]

SCHEMA = 1
SHA256 = re.compile("[0-9a-f]{64}")
NAME = re.compile(r"\w[\w.-]{0,99}")
KEPT_BYTES = 1 << 30  # older models beyond this are deleted; the first, the last three and the manifest stay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The model after `round` rounds, and what the server optimiser needs to go on from it."""

    round: int
    model: Vector
    state: Mapping[str, np.ndarray]
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run's folder and what `job.json` says about it. `scenario` is `None` in a deployment."""

    path: Path
    job: Job
    scenario: Scenario | None
    engine: str
    task: str
    project: str = ""
    variant: str = ""

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
        variant: str = "",
    ) -> RunFolder:
        """Make a new folder, named by time and task unless `name` is given.

        Raises:
            Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no
                folder's name.
        """
        if name and not NAME.fullmatch(name):
            hint = "use letters, digits, '.', '-' and '_'"
            raise Misconfigured("E103", f"a run cannot be named {name!r}", place=str(parent), hint=hint)
        kind = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:40] or "run"
        stem = name or f"{datetime.now():%Y-%m-%d-%H%M%S}-{kind}"
        with disk_errors("the run", parent):
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 1000):
                path = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    if name is not None:
                        raise Misconfigured("E115", f"the run '{name}' exists already", place=str(parent)) from None
            (path / "models").mkdir()
        folder = cls(path=path, job=job, scenario=scenario, engine=engine, task=task, project=project, variant=variant)
        record = {
            "schema_version": SCHEMA,
            "run": path.name,
            "task": task,
            "engine": engine,
            "project": project,
            "variant": variant,
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
            job = Job.from_flat(record["job"])
            scenario = None if record["scenario"] is None else Scenario.from_flat(record["scenario"])
            words = {key: str(record[key]) for key in ("engine", "task", "project", "variant")}
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
    def _durable(self) -> bool:
        return self.scenario is None

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.sqlite"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run: a second process that wants it gets an error at once. A crash releases it.

        Raises:
            Exhausted: E506.
        """
        with disk_errors("the run", self.path):
            file = open(self.path / ".lock", "w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Exhausted("E506", "another process is running this run", place=str(self.path)) from None
            yield

    def save(
        self,
        round_number: int,
        layout: Layout,
        model: Vector,
        state: Mapping[str, np.ndarray],
        *,
        announce: Callable[[str], None] = lambda sha256: None,
    ) -> str:
        """Write a round's model and optimiser state; returns the model's sha256.

        The manifest is written last, after `announce` heard the hash: only then does the round count.

        Raises:
            Exhausted: E503, E504. The previous checkpoint stays whole.
        """
        sha256 = self._write_tensors(layout.split(model))
        state_sha256 = self._write_tensors(state) if state else ""
        announce(sha256)
        rounds = [entry for entry in self._manifest_rounds() if entry["round"] < round_number]
        rounds.append({"round": round_number, "model": sha256, "state": state_sha256})
        manifest = {
            "schema_version": SCHEMA,
            "names": layout.names,
            "shapes": layout.shapes,
            "rounds": rounds,
        }
        write_whole(self.path / "manifest.json", json.dumps(manifest, indent=1).encode() + b"\n", durable=self._durable)
        self._prune(rounds)
        return sha256

    def latest(self) -> tuple[Layout, Checkpoint] | None:
        """The last whole checkpoint, verified against its hash; `None` before the first.

        Raises:
            Tampered: E401 if a file does not match its name.
        """
        if not (self.path / "manifest.json").exists():
            return None
        manifest = self._manifest()
        entry = manifest["rounds"][-1]
        tensors = self._read_tensors(entry["model"])
        state = self._read_tensors(entry["state"]) if entry["state"] else {}
        try:
            layout = Layout(names=tuple(manifest["names"]), shapes=tuple(tuple(shape) for shape in manifest["shapes"]))
            model = layout.join({name: tensors[name] for name in layout.names})
        except (KeyError, Rejected):
            raise Tampered("E401", "manifest.json does not fit the model it names", place=str(self.path)) from None
        return layout, Checkpoint(round=entry["round"], model=model, state=state, model_sha256=entry["model"])

    def rounds(self) -> dict[int, str]:
        """Round → model sha256."""
        return {entry["round"]: entry["model"] for entry in self._manifest_rounds()}

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_bytes())
            foreign = manifest["schema_version"] != SCHEMA
            whole = foreign or _is_whole(manifest)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            foreign, whole = False, False
        if not whole:
            raise Tampered("E401", "manifest.json cannot be read", place=str(self.path))
        if foreign:
            raise Misconfigured("E113", "the run was written by another version of Hedgerow", place=str(self.path))
        return manifest

    def _manifest_rounds(self) -> list[dict[str, Any]]:
        return list(self._manifest()["rounds"]) if (self.path / "manifest.json").exists() else []

    def _write_tensors(self, tensors: Mapping[str, np.ndarray]) -> str:
        from safetensors.numpy import save

        data = save({name: np.asarray(value, order="C") for name, value in tensors.items()})  # shape () stays ()
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path / "models" / f"{sha256}.safetensors"
        if not target.exists():
            write_whole(target, data, durable=self._durable)
        return sha256

    def _read_tensors(self, sha256: str) -> dict[str, np.ndarray]:
        from safetensors.numpy import load

        path = self.path / "models" / f"{sha256}.safetensors"
        try:
            data = path.read_bytes()
        except OSError:
            raise Tampered("E401", "a checkpoint's file is missing", place=str(path)) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Tampered("E401", "a checkpoint's file does not match its hash", place=str(path))
        return dict(load(data))

    def _prune(self, rounds: list[dict[str, Any]]) -> None:
        """Delete old optimiser states, and the oldest models once all together pass `KEPT_BYTES`."""
        models = self.path / "models"
        needed = {entry["state"] for entry in rounds[-2:]}
        released = {entry["model"] for entry in rounds}  # files are named by content, so a state could be a model too
        for entry in rounds[-4:-2]:
            if entry["state"] and entry["state"] not in needed | released:
                (models / f"{entry['state']}.safetensors").unlink(missing_ok=True)
        size = sum(path.stat().st_size for path in models.glob("*.safetensors")) if len(rounds) % 20 == 0 else 0
        protected = needed | {entry["model"] for entry in rounds[:1] + rounds[-3:]}
        for entry in rounds[1:-3]:
            path = models / f"{entry['model']}.safetensors"
            if size <= KEPT_BYTES:
                break
            if entry["model"] not in protected and path.exists():
                size -= path.stat().st_size
                path.unlink()


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    kinds = {"round": int, "model": str, "state": str}
    entries = manifest["rounds"]
    return (
        len(entries) > 0
        and all(isinstance(entry[key], kind) for entry in entries for key, kind in kinds.items())
        and all(SHA256.fullmatch(entry["model"]) for entry in entries)  # they become paths, also of what is deleted
        and all(SHA256.fullmatch(entry["state"]) for entry in entries if entry["state"])
        and all(isinstance(name, str) for name in manifest["names"])
        and all(isinstance(length, int) for shape in manifest["shapes"] for length in shape)
        and len(manifest["names"]) == len(manifest["shapes"])
    )


def list_runs(parent: Path) -> list[RunFolder]:
    """The runs in a folder, oldest first; other folders are passed over."""
    found = []
    for path in sorted(parent.glob("*/job.json")):
        with contextlib.suppress(Misconfigured, Tampered):
            found.append(RunFolder.open(path.parent))
    return found
