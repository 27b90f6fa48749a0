"""A charge that is on the disk, and how it ends: released, taken back, or kept because nobody knows."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from hedgerow.errors import HedgerowError
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.outlay import Outlay

__all__ = ["Reservation"]


class _Settles(Protocol):
    def release(self, reservation: "Reservation") -> None: ...

    def void(self, reservation: "Reservation") -> bool: ...

    def keep(self, reservation: "Reservation") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A charge that is on the disk. `fresh` is false if an identical seeded charge was already there.

    In a `with` block it is taken back when the block is left without `release`, also by an exception. Who has let
    anything be seen before that, be it only that something failed on these records, calls `keep` first.
    """

    seq: int
    hash: str
    charge: Charge | Outlay
    fresh: bool
    ledger: _Settles = field(repr=False, compare=False)

    def release(self) -> None:
        """Record that the release leaves the process. As `Ledger.release`."""
        self.ledger.release(self)

    def keep(self) -> None:
        """Leave it charged from now on, released or not: something may have been seen outside."""
        self.ledger.keep(self)

    def void(self) -> bool:
        """Take it back because nothing left the process; say whether it was. As `Ledger.void`."""
        return self.ledger.void(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.void()
        except HedgerowError as failure:
            if error is None:
                raise
            error.add_note(f"the reservation could not be taken back and stays charged: {failure}")
