"""A folder of one's own for a run or a sweep: made under a name that is free, and held by one process at a time."""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from hedgerow.disk import disk_errors
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["NAME", "held", "new_folder"]

NAME = re.compile(r"\w[\w.-]{0,99}")


def new_folder(parent: Path, name: str | None, *, task: str, what: str, suffix: str = "") -> Path:
    """Make a folder below `parent`, named by time, `task` and `suffix` unless `name` is given.

    `what` it is for ("run", "sweep") is said in errors.

    Raises:
        Exhausted: E503, E504 if it cannot be written. Misconfigured: E115 if `name` exists, E103 if it is no folder's
            name.

    >>> import tempfile
    >>> new_folder(Path(tempfile.mkdtemp()), "first", task="digits", what="run").name
    'first'
    """
    if name and not NAME.fullmatch(name):
        hint = "use letters, digits, '.', '-' and '_'"
        raise Misconfigured("E103", f"a {what} cannot be named {name!r}", place=str(parent), hint=hint)
    kind = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")[:40] or "run"
    stem = name or f"{datetime.now():%Y-%m-%d-%H%M%S}-{kind}{suffix}"
    with disk_errors(f"the {what}", parent):
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            path = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                if name is not None:
                    raise Misconfigured("E115", f"the {what} '{name}' exists already", place=str(parent)) from None
    return path


@contextlib.contextmanager
def held(path: Path, *, what: str) -> Iterator[None]:
    """Hold a folder: a second process that wants it gets an error at once. A crash releases it.

    Raises:
        Exhausted: E506 if another process holds it, E503, E504 if it cannot be written.
    """
    with disk_errors(f"the {what}", path):
        file = open(path / ".lock", "w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Exhausted("E506", f"another process is running this {what}", place=str(path)) from None
        yield
