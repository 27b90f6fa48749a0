"""A ledger's file in use: what others wrote is taken in first, and what is added is written whole or not at all.

The file is SQLite in WAL mode; every entry is chained to the one before it, and nothing is ever updated in place. Who
writes holds the file's write lock from the first look to the commit.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hedgerow.errors import Refused
from hedgerow.privacy.book import Book
from hedgerow.privacy.chain import FORMAT, Entry, Head, Row, State, linked
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.database import connected, named_errors, sync_folder
from hedgerow.privacy.lifetime import Limit
from hedgerow.privacy.outlay import Outlay
from hedgerow.privacy.reservation import Reservation
from hedgerow.privacy.table import add_rows, create_table, entries_after, entries_until, entry_at

__all__ = ["LedgerFile"]


class LedgerFile:
    """An open ledger file and what its entries add up to (`book`); threads may share it.

    Raises: Tampered E402 for a broken chain, Exhausted E503, E504 or E505 if the file cannot be used.
    """

    def __init__(self, path: Path, *, durable: bool, clock: Callable[[], float]) -> None:
        new = not path.exists()
        self.path = path
        self.book = Book()
        self.connection = connected(path, durable=durable)
        self._clock = clock
        self._lock = threading.RLock()
        self._uncommitted: list[tuple[Row, Entry]] = []
        try:
            with self.writing(new=True):
                if self.book.durable != durable:
                    self._link(State.OPENED, "", {"format": self.book.format, "durable": durable})
            if new and durable:
                sync_folder(path.parent)
        except BaseException:
            self.connection.close()
            raise

    def append(self, state: State, dataset: str, facts: dict[str, Any]) -> Entry:
        """Link the next entry of the current transaction; it is written at its end, and counts once committed."""
        return self._link(state, dataset, facts)

    def append_reserved(self, charge: Charge | Outlay) -> Entry:
        """As `append` for a reservation; the entry has the charge as it reads back."""
        if isinstance(charge, Charge):
            plain = charge.plain()
            return self._link(State.RESERVED, charge.dataset, {"charge": charge.facts()}, charge=plain)
        self._need(FORMAT)
        return self._link(State.RESERVED, charge.dataset, {"outlay": charge.facts()}, outlay=charge)

    def append_limit(self, dataset: str, limit: Limit) -> Entry:
        """As `append` for an operator's limit."""
        self._need(FORMAT)
        return self._link(State.LIMITED, dataset, {"limit": limit.facts()}, limit=limit)

    def state_of(self, reservation: Reservation) -> State:
        """Whether a reservation is open, released or voided. Raises: Refused E204 if it is not of this file."""
        seq = reservation.seq
        entry = self._recalled(seq)
        if entry is None or entry.hash != reservation.hash or entry.reserves != reservation.charge:
            raise Refused("E204", f"charge {seq} is not in this ledger", place=str(self.path))
        if seq in self.book.voided:
            return State.VOIDED
        return entry.state if seq in self.book.open else State.RELEASED

    def seeded(self, charge: Charge | Outlay) -> Entry | None:
        """The entry of a seeded charge that is there exactly as given and was not voided."""
        seq = self.book.streams.get(hash(charge))
        entry = None if seq is None else self._recalled(seq)
        return entry if entry is not None and entry.reserves == charge else None

    def entries(self) -> tuple[Entry, ...]:
        """Everything up to the book's head, with the chain verified again."""
        return entries_until(self.connection, self.book.head, place=str(self.path))

    def close(self) -> None:
        with self._lock:
            self.connection.close()

    @contextmanager
    def writing(self, *, new: bool = False) -> Iterator[None]:
        """Hold the file's write lock; on the disk when the block ends, or not at all. `new` makes the table first."""
        with self._lock, named_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            self._uncommitted.clear()
            try:
                if new:
                    create_table(self.connection)
                self._catch_up()
                yield
                add_rows(self.connection, [row for row, _ in self._uncommitted])
                self.connection.execute("COMMIT")
                self.book.take_in([entry for _, entry in self._uncommitted], place=str(self.path))
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Look at what all processes wrote so far."""
        with self._lock, named_errors(self.path):
            self._catch_up()
            yield

    def _recalled(self, seq: int) -> Entry | None:
        """The entry that reserved a charge, from memory or, if it was settled, from the disk."""
        entry = self.book.open.get(seq)
        if entry is None and 0 < seq <= self.book.head.seq:
            entry = entry_at(self.connection, seq, place=str(self.path))
        return None if entry is None or entry.reserves is None else entry

    def _need(self, format: int) -> None:
        """Have the file say what it holds before the first entry that older versions cannot read."""
        told = [entry.format for _, entry in self._uncommitted if entry.state is State.OPENED]
        if max(told, default=self.book.format) < format:
            self._link(State.OPENED, "", {"format": format, "durable": self.book.durable})

    def _link(
        self,
        state: State,
        dataset: str,
        facts: dict[str, Any],
        *,
        charge: Charge | None = None,
        outlay: Outlay | None = None,
        limit: Limit | None = None,
    ) -> Entry:
        last = self._uncommitted[-1][1] if self._uncommitted else self.book.head
        row, entry = linked(
            Head(seq=last.seq, hash=last.hash),
            state=state,
            dataset=dataset,
            facts={**facts, "time": float(self._clock())},
            charge=charge,
            outlay=outlay,
            limit=limit,
        )
        self._uncommitted.append((row, entry))
        return entry

    def _catch_up(self) -> None:
        """Take in what this and other processes wrote since the last look, checking each link."""
        place = str(self.path)
        with closing(entries_after(self.connection, self.book.head, place=place)) as entries:
            self.book.take_in(entries, place=place)
