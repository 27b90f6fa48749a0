"""A run's checkpoints: one file per released model, named by its own hash, and a manifest that says which counts.

```
models/<sha256>.safetensors   a model, or an optimiser's state
manifest.jsonl                the model's layout, then a line a round → model and optimiser state
```

Models and states are written beside their place and renamed into it, then the round's line is added: only then does it
count. What a round costs does not grow with the rounds before it. A line that a kill left half-written counts for
nothing; a line whose round is not after the one above takes back what stands above from that round on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.disk import append_whole, disk_errors, write_whole
from hedgerow.errors import Misconfigured, Rejected, Tampered
from hedgerow.update import Layout, Vector

__all__ = ["Checkpoint", "Checkpoints"]

SCHEMA = 2
EARLIER = "manifest.json"  # where schema 1 had it, all in one object: a run with this alone is not gone on with
SHA256 = re.compile("[0-9a-f]{64}")
KEPT_BYTES = 1 << 30  # older models beyond this are deleted; the first, the last three and the manifest stay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The model after `round` rounds, and what the server optimiser needs to go on from it."""

    round: int
    model: Vector
    state: Mapping[str, np.ndarray]
    model_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One round of the manifest: the hashes of its model and of the optimiser's state (empty where it has none)."""

    round: int
    model: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """The manifest as it was read. `whole` says that a line can be added to the file as it is."""

    layout: Layout
    entries: list[_Entry]
    whole: bool


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What this process knows of the folder as long as the manifest is the file that it wrote or read (`stamp`)."""

    stamp: tuple[int, ...]
    layout: Layout | None  # of the file that a line can be added to
    entries: list[_Entry]
    released: set[str]
    size: int  # bytes of all models and states
    pruned: int = 1  # entries before this one, but for the first, have no model any more


class Checkpoints:
    """The checkpoints in a run's folder. Whoever saves holds the run's lock.

    `durable` writes also outlive a loss of power.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._models = path / "models"
        self._manifest = path / "manifest.jsonl"
        self._durable = durable
        self._memory: _Memory | None = None

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
        memory = self._remembered()
        sha256 = self._write_tensors(layout.split(model), memory)
        state_sha256 = self._write_tensors(state, memory) if state else ""
        announce(sha256)
        self._memory = None  # until the round's line is written, only the disk knows what counts
        _take(memory.entries, _Entry(round=round_number, model=sha256, state=state_sha256))
        self._write_last(layout, memory)
        memory.released.add(sha256)
        self._prune(memory)
        self._memory = memory
        return sha256

    def latest(self) -> tuple[Layout, Checkpoint] | None:
        """The last whole checkpoint, verified against its hash; `None` before the first.

        Raises:
            Tampered: E401 if a file does not match its name.
        """
        manifest = self._read()
        if manifest is None:
            return None
        entry, layout = manifest.entries[-1], manifest.layout
        tensors = self._read_tensors(entry.model)
        state = self._read_tensors(entry.state) if entry.state else {}
        try:
            model = layout.join({name: tensors[name] for name in layout.names})
        except (KeyError, Rejected):
            raise Tampered("E401", "the manifest does not fit the model it names", place=str(self._path)) from None
        return layout, Checkpoint(round=entry.round, model=model, state=state, model_sha256=entry.model)

    def rounds(self) -> dict[int, str]:
        """Round → model sha256."""
        manifest = self._read()
        return {} if manifest is None else {entry.round: entry.model for entry in manifest.entries}

    def _remembered(self) -> _Memory:
        """What is known of the folder, read again unless the manifest is the file that was written last."""
        stamp = _stamp(self._manifest)
        if self._memory is not None and self._memory.stamp == stamp:
            return self._memory
        manifest = self._read()
        entries = [] if manifest is None else manifest.entries
        return _Memory(
            stamp=stamp,
            layout=manifest.layout if manifest is not None and manifest.whole else None,
            entries=entries,
            released={entry.model for entry in entries},
            size=sum(path.stat().st_size for path in self._models.glob("*.safetensors")),
        )

    def _read(self) -> _Manifest | None:
        """The manifest; `None` before the first checkpoint."""
        foreign, manifest = False, None
        try:
            first, *others, rest = self._manifest.read_bytes().split(b"\n")
            header, lines = json.loads(first), [json.loads(line) for line in others]
            foreign = header["schema_version"] != SCHEMA
            manifest = None if foreign else _understood(header, lines, whole=not rest)
        except FileNotFoundError:
            if not (self._path / EARLIER).exists():
                return None
            foreign = True
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            pass  # said below
        if foreign:
            raise Misconfigured("E113", "the run was written by another version of Hedgerow", place=str(self._path))
        if manifest is None:
            raise Tampered("E401", f"{self._manifest.name} cannot be read", place=str(self._path))
        return manifest

    def _write_last(self, layout: Layout, memory: _Memory) -> None:
        """Make the last entry count: add its line, or write all where no line can be added."""
        if memory.layout == layout:
            with disk_errors(self._manifest.name, self._path):
                file = os.open(self._manifest, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                try:
                    append_whole(file, _line(memory.entries[-1]))
                    if self._durable:
                        os.fsync(file)
                finally:
                    os.close(file)
        else:
            header = {"schema_version": SCHEMA, "names": layout.names, "shapes": layout.shapes}
            lines = [json.dumps(header).encode() + b"\n", *map(_line, memory.entries)]
            write_whole(self._manifest, b"".join(lines), durable=self._durable)
            memory.layout = layout
        memory.stamp = _stamp(self._manifest)

    def _write_tensors(self, tensors: Mapping[str, np.ndarray], memory: _Memory) -> str:
        from safetensors.numpy import save

        data = save({name: np.asarray(value, order="C") for name, value in tensors.items()})  # shape () stays ()
        sha256 = hashlib.sha256(data).hexdigest()
        target = self._file(sha256)
        if not os.path.exists(target):
            write_whole(target, data, durable=self._durable)
            memory.size += len(data)
        return sha256

    def _read_tensors(self, sha256: str) -> dict[str, np.ndarray]:
        from safetensors.numpy import load

        path = self._file(sha256)
        try:
            data = path.read_bytes()
        except OSError:
            raise Tampered("E401", "a checkpoint's file is missing", place=str(path)) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Tampered("E401", "a checkpoint's file does not match its hash", place=str(path))
        return dict(load(data))

    def _file(self, sha256: str) -> Path:
        return self._models / f"{sha256}.safetensors"

    def _prune(self, memory: _Memory) -> None:
        """Delete old optimiser states, and the oldest models once all together pass `KEPT_BYTES`."""
        entries = memory.entries
        needed = {entry.state for entry in entries[-2:]}
        for entry in entries[-4:-2]:  # files are named by content, so a state could be a model too
            if entry.state and entry.state not in needed and entry.state not in memory.released:
                memory.size -= _deleted(self._file(entry.state))
        protected = needed | {entry.model for entry in entries[:1] + entries[-3:]}
        memory.pruned = max(1, min(memory.pruned, len(entries) - 3))
        while memory.size > KEPT_BYTES and memory.pruned < len(entries) - 3:
            entry = entries[memory.pruned]
            if entry.model not in protected:
                memory.size -= _deleted(self._file(entry.model))
            memory.pruned += 1


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes whenever another file takes this place or somebody writes into it; empty if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _deleted(path: Path) -> int:
    """Delete a file; returns how many bytes it had."""
    try:
        size = os.stat(path).st_size
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return size


def _take(entries: list[_Entry], entry: _Entry) -> None:
    """Add a round; if the run went back to it, it replaces itself and what followed."""
    while entries and entries[-1].round >= entry.round:
        entries.pop()
    entries.append(entry)


def _line(entry: _Entry) -> bytes:
    return f'{{"round": {entry.round}, "model": "{entry.model}", "state": "{entry.state}"}}\n'.encode()


def _understood(header: Mapping[str, Any], lines: Iterable[Mapping[str, Any]], *, whole: bool) -> _Manifest | None:
    """The manifest, or `None` if it is not one as they are written: hashes become paths, also of what is deleted."""
    names, shapes = header["names"], header["shapes"]
    entries: list[_Entry] = []
    for line in lines:
        entry = _Entry(round=line["round"], model=line["model"], state=line["state"])
        hashes = [entry.model, entry.state] if entry.state else [entry.model]
        if not isinstance(entry.round, int) or not all(SHA256.fullmatch(name) for name in hashes):
            return None
        _take(entries, entry)
    sound = (
        len(entries) > 0
        and all(isinstance(name, str) for name in names)
        and all(isinstance(length, int) for shape in shapes for length in shape)
        and len(names) == len(shapes)
    )
    layout = Layout(names=tuple(names), shapes=tuple(tuple(shape) for shape in shapes))
    return _Manifest(layout=layout, entries=entries, whole=whole) if sound else None
