"""Files written whole or not at all, and one code for each way in which a disk says no."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from hedgerow.errors import Exhausted

__all__ = ["append_whole", "disk_errors", "write_whole"]


@contextlib.contextmanager
def disk_errors(what: str, place: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an error that says `what` could not be written.

    Raises:
        Exhausted: E503 no space or quota left, E504 anything else.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Exhausted(
            "E503" if full else "E504",
            f"{what} cannot be written: {error.strerror}",
            place=str(place),
            hint="free some space; a stopped run then goes on with: hedgerow resume RUN"
            if full
            else "choose another folder (for runs, with --runs), or correct the rights of this one",
        ) from None


def write_whole(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Write beside the place and rename into it: a crash or a full disk leaves the old file.

    `durable` also outlives a loss of power, for the price of two fsyncs; a simulation can be run again instead.

    Raises:
        Exhausted: E503, E504.
    """
    with disk_errors(path.name, path.parent):
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(handle)
            os.replace(temporary, path)
            if durable:
                _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def append_whole(file: int, data: bytes) -> None:
    """Write at the end of a file opened for appending: all of `data`, or none of it where the disk is full.

    Raises:
        OSError: as the system says it; the file then is as long as it was.
    """
    size = os.fstat(file).st_size
    try:
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(file, size)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
