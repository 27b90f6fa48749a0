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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from hedgerow.errors import Refused, Tampered
from hedgerow.privacy.accounting import Accountant, SampledGaussian, epsilon, rdp_curve
from hedgerow.privacy.chain import FORMAT, Entry, Head, Row, State, genesis, linked, verified
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.database import connected, named_errors, sync_folder

__all__ = ["Entry", "Head", "Ledger", "Reservation", "Spent", "State"]

_COLUMNS = "seq, dataset, state, body, hash"
_TABLE = """CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, dataset TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A charge that is on the disk. `fresh` is false if an identical seeded charge was already there."""

    seq: int
    hash: str
    charge: Charge
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a data set's records have lost so far: ε at `delta`, over `events` charges with `steps` noisy sums."""

    epsilon: float
    delta: float
    events: int
    steps: int


@dataclass(slots=True)
class _Account:
    """A data set's charges that count."""

    steps: Counter[tuple[float, float]] = field(default_factory=Counter)
    deltas: Counter[float] = field(default_factory=Counter)

    @property
    def charges(self) -> int:
        return self.deltas.total()

    def add(self, charge: Charge, sign: int) -> None:
        self.steps[charge.noise_multiplier, charge.sampling_rate] += sign * charge.steps
        self.deltas[charge.delta] += sign

    def strictest(self, charge: Charge) -> float:
        """The smallest δ that was ever promised to these records: a job with a larger one may not buy on its terms."""
        return min((charge.delta, *(+self.deltas)))

    def price(self, delta: float, accountant: Accountant, extra: SampledGaussian | None = None) -> float:
        events = [
            SampledGaussian(noise_multiplier=noise, sampling_rate=rate, steps=steps)
            for (noise, rate), steps in self.steps.items()
        ]
        return epsilon([*events, extra] if extra else events, delta, accountant)


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
        self._head = genesis()
        self._accounts: dict[str, _Account] = {}
        self._charges: dict[int, tuple[Entry, State]] = {}
        self._streams: dict[Charge, Entry] = {}
        self._uncommitted: list[Row] = []
        self._durable: bool | None = None

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
                connection.execute(_TABLE)
                ledger._catch_up()
                if ledger._durable != durable:
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
        rdp_curve(charge.noise_multiplier, charge.sampling_rate)  # priced before the lock: others need not wait
        with self._writing():
            self._catch_up()
            if charge.stream and (known := self._streams.get(charge)):
                return Reservation(seq=known.seq, hash=known.hash, charge=charge, fresh=False)
            account = self._accounts.get(charge.dataset, _Account())
            delta = account.strictest(charge)
            cost = account.price(delta, "rdp", charge.event())
            if accountant != "rdp" and not cost <= limit_epsilon:  # the tighter bound costs more, so it comes second
                cost = account.price(delta, accountant, charge.event())
            if not cost <= limit_epsilon:
                spent = account.price(delta, accountant)
                raise Refused(
                    "E201",
                    f"data set {charge.dataset!r} has spent epsilon {spent:.4g} and would reach {cost:.4g}, "
                    f"its limit is {limit_epsilon:g} at delta {delta:g}",
                    place=str(self._path),
                    hint="train fewer rounds, add more noise, or let the site raise its limit",
                )
            head = self._append(State.RESERVED, charge.dataset, {"charge": charge.facts()})
        return Reservation(seq=head.seq, hash=head.hash, charge=charge, fresh=True)

    def release(self, reservation: Reservation) -> None:
        """Record that the reserved step left the process. Repeating it changes nothing.

        Raises: Refused E204 if the reservation was voided or is not of this ledger: then nothing may be released.
        """
        with self._writing():
            self._catch_up()
            state = self._state_of(reservation)
            if state is State.RESERVED:
                self._append(State.RELEASED, reservation.charge.dataset, {"of": reservation.seq})
            elif state is not State.RELEASED:
                raise Refused(
                    "E204", f"charge {reservation.seq} was voided and cannot be released", place=str(self._path)
                )

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
        with self._reading():
            account = self._accounts.get(dataset, _Account())
            return Spent(
                epsilon=account.price(delta, accountant),
                delta=delta,
                events=account.charges,
                steps=account.steps.total(),
            )

    def entries(self, dataset: str | None = None) -> tuple[Entry, ...]:
        """Read the entries of one data set, or all of them, in order, verifying the chain again."""
        with self._reading():
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE seq <= ? ORDER BY seq", (self._head.seq,)
            )
            entries = tuple(verified(rows, genesis(), place=str(self._path)))
        return tuple(entry for entry in entries if dataset is None or entry.dataset == dataset)

    def head(self) -> Head:
        """Return the last entry's number and hash: remembered elsewhere, they show a ledger that was set back."""
        with self._reading():
            return self._head

    def close(self) -> None:
        """Close the file. What was reserved stays charged."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state_of(self, reservation: Reservation) -> State:
        entry, state = self._charges.get(reservation.seq, (None, State.OPENED))
        if entry is None or entry.hash != reservation.hash or entry.charge != reservation.charge:
            raise Refused("E204", f"charge {reservation.seq} is not in this ledger", place=str(self._path))
        return state

    def _append(self, state: State, dataset: str, facts: dict[str, object]) -> Head:
        """Write the next entry inside the current transaction; it counts here once it is committed."""
        row, head = linked(self._head, state=state, dataset=dataset, facts={**facts, "time": float(self._clock())})
        self._connection.execute(f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
        self._uncommitted.append(row)
        return head

    def _catch_up(self) -> None:
        """Take in what this and other processes wrote since the last look, checking each link."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE seq >= ? ORDER BY seq", (self._head.seq,)
        ).fetchall()
        if self._head.seq:
            if not rows or rows[0][0] != self._head.seq or rows[0][4] != self._head.hash:
                raise Tampered("E402", f"entry {self._head.seq} has changed or is gone", place=str(self._path))
            rows = rows[1:]
        self._take_in(rows)

    def _take_in(self, rows: list[Row]) -> None:
        for entry in verified(rows, self._head, place=str(self._path)):
            self._count(entry)
            self._head = Head(seq=entry.seq, hash=entry.hash)

    def _count(self, entry: Entry) -> None:
        if entry.state is State.OPENED:
            self._durable = entry.durable
            return
        if entry.charge is not None:
            self._charges[entry.seq] = (entry, entry.state)
            self._accounts.setdefault(entry.dataset, _Account()).add(entry.charge, +1)
            if entry.charge.stream:
                self._streams[entry.charge] = entry
            return
        reserved, state = self._charges.get(entry.of, (None, State.OPENED))
        if reserved is None or reserved.charge is None or state is not State.RESERVED:
            raise Tampered("E402", f"entry {entry.seq} settles a charge that is not open", place=str(self._path))
        self._charges[entry.of] = (reserved, entry.state)
        if entry.state is State.VOIDED:
            self._accounts[reserved.dataset].add(reserved.charge, -1)
            self._streams.pop(reserved.charge, None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file's write lock; on the disk when the block ends, or not at all."""
        with self._lock, named_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            self._uncommitted.clear()
            try:
                yield
                self._connection.execute("COMMIT")
                self._take_in(self._uncommitted)
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, named_errors(self._path):
            self._catch_up()
            yield
