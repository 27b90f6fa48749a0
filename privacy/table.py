"""The table in which a ledger's entries lie: a row an entry, only ever added to, read with every link checked."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing

from hedgerow.errors import Tampered
from hedgerow.privacy.chain import Entry, Head, Row, genesis, verified

__all__ = ["add_rows", "all_rows", "create_table", "entries_after", "entries_until", "entry_at"]

_COLUMNS = "seq, dataset, state, body, hash"
_CREATE = """CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, dataset TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL)"""
_ADD = f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
_FROM = f"SELECT {_COLUMNS} FROM entries WHERE seq >= ? ORDER BY seq"
_UNTIL = f"SELECT {_COLUMNS} FROM entries WHERE seq <= ? ORDER BY seq"
_PAIR = f"SELECT {_COLUMNS} FROM entries WHERE seq IN (?, ?) ORDER BY seq"


def create_table(connection: sqlite3.Connection) -> None:
    """Make the table unless it is there."""
    connection.execute(_CREATE)


def add_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add rows to the current transaction."""
    connection.executemany(_ADD, rows)


def all_rows(connection: sqlite3.Connection) -> list[Row]:
    """Read every row as it lies there, unchecked."""
    return connection.execute(_FROM, (0,)).fetchall()


def entries_after(connection: sqlite3.Connection, head: Head, *, place: str) -> Generator[Entry, None, None]:
    """Read what follows `head`, checking each link; close what is not read to its end.

    Raises: Tampered E402 if `head` itself is no longer what it was, or at the first row that does not follow.
    """
    with closing(connection.execute(_FROM, (head.seq,))) as rows:
        if head.seq:
            last = next(rows, None)
            if last is None or last[0] != head.seq or last[4] != head.hash:
                raise Tampered("E402", f"entry {head.seq} has changed or is gone", place=place)
        yield from verified(rows, head, place=place)


def entries_until(connection: sqlite3.Connection, head: Head, *, place: str) -> tuple[Entry, ...]:
    """Read everything up to `head`, checking each link. Raises: Tampered E402 as `entries_after`."""
    return tuple(verified(connection.execute(_UNTIL, (head.seq,)), genesis(), place=place))


def entry_at(connection: sqlite3.Connection, seq: int, *, place: str) -> Entry | None:
    """Read one entry, checking its link to the one before; nothing if there is none of this number."""
    rows = connection.execute(_PAIR, (seq - 1, seq)).fetchall()
    if not rows or rows[-1][0] != seq:
        return None
    previous = genesis() if seq == 1 else Head(seq=seq - 1, hash=rows[0][4])
    (entry,) = verified(rows[-1:], previous, place=place)
    return entry
