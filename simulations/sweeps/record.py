"""The file that says what a batch of runs consists of, with a digest of all of it: `sweep.json`, `redteam.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from hedgerow.disk import write_whole
from hedgerow.errors import Misconfigured, Tampered
from hedgerow.folders import new_folder

__all__ = ["definition_digest", "open_record", "recall_rules", "write_record"]

SCHEMA = 1
NOTHING: Mapping[str, Iterable[tuple[int, int]]] = MappingProxyType({})


B = TypeVar("B")


def definition_digest(what: str, definition: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical form of a definition; `what` it is of belongs to it."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"hedgerow {what} 1\n{text}".encode()).hexdigest()


def write_record(
    parent: Path, file: str, definition: Mapping[str, Any], *, what: str, name: str | None, task: str, suffix: str
) -> Path:
    """Make a folder below `parent` with the definition in `file`; returns the folder.

    Raises:
        Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no folder's
            name.
    """
    path = new_folder(parent, name, task=task, what=what, suffix=suffix)
    digest = definition_digest(what, definition)
    record = {"schema_version": SCHEMA, Path(file).stem: path.name, **definition, "digest": digest}
    write_whole(path / file, json.dumps(record, indent=2).encode() + b"\n")
    return path


def open_record(path: Path, file: str, *, what: str, build: Callable[[Mapping[str, Any]], B]) -> B:
    """What `build` makes of the definition in `file`, whose digest must be the one that was written.

    The digest is of what stands there, not of what is made of it: a setting that came later does not change it.

    Raises:
        Misconfigured: E112 no such folder, E113 another file, or one of another version. Tampered: E401 if the
            definition was changed.
    """
    try:
        record: dict[str, Any] = json.loads((path / file).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        hint = "list the runs and sweeps with: hedgerow ls"
        raise Misconfigured("E112", f"there is no {what} at {path}", hint=hint) from None
    except (OSError, ValueError, RecursionError):
        raise Misconfigured("E113", f"{file} cannot be read", place=str(path)) from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA:
        raise Misconfigured("E113", f"the {what} was written by another version of Hedgerow", place=str(path))
    try:
        found = build(record)
        digest = record["digest"]
    except (KeyError, TypeError, AttributeError, ValueError, Misconfigured) as error:
        raise Misconfigured("E113", f"{file} cannot be understood: {error}", place=str(path)) from None
    definition = {
        key: value for key, value in record.items() if key not in ("schema_version", Path(file).stem, "digest")
    }
    if definition_digest(what, definition) != digest:
        raise Tampered("E401", f"the {what} in {file} does not match its digest", place=str(path / file))
    return found


def recall_rules(names: Iterable[str], needs: Mapping[str, Iterable[tuple[int, int]]] = NOTHING) -> None:
    """Let a record name rules that its task registered, though no task is here; `needs` as `recall_rule`, by name.

    Raises:
        Misconfigured: E103 if one can be no rule's name.
    """
    from hedgerow.aggregation.own_rule import recall_rule

    for name in names:
        recall_rule(name, {f: rows for f, rows in needs.get(name, ())})
