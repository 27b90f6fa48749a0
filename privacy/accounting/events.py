"""What happened to a record, as plain data: events know nothing of what they cost.

Noise is stated relative to what one record can change by being added or removed; how much a record changes a release
by being *replaced* is at most twice that, and the accountants see to it.

>>> SampledGaussian(q=0.01, noise_multiplier=1.1, steps=1000).sampler
'poisson'
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from hedgerow.errors import Misconfigured

__all__ = ["DiscreteGaussian", "Event", "Gaussian", "Laplace", "SampledGaussian", "Skellam"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledGaussian:
    """`steps` noisy sums over samples of the records.

    Each record is in each sum with probability `q`, independently of the others and of the other sums; the noise's
    standard deviation is `noise_multiplier` times the largest length that one record can add to the sum. `sampler` says
    how the sample was drawn: only `"poisson"` is what was just said, and `"none"` with `q` = 1. Any other word may be
    written down, and no accountant prices it.
    Raises: Misconfigured E103 for values out of range.
    """

    mechanism: ClassVar[str] = "gaussian"
    q: float
    noise_multiplier: float
    steps: int
    sampler: str = "poisson"

    def __post_init__(self) -> None:
        _check("noise_multiplier", self.noise_multiplier, 0.0 <= self.noise_multiplier < math.inf, ">= 0 and finite")
        _check("q", self.q, 0.0 < self.q <= 1.0, "in (0, 1]")
        _check_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """`steps` noisy sums over all records; the noise as in `SampledGaussian`."""

    mechanism: ClassVar[str] = "gaussian"
    sampler: ClassVar[str] = "none"
    noise_multiplier: float
    steps: int = 1

    def __post_init__(self) -> None:
        _check("noise_multiplier", self.noise_multiplier, 0.0 <= self.noise_multiplier < math.inf, ">= 0 and finite")
        _check_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laplace:
    """`steps` single numbers with Laplace noise: `scale` is the noise's scale over what one record adds to a number."""

    mechanism: ClassVar[str] = "laplace"
    sampler: ClassVar[str] = "none"
    scale: float
    steps: int = 1

    def __post_init__(self) -> None:
        _check("scale", self.scale, 0.0 < self.scale < math.inf, "> 0 and finite")
        _check_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skellam:
    """`steps` sums of whole-number vectors with Skellam noise (the difference of two Poisson numbers) in each entry.

    `variance` is that of the noise in one entry, of all summands together: sums of Skellam noise are Skellam noise.
    `l1` and `l2` bound the norms of what one record adds, in grid units.
    """

    mechanism: ClassVar[str] = "skellam"
    sampler: ClassVar[str] = "none"
    variance: float
    l1: float
    l2: float
    steps: int = 1

    def __post_init__(self) -> None:
        _check("variance", self.variance, 0.0 < self.variance < math.inf, "> 0 and finite")
        _check("l1", self.l1, 0.0 < self.l1 < math.inf, "> 0 and finite")
        _check("l2", self.l2, 0.0 < self.l2 <= self.l1, "> 0 and at most l1")
        _check_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteGaussian:
    """`steps` sums of whole-number vectors of `dimension` entries with discrete Gaussian noise in each.

    `variance` is the parameter σ² of the noise of all `parties` together, each of which draws its own share; `l1` and
    `l2` bound the norms of what one record adds, in grid units. A sum of discrete Gaussians is only nearly one: that
    costs more with the dimension, and below a σ² of 1/4 a party the price is infinite.
    """

    mechanism: ClassVar[str] = "discrete_gaussian"
    sampler: ClassVar[str] = "none"
    variance: float
    l1: float
    l2: float
    dimension: int
    parties: int = 1
    steps: int = 1

    def __post_init__(self) -> None:
        _check("variance", self.variance, 0.0 < self.variance < math.inf, "> 0 and finite")
        _check("l1", self.l1, 0.0 < self.l1 < math.inf, "> 0 and finite")
        _check("l2", self.l2, 0.0 < self.l2 <= self.l1, "> 0 and at most l1")
        _check("dimension", self.dimension, self.dimension >= 1, ">= 1")
        _check("parties", self.parties, self.parties >= 1, ">= 1")
        _check_steps(self.steps)


Event = SampledGaussian | Gaussian | Laplace | Skellam | DiscreteGaussian


def _check_steps(steps: int) -> None:
    _check("steps", steps, steps >= 0 and steps == int(steps), "a whole number >= 0")


def _check(name: str, value: float, valid: bool, expected: str) -> None:
    if not valid:
        raise Misconfigured("E103", f"{name}={value!r}, expected {expected}", place=name)
