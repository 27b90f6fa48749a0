"""What one step can reveal, as a random variable: the privacy losses of the mechanisms that are priced numerically.

A step that releases P with a record and Q without it has the privacy loss log P(o) / Q(o) at the output o. What it can
reveal is known from two curves alone: how often the loss exceeds a value, if o is drawn from P and if it is drawn from
Q. Each class below gives them for a pair (P, Q) that dominates every pair of neighbouring data sets, so that steps may
be composed, also when each is chosen after the ones before it.
Source: Zhu, Dong and Wang, "Optimal accounting of differential privacy via characteristic function", AISTATS 2022,
theorem 10 (composition of dominating pairs) and theorem 11 (Poisson samples).
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Direction", "GaussianLoss", "LaplaceLoss", "Loss", "SampledGaussianLoss"]

Floats = NDArray[np.float64]
Direction = Literal["remove", "add", "replace"]


class Loss(Protocol):
    """The privacy loss of one step, compared by value."""

    def __hash__(self) -> int: ...

    def exceeds(self, values: Floats) -> tuple[Floats, Floats]:
        """How probable it is that the loss is above each value, under P and under Q, each `(k,)`."""

    def range(self, mass: float) -> tuple[float, float]:
        """Two values: under P the loss is below the one, or above the other, with probability at most `mass` each."""


@dataclass(frozen=True, slots=True)
class GaussianLoss:
    """A Gaussian mechanism whose noise has a standard deviation of 1 / `effect` times the sensitivity."""

    effect: float

    def exceeds(self, values: Floats) -> tuple[Floats, Floats]:
        place = values / self.effect
        return _above(place - self.effect / 2), _above(place + self.effect / 2)

    def range(self, mass: float) -> tuple[float, float]:
        half = self.effect * _deviations(mass)
        return self.effect**2 / 2 - half, self.effect**2 / 2 + half


@dataclass(frozen=True, slots=True)
class LaplaceLoss:
    """One number with Laplace noise; `scale` is the noise's over the sensitivity."""

    scale: float

    def exceeds(self, values: Floats) -> tuple[Floats, Floats]:
        most = 1 / self.scale
        inside = np.clip(values, -most, most)
        under_p = np.where(values < -most, 1.0, 1 - np.exp((inside - most) / 2) / 2)
        under_q = np.where(values < -most, 1.0, np.exp((-inside - most) / 2) / 2)
        return np.where(values < most, under_p, 0.0), np.where(values < most, under_q, 0.0)

    def range(self, mass: float) -> tuple[float, float]:
        return -1 / self.scale, 1 / self.scale


@dataclass(frozen=True, slots=True)
class SampledGaussianLoss:
    """A Gaussian sum over a Poisson sample of rate `q` < 1, its noise `noise` times what a record can add.

    `direction` says how the data sets differ: `remove` compares (1 - q) N(0) + q N(1) with N(0), `add` the other way
    round, `replace` compares (1 - q) N(0) + q N(1) with (1 - q) N(0) + q N(-1), all of deviation `noise`. The last
    pair dominates every replacement: by advanced joint convexity (Balle, Barthe and Gaboardi, NeurIPS 2018, theorem
    2) its divergence is q times that of N(x) and a mixture of N(0) and N(x'), which grows with the distances |x| and
    |x - x'| (Choquette-Choo et al., "Privacy amplification for matrix mechanisms", ICLR 2024, theorem 4.6), and these
    are at most 1 and 2, both at once where x' = -x.
    """

    q: float
    noise: float
    direction: Direction

    def exceeds(self, values: Floats) -> tuple[Floats, Floats]:
        if self.direction == "replace":
            place = self._replaced(values)
            return self._mixture(place, 1.0), self._mixture(place, -1.0)
        if self.direction == "remove":
            place = self._removed(values)
            return self._mixture(place, 1.0), _above(place / self.noise)
        place = -self._removed(-values)
        return _above(place / self.noise), self._mixture(place, -1.0)

    def range(self, mass: float) -> tuple[float, float]:
        far = self.noise * _deviations(mass)
        if self.direction == "add":
            return -self._loss(far), -self._loss(-far)
        if self.direction == "remove":
            return self._loss(-far), self._loss(1 + far)
        return self._loss(-far) - self._loss(far), self._loss(1 + far) - self._loss(-1 - far)

    def _loss(self, place: float) -> float:
        """log of the density of (1 - q) N(0) + q N(1) over that of N(0)."""
        exponent = (place - 0.5) / self.noise**2
        return float(np.logaddexp(math.log1p(-self.q), math.log(self.q) + exponent))

    def _mixture(self, place: Floats, centre: float) -> Floats:
        return (1 - self.q) * _above(place / self.noise) + self.q * _above((place - centre) / self.noise)

    def _removed(self, values: Floats) -> Floats:
        """Where the loss of `remove` is each value: the inverse of `_loss`, -inf below its smallest value."""
        with np.errstate(all="ignore"):
            low = np.log(np.maximum(np.expm1(np.minimum(values, 0)) + self.q, 0.0))
            high = values + np.log(self.q * np.exp(-np.maximum(values, 0)) - np.expm1(-np.maximum(values, 0)))
        return self.noise**2 * (np.where(values > 0, high, low) - math.log(self.q)) + 0.5

    def _replaced(self, values: Floats) -> Floats:
        """Where the loss of `replace` is each value: e^(place / noise²) solves a quadratic equation."""
        half = np.abs(values) / 2
        with np.errstate(all="ignore"):
            # log of (1 - q) / q · sinh(half) · exp(1 / 2 noise²), of which the place needs the inverse sinh.
            grown = math.log1p(-self.q) - math.log(2 * self.q) + half + np.log(-np.expm1(-2 * half))
            grown = grown + 1 / (2 * self.noise**2)
            inverse = np.where(
                grown > 0,
                grown + np.log1p(np.sqrt(1 + np.exp(-2 * np.maximum(grown, 0)))),
                np.arcsinh(np.exp(np.minimum(grown, 0))),
            )
        return self.noise**2 * np.sign(values) * (half + inverse)


def _above(deviations: Floats) -> Floats:
    """How probable it is that a standard normal number is larger, accurate also where that is tiny."""
    from scipy.special import ndtr  # type: ignore[import-untyped]  # SciPy ships no types

    return np.asarray(ndtr(-deviations), np.float64)


def _deviations(mass: float) -> float:
    """A number of standard deviations that a normal number exceeds with probability at most `mass` (Chernoff)."""
    return math.sqrt(-2 * math.log(mass))
