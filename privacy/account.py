"""What one unit of a data set was charged with so far, and what all of it costs together.

Many sites are charged alike in a round, so a price is computed once per distinct composition, not once per site.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol, Self

from hedgerow.privacy.accounting import Accountant, Event, Relation, epsilon

__all__ = ["Account", "Counted", "Spent"]

Composition = tuple[tuple[Event, int], ...]  # events of one step each, and how often


class Counted(Protocol):
    """What an account counts: the events of one unit, of one step each and how often, with the δ that was promised."""

    @property
    def unit(self) -> str: ...

    @property
    def delta(self) -> float: ...

    @property
    def events(self) -> tuple[Event, ...]: ...

    def counted(self) -> Composition: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a data set's records have lost so far: ε at `delta`, over `events` charges with `steps` noisy sums."""

    epsilon: float
    delta: float
    events: int
    steps: int


@dataclass(slots=True)
class Account:
    """A unit's charges that count: how often each event of one step, and how often each δ was promised.

    >>> from hedgerow.privacy.charge import Charge
    >>> charge = Charge(dataset="ward-7", noise_multiplier=2.0, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
    ...                 job="j", run="r", round=1, model="m", randomness="operating system generator")
    >>> account = Account()
    >>> account.add(charge, +1)
    >>> round(account.price(1e-5, "rdp"), 2), account.price(1e-5, "rdp", charge) > account.price(1e-5, "rdp")
    (0.94, True)
    """

    steps: dict[Event, int] = field(default_factory=dict)
    deltas: dict[float, int] = field(default_factory=dict)

    @property
    def charges(self) -> int:
        return sum(self.deltas.values())

    def add(self, part: Counted, sign: int) -> None:
        """Count a charge (`sign` +1), or take it back (-1)."""
        for event, times in part.counted():
            self.steps[event] = self.steps.get(event, 0) + sign * times
        self.deltas[part.delta] = self.deltas.get(part.delta, 0) + sign

    def copy(self) -> Self:
        return type(self)(steps=dict(self.steps), deltas=dict(self.deltas))

    def strictest(self, part: Counted) -> float:
        """The smallest δ that was ever promised here: a job with a larger one may not buy on its terms."""
        return min((part.delta, *(delta for delta, times in self.deltas.items() if times > 0)))

    def price(
        self, delta: float, accountant: Accountant, extra: Counted | None = None, relation: Relation = "add_remove"
    ) -> float:
        """ε of everything that counts, and of `extra` if it were charged too."""
        steps = self.steps
        if extra is not None:
            steps = dict(steps)
            for event, times in extra.counted():
                steps[event] = steps.get(event, 0) + times
        return _price(tuple((event, times) for event, times in steps.items() if times), delta, accountant, relation)

    def spent(self, delta: float, accountant: Accountant) -> Spent:
        return Spent(
            epsilon=self.price(delta, accountant), delta=delta, events=self.charges, steps=sum(self.steps.values())
        )


@lru_cache(maxsize=1 << 15)
def _price(composition: Composition, delta: float, accountant: Accountant, relation: Relation) -> float:
    return epsilon([replace(event, steps=times) for event, times in composition], delta, accountant, relation)
