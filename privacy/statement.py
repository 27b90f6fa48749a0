"""What a ledger's entries come to, as its operator or an auditor wants to see it: a line for each data set and unit."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hedgerow.privacy.account import Account
from hedgerow.privacy.book import parts_of
from hedgerow.privacy.chain import Entry, State
from hedgerow.privacy.lifetime import Limit

__all__ = ["Standing", "standings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a unit of a data set stands.

    `epsilon` is the price by `"pld"` of all that counts, for one unit added or removed, at `delta`: the smallest that
    was promised, or the limit's, or `None` where neither is there. `pending` of the `charges` are neither released nor
    taken back. `last_use` is in seconds since 1970, and `randomness` says where the noise came from.
    """

    dataset: str
    unit: str
    epsilon: float
    delta: float | None
    limit: Limit | None
    charges: int
    pending: int
    voided: int
    jobs: tuple[str, ...]
    last_use: float | None
    randomness: tuple[str, ...]


@dataclass(slots=True)
class _Line:
    account: Account = field(default_factory=Account)
    limit: Limit | None = None
    pending: int = 0
    voided: int = 0
    jobs: dict[str, None] = field(default_factory=dict)
    last_use: float | None = None
    randomness: dict[str, None] = field(default_factory=dict)


def standings(entries: Iterable[Entry]) -> tuple[Standing, ...]:
    """Every data set and unit that was charged or limited, by name. `entries` are all of a ledger's, verified."""
    entries = tuple(entries)
    settled = {entry.of: entry.state for entry in entries if entry.state in (State.RELEASED, State.VOIDED)}
    lines: dict[tuple[str, str], _Line] = {}
    for entry in entries:
        if entry.limit is not None:
            lines.setdefault((entry.dataset, entry.limit.unit), _Line()).limit = entry.limit
        charge = entry.reserves
        if charge is None:
            continue
        for part in parts_of(charge):
            line = lines.setdefault((entry.dataset, part.unit), _Line())
            if settled.get(entry.seq) is State.VOIDED:
                line.voided += 1
                continue
            line.account.add(part, +1)
            line.pending += entry.seq not in settled
            line.jobs[charge.job or "not stated"] = None
            line.randomness[charge.randomness or "not stated"] = None
            line.last_use = entry.time
    return tuple(_standing(*key, line) for key, line in sorted(lines.items()))


def _standing(dataset: str, unit: str, line: _Line) -> Standing:
    promised = min(line.account.deltas, default=None)
    delta = promised if promised is not None or line.limit is None else line.limit.delta
    return Standing(
        dataset=dataset,
        unit=unit,
        epsilon=0.0 if delta is None else line.account.price(delta, "pld"),
        delta=delta,
        limit=line.limit,
        charges=line.account.charges,
        pending=line.pending,
        voided=line.voided,
        jobs=tuple(line.jobs),
        last_use=line.last_use,
        randomness=tuple(line.randomness),
    )
