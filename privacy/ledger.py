"""A site's ledger: what was done to its records, written before it is done, and refused beyond the budget.

The order is always reserve → draw noise → release. A reservation is on the disk, and counts, before any noise
exists; a crash at any point afterwards leaves it counted. Only a reservation from which nothing left the
process can be voided. The file is SQLite in WAL mode; every entry is chained to the one before it, and nothing
is ever updated in place. Many processes may share the file: who reserves holds the write lock while the budget
is checked, so a race never overspends it.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hedgerow.errors import Misconfigured, Refused
from hedgerow.privacy.account import Account, Spent
from hedgerow.privacy.accounting import Accountant, rdp_curve
from hedgerow.privacy.book import Book
from hedgerow.privacy.chain import FORMAT, Entry, Head, Row, State, linked
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.database import connected, named_errors, sync_folder
from hedgerow.privacy.table import add_rows, create_table, entries_after, entries_until, entry_at

__all__ = ["Entry", "Head", "Ledger", "Reservation", "Spent", "State"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A charge that is on the disk. `fresh` is false if an identical seeded charge was already there."""

    seq: int
    hash: str
    charge: Charge
    fresh: bool


class Ledger:
    """What a site's data sets have spent. Open it with `Ledger.open`; use one object per process.

    Guarantee: after `reserve` returns, the charge counts for ever unless it is voided, also after a kill, and
    with `durable=True` after a power loss. The composed price of a data set's charges never exceeds the limit
    given to `reserve`, for any number of processes.

    >>> import tempfile
    >>> charge = Charge(dataset="ward-7", noise_multiplier=2.0, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
    ...                 job="j", run="r", round=1, model="m", randomness="operating system generator")
    >>> with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
    ...     reservation = ledger.reserve(charge, limit_epsilon=1.0, accountant="rdp")
    ...     ledger.release(reservation)
    ...     round(ledger.spent("ward-7", delta=1e-5, accountant="rdp").epsilon, 2)
    0.94
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._path = path
        self._connection = connection
        self._clock = clock
        self._lock = threading.RLock()
        self._book = Book()
        self._uncommitted: list[tuple[Row, Entry]] = []

    @classmethod
    def open(cls, path: str | Path, *, durable: bool = True, clock: Callable[[], float] = time.time) -> Self:
        """Open or create the ledger at `path` and verify its whole chain.

        `durable=False` is for simulation only: reservations survive the process, not a power loss. The file
        records which of the two it was kept with.
        Raises: Tampered E402 for a broken chain, Exhausted E503, E504 or E505 if the file cannot be used.
        """
        path = Path(path)
        new = not path.exists()
        connection = connected(path, durable=durable)
        ledger = cls(path, connection, clock)
        try:
            with ledger._writing():
                create_table(connection)
                ledger._catch_up()
                if ledger._book.durable != durable:
                    ledger._append(State.OPENED, "", {"format": FORMAT, "durable": durable})
            if new and durable:
                sync_folder(path.parent)
        except BaseException:
            connection.close()
            raise
        return ledger

    def reserve(self, charge: Charge, *, limit_epsilon: float, accountant: Accountant = "rdp") -> Reservation:
        """Charge `charge` before it happens, or refuse it.

        A charge with a `stream` (seeded simulation) that is already there, exactly as given, is returned again
        and costs nothing: repeating it releases the same bytes. Without a stream every call is a new charge.
        Raises: Refused E201 if all charges on the data set would then cost more than `limit_epsilon` at the
        smallest delta among them; nothing is charged. Exhausted E503, E504, E505 if it cannot be written; nothing
        may then be released.
        """
        (answer,) = self.reserve_each([charge], limits=[limit_epsilon], accountant=accountant)
        if isinstance(answer, Refused):
            raise answer
        return answer

    def reserve_each(
        self, charges: Sequence[Charge], *, limits: Sequence[float], accountant: Accountant = "rdp"
    ) -> list[Reservation | Refused]:
        """As `reserve` for each charge and its limit in turn, in one transaction: one answer per charge.

        Who is refused is told so in its place and charged nothing; the others are reserved all the same.
        Raises: Misconfigured E126 for another number of limits. Exhausted as `reserve`; then nothing is reserved.
        Cost: O(charges), and one price per distinct composition.
        """
        if len(charges) != len(limits):
            raise Misconfigured("E126", f"{len(charges)} charges but {len(limits)} limits", place="limits")
        for pair in {(charge.noise_multiplier, charge.sampling_rate) for charge in charges}:
            rdp_curve(*pair)  # priced before the lock: others need not wait
        answers: list[Reservation | Refused] = []
        with self._writing():
            self._catch_up()
            accounts: dict[str, Account] = {}  # with the charges of this transaction
            streams: dict[Charge, Entry] = {}
            for charge, limit in zip(charges, limits, strict=True):
                known = (streams.get(charge) or self._seeded(charge)) if charge.stream else None
                if known is not None:
                    answers.append(Reservation(seq=known.seq, hash=known.hash, charge=charge, fresh=False))
                    continue
                account = accounts.get(charge.dataset) or self._book.account(charge.dataset)
                refused = self._refusal(account, charge, limit, accountant)
                if refused is not None:
                    answers.append(refused)
                    continue
                plain = charge.plain()
                if charge.dataset not in accounts:
                    accounts[charge.dataset] = account = account.copy()
                account.add(plain, +1)
                entry = self._append(State.RESERVED, charge.dataset, {"charge": charge.facts()}, plain)
                if charge.stream:
                    streams[plain] = entry
                answers.append(Reservation(seq=entry.seq, hash=entry.hash, charge=charge, fresh=True))
        return answers

    def release(self, reservation: Reservation) -> None:
        """Record that the reserved step left the process. Repeating it changes nothing.

        Raises: Refused E204 if the reservation was voided or is not of this ledger: then nothing may be released.
        """
        self.release_each([reservation])

    def release_each(self, reservations: Sequence[Reservation]) -> None:
        """As `release` for each in turn, in one transaction. At the first that is refused it stops, as a loop would."""
        refused: Refused | None = None
        with self._writing():
            self._catch_up()
            now: set[int] = set()
            for reservation in reservations:
                try:
                    state = self._state_of(reservation)
                except Refused as error:
                    refused = error
                    break
                if state is State.RESERVED and reservation.seq not in now:
                    self._append(State.RELEASED, reservation.charge.dataset, {"of": reservation.seq})
                    now.add(reservation.seq)
                elif state is State.VOIDED:
                    words = f"charge {reservation.seq} was voided and cannot be released"
                    refused = Refused("E204", words, place=str(self._path))
                    break
        if refused is not None:
            raise refused

    def void(self, reservation: Reservation) -> bool:
        """Take a charge back because nothing left the process; say whether it was taken back.

        It stays charged, and the answer is False, if it was released, or if another attempt made the
        reservation: what that attempt let out cannot be known here.
        """
        with self._writing():
            self._catch_up()
            state = self._state_of(reservation)
            if state is State.RESERVED and reservation.fresh:
                self._append(State.VOIDED, reservation.charge.dataset, {"of": reservation.seq})
                return True
            return state is State.VOIDED

    def spent(self, dataset: str, *, delta: float, accountant: Accountant = "rdp") -> Spent:
        """Price everything charged on `dataset` so far, by all processes."""
        return self.spent_each([dataset], delta=delta, accountant=accountant)[0]

    def spent_each(self, datasets: Sequence[str], *, delta: float, accountant: Accountant = "rdp") -> list[Spent]:
        """As `spent` for each data set, all at the same moment."""
        with self._reading():
            return [self._book.account(dataset).spent(delta, accountant) for dataset in datasets]

    def entries(self, dataset: str | None = None) -> tuple[Entry, ...]:
        """Read the entries of one data set, or all of them, in order, verifying the chain again."""
        with self._reading():
            entries = entries_until(self._connection, self._book.head, place=str(self._path))
        return tuple(entry for entry in entries if dataset is None or entry.dataset == dataset)

    def head(self) -> Head:
        """Return the last entry's number and hash: remembered elsewhere, they show a ledger that was set back."""
        with self._reading():
            return self._book.head

    def close(self) -> None:
        """Close the file. What was reserved stays charged."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state_of(self, reservation: Reservation) -> State:
        seq = reservation.seq
        entry = self._book.open.get(seq) or self._recalled(seq)
        if entry is None or entry.hash != reservation.hash or entry.charge != reservation.charge:
            raise Refused("E204", f"charge {seq} is not in this ledger", place=str(self._path))
        return State.VOIDED if seq in self._book.voided else entry.state if seq in self._book.open else State.RELEASED

    def _seeded(self, charge: Charge) -> Entry | None:
        seq = self._book.seeded(charge)
        entry = None if seq is None else self._book.open.get(seq) or self._recalled(seq)
        return entry if entry is not None and entry.charge == charge else None

    def _recalled(self, seq: int) -> Entry | None:
        """The entry of a charge that was settled, from the disk."""
        if seq > self._book.head.seq:
            return None
        entry = entry_at(self._connection, seq, place=str(self._path))
        return None if entry is None or entry.charge is None else entry

    def _refusal(self, account: Account, charge: Charge, limit: float, accountant: Accountant) -> Refused | None:
        delta = account.strictest(charge)
        cost = account.price(delta, "rdp", charge)
        if accountant != "rdp" and not cost <= limit:  # the tighter bound costs more, so it comes second
            cost = account.price(delta, accountant, charge)
        if cost <= limit:
            return None
        return Refused(
            "E201",
            f"data set {charge.dataset!r} has spent epsilon {account.price(delta, accountant):.4g} and would reach "
            f"{cost:.4g}, its limit is {limit:g} at delta {delta:g}",
            place=str(self._path),
            hint="train fewer rounds, add more noise, or let the site raise its limit",
        )

    def _append(self, state: State, dataset: str, facts: dict[str, object], charge: Charge | None = None) -> Entry:
        """Link the next entry of the current transaction; it is written at its end, and counts once committed."""
        last = self._uncommitted[-1][1] if self._uncommitted else self._book.head
        stamped = {**facts, "time": float(self._clock())}
        row, entry = linked(
            Head(seq=last.seq, hash=last.hash), state=state, dataset=dataset, facts=stamped, charge=charge
        )
        self._uncommitted.append((row, entry))
        return entry

    def _catch_up(self) -> None:
        """Take in what this and other processes wrote since the last look, checking each link."""
        place = str(self._path)
        with closing(entries_after(self._connection, self._book.head, place=place)) as entries:
            self._book.take_in(entries, place=place)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file's write lock; on the disk when the block ends, or not at all."""
        with self._lock, named_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            self._uncommitted.clear()
            try:
                yield
                add_rows(self._connection, [row for row, _ in self._uncommitted])
                self._connection.execute("COMMIT")
                self._book.take_in([entry for _, entry in self._uncommitted], place=str(self._path))
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, named_errors(self._path):
            self._catch_up()
            yield
