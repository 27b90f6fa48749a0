"""A ledger's entries, counted: what each unit of each data set was charged with, and which charges are still open."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hedgerow.errors import Tampered
from hedgerow.privacy.account import Account, Counted
from hedgerow.privacy.chain import FIRST_FORMAT, Entry, Head, State, genesis
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.lifetime import Limit
from hedgerow.privacy.outlay import Outlay

__all__ = ["Book", "parts_of"]


def parts_of(charge: Charge | Outlay) -> tuple[Counted, ...]:
    """What is charged to each unit: a charge's own, or an outlay's parts."""
    return (charge,) if isinstance(charge, Charge) else charge.parts


@dataclass(slots=True)
class Book:
    """What the entries up to `head` add up to.

    Charges whose step was released are not kept, they are on the disk: the memory is that of the open charges, of one
    account for a unit of a data set, and of two numbers a seeded charge.
    """

    head: Head = field(default_factory=genesis)
    durable: bool | None = None
    format: int = FIRST_FORMAT
    accounts: dict[str, dict[str, Account]] = field(default_factory=dict)  # by data set and unit
    limits: dict[tuple[str, str], Limit] = field(default_factory=dict)  # by data set and unit
    open: dict[int, Entry] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    streams: dict[int, int] = field(default_factory=dict)  # hash of a seeded charge → its number

    def take_in(self, entries: Iterable[Entry], *, place: str) -> None:
        """Count the entries that follow `head`.

        Raises: Tampered E402 if one settles a charge that is not open.
        """
        for entry in entries:
            self._count(entry, place)
            self.head = Head(seq=entry.seq, hash=entry.hash)

    def account(self, dataset: str, unit: str) -> Account:
        """The charges on a unit of a data set; an empty account if it has none."""
        return self.accounts.get(dataset, {}).get(unit) or Account()

    def accounts_of(self, dataset: str, unit: str | None) -> list[Account]:
        """The account of a unit of a data set, or those of all its units; one that is empty if there is none."""
        units = self.accounts.get(dataset, {})
        chosen = list(units.values()) if unit is None else [units[unit]] if unit in units else []
        return chosen or [Account()]

    def _count(self, entry: Entry, place: str) -> None:
        if entry.state is State.OPENED:
            self.durable, self.format = entry.durable, entry.format
            return
        if entry.limit is not None:
            self.limits[entry.dataset, entry.limit.unit] = entry.limit
            return
        charge = entry.reserves
        if charge is not None:
            self.open[entry.seq] = entry
            accounts = self.accounts.setdefault(entry.dataset, {})
            for part in parts_of(charge):
                accounts.setdefault(part.unit, Account()).add(part, +1)
            if charge.stream:
                self.streams[hash(charge)] = entry.seq
            return
        reserved = self.open.pop(entry.of, None)
        if reserved is None or reserved.reserves is None:
            raise Tampered("E402", f"entry {entry.seq} settles a charge that is not open", place=place)
        if entry.state is State.VOIDED:
            self.voided.add(entry.of)
            for part in parts_of(reserved.reserves):
                self.accounts[reserved.dataset][part.unit].add(part, -1)
            if self.streams.get(hash(reserved.reserves)) == entry.of:
                del self.streams[hash(reserved.reserves)]
