"""A ledger's entries, counted: what each data set was charged with, and which charges are still open."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hedgerow.errors import Tampered
from hedgerow.privacy.account import Account
from hedgerow.privacy.chain import Entry, Head, State, genesis
from hedgerow.privacy.charge import Charge

__all__ = ["Book"]


@dataclass(slots=True)
class Book:
    """What the entries up to `head` add up to.

    Charges whose step was released are not kept, they are on the disk: the memory is that of the open charges, of one
    account a data set, and of two numbers a seeded charge.
    """

    head: Head = field(default_factory=genesis)
    durable: bool | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
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

    def account(self, dataset: str) -> Account:
        """The data set's charges; an empty account if it has none."""
        return self.accounts.get(dataset) or Account()

    def seeded(self, charge: Charge) -> int | None:
        """The number of what is probably this seeded charge; the entry itself says whether it is."""
        return self.streams.get(hash(charge))

    def _count(self, entry: Entry, place: str) -> None:
        if entry.state is State.OPENED:
            self.durable = entry.durable
            return
        if entry.charge is not None:
            self.open[entry.seq] = entry
            self.accounts.setdefault(entry.dataset, Account()).add(entry.charge, +1)
            if entry.charge.stream:
                self.streams[hash(entry.charge)] = entry.seq
            return
        reserved = self.open.pop(entry.of, None)
        if reserved is None or reserved.charge is None:
            raise Tampered("E402", f"entry {entry.seq} settles a charge that is not open", place=place)
        if entry.state is State.VOIDED:
            self.voided.add(entry.of)
            self.accounts[reserved.dataset].add(reserved.charge, -1)
            if self.streams.get(hash(reserved.charge)) == entry.of:
                del self.streams[hash(reserved.charge)]
