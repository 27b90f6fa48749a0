"""A ledger's file read without writing to it: for those who only look, also where they may not write."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hedgerow.privacy.book import Book
from hedgerow.privacy.chain import Entry, Head, Row, genesis, verified
from hedgerow.privacy.database import named_errors
from hedgerow.privacy.table import all_rows

__all__ = ["Pages", "read_ledger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What a ledger held when it was read: its rows as they lie in the file, and what they say."""

    rows: tuple[Row, ...]
    entries: tuple[Entry, ...]
    book: Book

    @property
    def head(self) -> Head:
        return self.book.head


def read_ledger(path: Path) -> Pages:
    """Read a whole ledger and verify its chain; the file's content is not changed.

    Raises: Tampered E402 for a broken chain, a file that is no ledger, or one of a newer version. Exhausted E504, E505
    if it cannot be read.
    """
    place = str(path)
    with named_errors(path), _read_only(path) as connection:
        rows = all_rows(connection)
    entries = tuple(verified(rows, genesis(), place=place))
    book = Book()
    book.take_in(entries, place=place)
    return Pages(rows=tuple(rows), entries=entries, book=book)


@contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=60.0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError:
            # In a folder that nobody may write to, SQLite cannot make the files that it shares a WAL through. Without
            # a WAL there is nothing to share, and the file can be read as it lies; with one, entries would be missed.
            wal = path.with_name(f"{path.name}-wal")
            if not path.exists() or (wal.exists() and os.path.getsize(wal)):
                raise
            with closing(sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)) as lying:
                yield lying
            return
        yield connection
