"""A batch of runs on disk: the file that says what it consists of, the runs of its cells, and the lock on it all."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.folders import held
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.simulations.sweeps.cells import Cell
from hedgerow.simulations.sweeps.record import definition_digest, open_record, write_record

__all__ = ["BatchFolder", "list_batches"]

F = TypeVar("F", bound="BatchFolder")


class BatchFolder(ABC):
    """A frozen dataclass that follows from one file, whose `what`, `file` and folder's `suffix` its kind says."""

    __slots__ = ()
    what: ClassVar[str]
    file: ClassVar[str]
    suffix: ClassVar[str]

    path: Path
    job: Job
    scenario: Scenario
    seeds: int
    engine: str
    task: str
    project: str
    command: str
    cells: tuple[Cell, ...]

    @abstractmethod
    def _definition(self) -> dict[str, Any]:
        """All of it but the folder's place, as JSON."""

    @classmethod
    @abstractmethod
    def _built(cls: type[F], path: Path, record: Mapping[str, Any]) -> F:
        """The batch that a definition describes. What it raises is no valid definition."""

    @property
    def name(self) -> str:
        return self.path.name

    def digest(self) -> str:
        """SHA-256 over the canonical form of everything but the folder's place."""
        return definition_digest(self.what, self._definition())

    def run_path(self, cell: Cell) -> Path:
        """Where the run of a cell is, or will be."""
        return self.path / "cells" / cell.name

    def write(self: F, parent: Path, name: str | None = None) -> F:
        """Make the folder below `parent`, named by time and task unless `name` is given; returns it at its place.

        Raises:
            Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no
                folder's name.
        """
        definition = self._definition()
        path = write_record(
            parent, self.file, definition, what=self.what, name=name, task=self.task, suffix=self.suffix
        )
        return replace(self, path=path)  # type: ignore[type-var]

    @classmethod
    def open(cls: type[F], path: Path) -> F:
        """An existing one.

        Raises:
            Misconfigured: E112 no such folder, E113 not one of this kind, or of another version. Tampered: E401 if what
                it consists of was changed.
        """
        return open_record(path, cls.file, what=cls.what, build=lambda record: cls._built(path, record))

    def lock(self) -> AbstractContextManager[None]:
        """Hold it: a second process that wants it gets an error at once. A crash releases it.

        Raises:
            Exhausted: E506.
        """
        return held(self.path, what=self.what)


def list_batches(parent: Path, kind: type[F]) -> list[F]:
    """The batches of a kind in a folder, oldest first; other folders are passed over."""
    found = []
    for path in sorted(parent.glob(f"*/{kind.file}")):
        with contextlib.suppress(Misconfigured, Tampered):
            found.append(kind.open(path.parent))
    return found
