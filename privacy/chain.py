"""The ledger's entries: each carries the hash of the one before it, so none can be changed or taken out.

Guarantee: changing, removing, inserting or reordering entries breaks the chain, unless everything after the
change is rewritten too. A chain cut at its end is still a chain: remember `Head` elsewhere (at the server,
at peers) to notice that.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hedgerow.errors import HedgerowError, Tampered
from hedgerow.privacy.charge import Charge
from hedgerow.privacy.lifetime import Limit
from hedgerow.privacy.outlay import Outlay

__all__ = ["FIRST_FORMAT", "FORMAT", "Entry", "Head", "Row", "State", "genesis", "linked", "verified"]

FIRST_FORMAT, FORMAT = 1, 2  # 2 has outlays and limits; a file says so before the first of them
Row = tuple[int, str, str, str, str]  # seq, dataset, state, body, hash


class State(StrEnum):
    """What an entry says. A charge counts unless it is voided."""

    OPENED = "opened"  # how the file is kept: its format and whether it survives a power loss
    RESERVED = "reserved"  # about to happen: on the disk before any noise is drawn
    RELEASED = "released"  # happened
    VOIDED = "voided"  # did not happen, and nothing left the process
    LIMITED = "limited"  # the operator's limit over all jobs, from here on


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last entry of a chain; whoever remembers it can tell whether a ledger was set back."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger. `of` is the charge's own number, also for the entries that settle it.

    A reservation has a `charge` (a round of DP-SGD) or an `outlay` (any other release).
    """

    seq: int
    state: State
    dataset: str
    time: float
    charge: Charge | None
    of: int
    durable: bool
    hash: str
    outlay: Outlay | None = None
    limit: Limit | None = None
    format: int = 0

    @property
    def reserves(self) -> Charge | Outlay | None:
        """What the entry charges, if it charges anything."""
        return self.charge if self.outlay is None else self.outlay


def genesis() -> Head:
    """Return the head of an empty chain."""
    return Head(seq=0, hash="")


def linked(
    previous: Head,
    *,
    state: State,
    dataset: str,
    facts: dict[str, Any],
    charge: Charge | None = None,
    outlay: Outlay | None = None,
    limit: Limit | None = None,
) -> tuple[Row, Entry]:
    """Return the row that follows `previous`, and the entry as it will be read back. `charge` is plain."""
    body = _canonical(facts)
    seq = previous.seq + 1
    digest = _hash(seq, previous.hash, dataset, state.value, body)
    entry = Entry(
        seq=seq,
        state=state,
        dataset=dataset,
        time=facts["time"],
        charge=charge,
        of=facts.get("of", 0) if charge is None and outlay is None else seq,
        durable=facts.get("durable", False),
        hash=digest,
        outlay=outlay,
        limit=limit,
        format=facts.get("format", 0),
    )
    return (seq, dataset, state.value, body, digest), entry


def verified(rows: Iterable[Row], previous: Head, *, place: str) -> Iterator[Entry]:
    """Read rows that follow `previous`, checking each link.

    Raises: Tampered E402 at the first row that is not what was written, or not where it was written.
    """
    expected = previous
    for seq, dataset, state, body, digest in rows:
        if seq != expected.seq + 1 or digest != _hash(seq, expected.hash, dataset, state, body):
            raise Tampered(
                "E402",
                f"entry {expected.seq + 1} is not the one that was written",
                place=place,
                hint="stop using this data set until the ledger is restored from a trusted copy",
            )
        expected = Head(seq=seq, hash=digest)
        yield _entry(seq, dataset, state, body, digest, place)


def _entry(seq: int, dataset: str, state: str, body: str, digest: str, place: str) -> Entry:
    try:
        facts = json.loads(body)
        kind = State(state)
        reserves = kind is State.RESERVED
        if kind is State.OPENED and facts["format"] not in range(FIRST_FORMAT, FORMAT + 1):
            raise ValueError("another format")
        outlay = Outlay.from_facts(facts["outlay"]) if reserves and "outlay" in facts else None
        return Entry(
            seq=seq,
            state=kind,
            dataset=dataset,
            time=float(facts["time"]),
            charge=Charge(**facts["charge"]) if reserves and outlay is None else None,
            of=seq if reserves else int(facts.get("of", 0)),
            durable=bool(facts.get("durable", False)),
            hash=digest,
            outlay=outlay,
            limit=Limit.from_facts(facts["limit"]) if kind is State.LIMITED else None,
            format=int(facts.get("format", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, HedgerowError) as error:
        raise Tampered(
            "E402", f"entry {seq} cannot be read by this version", place=place, hint="use the version that wrote it"
        ) from error


def _hash(seq: int, previous: str, dataset: str, state: str, body: str) -> str:
    return hashlib.sha256(_compact([seq, previous, dataset, state, body]).encode()).hexdigest()


# Made once: what `json.dumps` makes anew in each call takes longer than an entry.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_compact = json.JSONEncoder(separators=(",", ":")).encode
