"""What a data set was charged with so far, and what all of it costs together.

Many sites are charged alike in a round, so a price is computed once per distinct composition, not once per site.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from hedgerow.privacy.accounting import Accountant, SampledGaussian, epsilon
from hedgerow.privacy.charge import Charge

__all__ = ["Account", "Spent"]

Composition = tuple[tuple[float, float, int], ...]  # (noise multiplier, sampling rate, steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a data set's records have lost so far: ε at `delta`, over `events` charges with `steps` noisy sums."""

    epsilon: float
    delta: float
    events: int
    steps: int


@dataclass(slots=True)
class Account:
    """A data set's charges that count: steps by (noise multiplier, sampling rate), and how often each δ was promised.

    >>> charge = Charge(dataset="ward-7", noise_multiplier=2.0, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
    ...                 job="j", run="r", round=1, model="m", randomness="operating system generator")
    >>> account = Account()
    >>> account.add(charge, +1)
    >>> round(account.price(1e-5, "rdp"), 2), account.price(1e-5, "rdp", charge) > account.price(1e-5, "rdp")
    (0.94, True)
    """

    steps: dict[tuple[float, float], int] = field(default_factory=dict)
    deltas: dict[float, int] = field(default_factory=dict)

    @property
    def charges(self) -> int:
        return sum(self.deltas.values())

    def add(self, charge: Charge, sign: int) -> None:
        """Count a charge (`sign` +1), or take it back (-1)."""
        pair = (charge.noise_multiplier, charge.sampling_rate)
        self.steps[pair] = self.steps.get(pair, 0) + sign * charge.steps
        self.deltas[charge.delta] = self.deltas.get(charge.delta, 0) + sign

    def copy(self) -> Self:
        return type(self)(steps=dict(self.steps), deltas=dict(self.deltas))

    def strictest(self, charge: Charge) -> float:
        """The smallest δ that was ever promised to these records: a job with a larger one may not buy on its terms."""
        return min((charge.delta, *(delta for delta, times in self.deltas.items() if times > 0)))

    def price(self, delta: float, accountant: Accountant, extra: Charge | None = None) -> float:
        """ε of everything that counts, and of `extra` if it were charged too."""
        steps = self.steps
        if extra is not None:
            pair = (extra.noise_multiplier, extra.sampling_rate)
            steps = {**steps, pair: steps.get(pair, 0) + extra.steps}
        return _price(tuple((*pair, count) for pair, count in steps.items() if count), delta, accountant)

    def spent(self, delta: float, accountant: Accountant) -> Spent:
        return Spent(
            epsilon=self.price(delta, accountant), delta=delta, events=self.charges, steps=sum(self.steps.values())
        )


@lru_cache(maxsize=1 << 15)
def _price(composition: Composition, delta: float, accountant: Accountant) -> float:
    events = [SampledGaussian(q=rate, noise_multiplier=noise, steps=steps) for noise, rate, steps in composition]
    return epsilon(events, delta, accountant)
