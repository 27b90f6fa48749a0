"""A site's ledger: what was done to its records, written before it is done, and refused beyond the budget.

The order is always reserve → draw noise → release. A reservation is on the disk, and counts, before any noise
exists; a crash at any point afterwards leaves it counted. Only a reservation from which nothing left the
process can be voided. Many processes may share the file: who reserves holds the write lock while the budget
is checked, so a race never overspends it. Every unit (record, person, site) of a data set has an account of its own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, overload

from hedgerow.errors import Misconfigured, Refused
from hedgerow.privacy.account import Account, Spent
from hedgerow.privacy.accounting import Accountant, Event, Relation, epsilon, rdp_curve
from hedgerow.privacy.book import parts_of
from hedgerow.privacy.chain import Entry, Head, State
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.ledgerfile import LedgerFile
from hedgerow.privacy.lifetime import Limit
from hedgerow.privacy.outlay import Budget, Outlay, outlay_of
from hedgerow.privacy.refusal import refusal
from hedgerow.privacy.reservation import Reservation

__all__ = ["Entry", "Head", "Ledger", "Limit", "Reservation", "Spent", "State"]

Events = Event | Sequence[Event]


class Ledger:
    """What a site's data sets have spent. Opening it creates the file, or verifies its whole chain.

    Guarantee: after `reserve` returns, the charge counts for ever unless it is voided, also after a kill, and
    with `durable=True` after a power loss. The composed price of a unit's charges never exceeds the limit
    given to `reserve`, nor the operator's, for any number of processes. `durable=False` is for simulation only:
    reservations survive the process, not a power loss. The file records which of the two it was kept with.
    Raises: Tampered E402 for a broken chain, Exhausted E503, E504 or E505 if the file cannot be used.

    >>> import tempfile
    >>> from hedgerow.privacy import SampledGaussian
    >>> steps = SampledGaussian(q=0.1, noise_multiplier=2.0, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
    ...     with ledger.reserve(steps, dataset="ward-7", unit="record", budget=(1.0, 1e-5)) as reservation:
    ...         reservation.release()  # the noise is drawn before this line, and its sum sent after it
    ...     round(ledger.epsilon(dataset="ward-7", unit="record", delta=1e-5), 2)
    0.8
    """

    def __init__(self, path: str | Path, *, durable: bool = True, clock: Callable[[], float] = time.time) -> None:
        self._file = LedgerFile(Path(path), durable=durable, clock=clock)
        self._place = str(path)
        self._kept: set[int] = set()

    @classmethod
    def open(cls, path: str | Path, *, durable: bool = True, clock: Callable[[], float] = time.time) -> Self:
        """As `Ledger(path)`."""
        return cls(path, durable=durable, clock=clock)

    @overload
    def reserve(self, asked: Charge, *, limit_epsilon: float, accountant: Accountant = "rdp") -> Reservation: ...

    @overload
    def reserve(
        self,
        asked: Events | Mapping[str, Events],
        *,
        dataset: str,
        unit: str = "",
        budget: Budget | Mapping[str, Budget],
        accountant: Accountant = "pld",
        relation: Relation = "add_remove",
        job: str = "",
        run: str = "",
        randomness: str = "",
    ) -> Reservation: ...

    def reserve(
        self,
        asked: Charge | Events | Mapping[str, Events],
        *,
        limit_epsilon: float | None = None,
        accountant: Accountant | None = None,
        dataset: str = "",
        unit: str = "",
        budget: Budget | Mapping[str, Budget] | None = None,
        relation: Relation = "add_remove",
        job: str = "",
        run: str = "",
        randomness: str = "",
    ) -> Reservation:
        """Charge what is about to happen, or refuse it: events with a budget (ε, δ), or a `Charge` with its limit.

        Events are charged to `dataset` and `unit`, `"record"`, `"person"` or `"site"`. Where one release costs several
        units, `asked` and `budget` are mappings by unit, and it is reserved for all of them or for none. A charge with
        a `stream` (seeded simulation) that is already there, exactly as given, is returned again and costs nothing:
        repeating it releases the same bytes. Everything else is new in every call.
        Raises: Refused E201 if all charges on the unit would then cost more than the budget at the smallest delta among
        them, or more than the operator's limit; nothing is charged. Misconfigured E103, E104, E105 for budgets, units
        and events that cannot be priced. Exhausted E503, E504, E505 if it cannot be written; nothing may then be
        released.
        """
        if isinstance(asked, Charge):
            if limit_epsilon is None:
                raise Misconfigured("E104", "a charge has no limit_epsilon", place="limit_epsilon")
            (answer,) = self.reserve_each([asked], limits=[limit_epsilon], accountant=accountant or "rdp")
        else:
            if budget is None:
                raise Misconfigured("E104", "events are reserved with their budget (epsilon, delta)", place="budget")
            words = {"dataset": dataset, "unit": unit, "job": job, "run": run, "randomness": randomness}
            outlay = outlay_of(asked, budget=budget, relation=relation, **words)
            for part in outlay.parts:  # priced before the lock: others need not wait
                epsilon(part.events, part.delta, accountant or "pld", relation)
            limits = tuple(part.epsilon for part in outlay.parts)
            (answer,) = self._reserved([(outlay, limits)], accountant or "pld", relation)
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
        asked = [(charge, (limit,)) for charge, limit in zip(charges, limits, strict=True)]
        return self._reserved(asked, accountant, "add_remove")

    def release(self, reservation: Reservation) -> None:
        """Record that the reserved step left the process. Repeating it changes nothing.

        Raises: Refused E204 if the reservation was voided or is not of this ledger: then nothing may be released.
        """
        self.release_each([reservation])

    def release_each(self, reservations: Sequence[Reservation]) -> None:
        """As `release` for each in turn, in one transaction. At the first that is refused it stops, as a loop would."""
        refused: Refused | None = None
        with self._file.writing():
            now: set[int] = set()
            for reservation in reservations:
                try:
                    state = self._file.state_of(reservation)
                except Refused as error:
                    refused = error
                    break
                if state is State.RESERVED and reservation.seq not in now:
                    self._file.append(State.RELEASED, reservation.charge.dataset, {"of": reservation.seq})
                    now.add(reservation.seq)
                elif state is State.VOIDED:
                    words = f"charge {reservation.seq} was voided and cannot be released"
                    refused = Refused("E204", words, place=self._place)
                    break
        if refused is not None:
            raise refused

    def void(self, reservation: Reservation) -> bool:
        """Take a charge back because nothing left the process; say whether it was taken back.

        It stays charged, and the answer is False, if it was released or is to be kept, or if another attempt made the
        reservation: what that attempt let out cannot be known here.
        """
        with self._file.writing():
            state = self._file.state_of(reservation)
            if state is State.RESERVED and reservation.fresh and reservation.seq not in self._kept:
                self._file.append(State.VOIDED, reservation.charge.dataset, {"of": reservation.seq})
                return True
            return state is State.VOIDED

    def keep(self, reservation: Reservation) -> None:
        """Have a reservation stay charged, released or not: something about it may have been seen outside."""
        self._kept.add(reservation.seq)

    def set_limit(self, dataset: str, limit: Limit) -> Limit | None:
        """Hold the unit of a data set to the operator's limit from now on, durably; returns the one before.

        What was charged stays charged: a limit below it lets nothing more through. Raises: Exhausted as `reserve`.
        """
        if not dataset:
            raise Misconfigured("E103", "the data set has no name", place="dataset")
        with self._file.writing():
            before = self._file.book.limits.get((dataset, limit.unit))
            self._file.append_limit(dataset, limit)
        return before

    def epsilon(
        self,
        *,
        dataset: str,
        unit: str = "record",
        delta: float,
        accountant: Accountant = "pld",
        relation: Relation = "add_remove",
    ) -> float:
        """The ε at `delta` of everything that was charged on a unit of a data set so far, by all processes."""
        with self._file.reading():
            return self._file.book.account(dataset, unit).price(delta, accountant, None, relation)

    def spent(self, dataset: str, *, unit: str | None = None, delta: float, accountant: Accountant = "rdp") -> Spent:
        """Price everything charged on `dataset` so far; without `unit`, on the unit of it that lost most."""
        return self.spent_each([dataset], unit=unit, delta=delta, accountant=accountant)[0]

    def spent_each(
        self, datasets: Sequence[str], *, unit: str | None = None, delta: float, accountant: Accountant = "rdp"
    ) -> list[Spent]:
        """As `spent` for each data set, all at the same moment."""
        with self._file.reading():
            accounts = [self._file.book.accounts_of(dataset, unit) for dataset in datasets]
            return [
                max((one.spent(delta, accountant) for one in several), key=lambda spent: spent.epsilon)
                for several in accounts
            ]

    def events(self, *, dataset: str, unit: str = "record") -> tuple[Event, ...]:
        """The events that count on a unit of a data set, as they were charged: what `epsilon` prices."""
        with self._file.reading():
            voided = self._file.book.voided
            charged = [entry.reserves for entry in self._file.entries() if entry.seq not in voided]
        found: list[Event] = []
        for one in charged:
            if one is not None and one.dataset == dataset:
                found += [event for part in parts_of(one) if part.unit == unit for event in part.events]
        return tuple(found)

    def entries(self, dataset: str | None = None) -> tuple[Entry, ...]:
        """Read the entries of one data set, or all of them, in order, verifying the chain again."""
        with self._file.reading():
            entries = self._file.entries()
        return tuple(entry for entry in entries if dataset is None or entry.dataset == dataset)

    def head(self) -> Head:
        """Return the last entry's number and hash: remembered elsewhere, they show a ledger that was set back."""
        with self._file.reading():
            return self._file.book.head

    def close(self) -> None:
        """Close the file. What was reserved stays charged."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reserved(
        self, asked: Sequence[tuple[Charge | Outlay, Sequence[float]]], accountant: Accountant, relation: Relation
    ) -> list[Reservation | Refused]:
        """Each charge with a limit for each of its parts, in one transaction."""
        answers: list[Reservation | Refused] = []
        file, book = self._file, self._file.book
        with file.writing():
            accounts: dict[tuple[str, str], Account] = {}  # with the charges of this transaction
            streams: dict[Charge | Outlay, Entry] = {}
            for charge, limits in asked:
                known = (streams.get(charge) or file.seeded(charge)) if charge.stream else None
                if known is not None:
                    answers.append(_reservation(known, charge, self, fresh=False))
                    continue
                refused = None
                for part, limit in zip(parts_of(charge), limits, strict=True):
                    key = (charge.dataset, part.unit)
                    refused = refused or refusal(
                        accounts.get(key) or book.account(*key),
                        part,
                        dataset=charge.dataset,
                        limit=limit,
                        lifetime=book.limits.get(key),
                        accountant=accountant,
                        relation=relation,
                        place=self._place,
                    )
                if refused is not None:
                    answers.append(refused)
                    continue
                entry = file.append_reserved(charge)
                plain = entry.reserves or charge
                for part in parts_of(plain):
                    key = (charge.dataset, part.unit)
                    if key not in accounts:
                        accounts[key] = book.account(*key).copy()
                    accounts[key].add(part, +1)
                if charge.stream:
                    streams[plain] = entry
                answers.append(_reservation(entry, charge, self, fresh=True))
        return answers


def _reservation(entry: Entry, charge: Charge | Outlay, ledger: Ledger, *, fresh: bool) -> Reservation:
    return Reservation(seq=entry.seq, hash=entry.hash, charge=charge, fresh=fresh, ledger=ledger)
