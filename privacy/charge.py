"""One charge against a data set's budget: what a site is about to do to its records, in full.

A charge is written down before any noise is drawn. It says everything needed to price it again in ten
years, with another accountant: the mechanism, the sampler, the noise, the clip, how often, and for whom.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from hedgerow.errors import Misconfigured
from hedgerow.privacy.accounting import SampledGaussian

__all__ = ["Charge"]

# Combinations (unit, relation, mechanism, sampler) whose price is known to be right. A shuffled or fixed-size
# batch is not a Poisson sample, and replacing a record is not removing one: such pairs are refused, not guessed.
_SOUND = frozenset(
    (unit, "add_remove", "gaussian", sampler) for unit in ("record", "site") for sampler in ("poisson", "none")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a site will do to a data set in one round of one job.

    `sampler` is `"poisson"`, or `"none"` when every record takes part in every step, and then
    `sampling_rate` is 1. `randomness` is the description of the source of the noise. `stream` names the
    seeded stream in a simulation, where a repeated round releases identical bytes; it stays empty for real
    releases, where a repeat is new noise and a new charge.
    Raises: Misconfigured E105 for a combination whose price is not known, E103 for values out of range.

    >>> Charge(dataset="ward-7", noise_multiplier=1.1, sampling_rate=0.1, clip=1.0, steps=10, delta=1e-5,
    ...        job="j", run="r", round=1, model="m", randomness="operating system generator").sampler
    'poisson'
    """

    dataset: str
    unit: str = "record"
    relation: str = "add_remove"
    mechanism: str = "gaussian"
    noise_multiplier: float
    sampling_rate: float
    sampler: str = "poisson"
    clip: float
    steps: int
    delta: float
    job: str
    run: str
    round: int
    model: str
    path: str = "opacus"
    randomness: str
    stream: str = ""

    def __post_init__(self) -> None:
        combination = (self.unit, self.relation, self.mechanism, self.sampler)
        if combination not in _SOUND:
            raise Misconfigured(
                "E105",
                f"no known price for unit {self.unit!r}, relation {self.relation!r}, "
                f"mechanism {self.mechanism!r}, sampler {self.sampler!r}",
                place="charge",
                hint="a shuffled or fixed batch is charged as sampler 'none' with sampling_rate 1",
            )
        if self.sampler == "none" and self.sampling_rate != 1.0:
            raise Misconfigured(
                "E105",
                f"sampling_rate {self.sampling_rate:g} without a sampler that earns it",
                place="charge",
                hint="only Poisson sampling amplifies privacy here; without it the rate is 1",
            )
        for name, valid in (
            ("dataset", self.dataset != ""),
            ("noise_multiplier", 0.0 <= self.noise_multiplier < math.inf),
            ("sampling_rate", 0.0 < self.sampling_rate <= 1.0),
            ("clip", 0.0 < self.clip < math.inf),
            ("steps", self.steps >= 1),
            ("delta", 0.0 < self.delta < 1.0),
            ("round", self.round >= 0),
        ):
            if not valid:
                raise Misconfigured("E103", f"{name}={getattr(self, name)!r} is out of range", place=name)

    def event(self) -> SampledGaussian:
        """What the accountant needs to know of the charge."""
        return SampledGaussian(
            q=self.sampling_rate, noise_multiplier=self.noise_multiplier, steps=self.steps, sampler=self.sampler
        )

    @property
    def events(self) -> tuple[SampledGaussian, ...]:
        """What was charged, as events."""
        return (self.event(),)

    def counted(self) -> tuple[tuple[SampledGaussian, int], ...]:
        """The event of one step, and how often it happens."""
        return ((_one_step(self.sampling_rate, self.noise_multiplier, self.sampler), self.steps),)

    def facts(self) -> dict[str, str | int | float]:
        """Return the charge as plain values with fixed types, so that equal charges have equal JSON."""
        facts: dict[str, str | int | float] = {name: getattr(self, name) for name in _NAMES}
        for name in _REALS:
            facts[name] = float(facts[name])
        for name in _WHOLES:
            facts[name] = int(facts[name])
        return facts

    def plain(self) -> "Charge":
        """The charge as it reads back from its facts: itself, unless a number was of another type (numpy's)."""
        exact = all(type(getattr(self, name)) is float for name in _REALS)
        if exact and all(type(getattr(self, name)) is int for name in _WHOLES):
            return self
        return replace(
            self,
            noise_multiplier=float(self.noise_multiplier),
            sampling_rate=float(self.sampling_rate),
            clip=float(self.clip),
            delta=float(self.delta),
            steps=int(self.steps),
            round=int(self.round),
        )


@lru_cache(maxsize=1 << 12)
def _one_step(rate: float, noise: float, sampler: str) -> SampledGaussian:
    return SampledGaussian(q=rate, noise_multiplier=noise, steps=1, sampler=sampler)


_NAMES = tuple(field.name for field in fields(Charge))
_REALS = ("noise_multiplier", "sampling_rate", "clip", "delta")
_WHOLES = ("steps", "round")
