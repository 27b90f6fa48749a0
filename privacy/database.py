"""How the ledger's file is opened, and what its errors are called."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hedgerow.errors import Exhausted, HedgerowError, Tampered

__all__ = ["connected", "named_errors", "sync_folder"]

_PATIENCE = 60.0  # seconds to wait for other processes


def connected(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Connect to the SQLite file at `path` with write-ahead logging and no implicit transactions.

    With `durable`, a commit is on the disk when it returns; without, it survives the process only.
    Raises: Exhausted E503, E504 or E505 if the file cannot be used, Tampered E402 if it is not a database.
    """
    with named_errors(path):
        # Transactions are begun by hand: Python's implicit ones would not take the write lock at once.
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            _switch_to_wal(connection)
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("PRAGMA fullfsync=1")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says into errors with a code and a next step."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise _ERRORS.get(code, _not_a_ledger)(str(error), str(path)) from error


def _not_a_ledger(words: str, place: str) -> HedgerowError:
    return Tampered("E402", f"the file is not a ledger: {words}", place=place, hint="restore it from a trusted copy")


def _full(words: str, place: str) -> HedgerowError:
    hint = "make room; nothing was released and what is charged stays charged"
    return Exhausted("E503", f"the ledger cannot grow: {words}", place=place, hint=hint)


def _not_writable(words: str, place: str) -> HedgerowError:
    return Exhausted("E504", f"the ledger cannot be written: {words}", place=place, hint="check the folder's rights")


def _busy(words: str, place: str) -> HedgerowError:
    hint = "another process holds the ledger; try again"
    return Exhausted("E505", f"the ledger was locked for {_PATIENCE:g} s: {words}", place=place, hint=hint)


_ERRORS: dict[int, Callable[[str, str], HedgerowError]] = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_READONLY: _not_writable,
    sqlite3.SQLITE_CANTOPEN: _not_writable,
    sqlite3.SQLITE_PERM: _not_writable,
    sqlite3.SQLITE_IOERR: _not_writable,
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
}


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging: SQLite does not wait by itself when several processes do so at once."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power loss too."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
