"""The discrete Gaussian: integers with probabilities in proportion to exp(-k² / 2σ²).

The mean is 0; the variance is at most σ², and within 1e-7 of it once σ is 1. A sum of discrete Gaussians is not one, so
sites that add shares pay a little for the difference (`hedgerow.privacy.discrete.divergence`).

Source: Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy", NeurIPS 2020 (arXiv 2004.00010).
Two samplers of the same law: `discrete_gaussian`, by a table, fast and up to σ² = 2^28, and `discrete_gaussian_exact`,
the paper's own, for any rational σ², one by one, which also checks the first.
"""

from fractions import Fraction
from functools import lru_cache, partial
from math import isqrt

from hedgerow.errors import Misconfigured
from hedgerow.privacy.discrete.skellam import MAX_VARIANCE
from hedgerow.privacy.discrete.table import Integers, SignedTable, signed_table, uniform_below
from hedgerow.privacy.randomness import Bits

__all__ = ["discrete_gaussian", "discrete_gaussian_exact", "discrete_gaussian_table"]

_FRACTION_BITS = 320  # of a weight; the errors of a recurrence over some 2^18 terms stay below 2^-250
_GUARD_BITS = 64
_TAIL_BITS = 132


def discrete_gaussian(variance: float, count: int, bits: Bits) -> Integers:
    """`count` independent discrete Gaussians with σ² = `variance`, `(count,)`.

    Guarantee: within 2^-100 in total variation of the exact law, a draw. Variance 0 gives zeros.
    Raises: Misconfigured E103 for a variance that is negative, not finite or above `MAX_VARIANCE`.
    Cost: one 64-bit word a draw; the first draw of a variance builds its table.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> discrete_gaussian(100.0, 6, SimulatedRandomness(7)).tolist()
    [0, 9, -18, -8, -3, 3]
    """
    return discrete_gaussian_table(variance).draw(count, bits)


@lru_cache(maxsize=16)
def discrete_gaussian_table(variance: float) -> SignedTable:
    """The table of the law, built once per variance."""
    if not 0.0 <= variance <= MAX_VARIANCE:
        raise Misconfigured("E103", f"variance={variance!r}, expected 0 … {MAX_VARIANCE:.0f}", place="variance")
    return signed_table(partial(_masses, variance))


def discrete_gaussian_exact(variance: Fraction, count: int, bits: Bits) -> list[int]:
    """`count` discrete Gaussians by Algorithms 1 to 3 of the paper: whole numbers only, no error at all.

    Cost: some tens of microseconds a draw, whatever σ is. Raises: Misconfigured E103 unless the variance is positive.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> len(discrete_gaussian_exact(Fraction(10**40, 3), 2, SimulatedRandomness(7)))
    2
    """
    if variance <= 0:
        raise Misconfigured("E103", f"variance={variance}, expected > 0", place="variance")
    scale = isqrt(variance.numerator // variance.denominator) + 1
    drawn: list[int] = []
    while len(drawn) < count:
        candidate = _discrete_laplace(scale, bits)
        distance = abs(candidate) - variance / scale
        if _bernoulli_exp(distance * distance / (2 * variance), bits):
            drawn.append(candidate)
    return drawn


def _bernoulli(chance: Fraction, bits: Bits) -> bool:
    return uniform_below(chance.denominator, bits) < chance.numerator


def _bernoulli_exp(gamma: Fraction, bits: Bits) -> bool:
    """True with probability exp(-gamma): Algorithm 1."""
    while gamma > 1:
        if not _bernoulli_exp(Fraction(1), bits):
            return False
        gamma -= 1
    k = 1
    while _bernoulli(gamma / k, bits):
        k += 1
    return k % 2 == 1


def _discrete_laplace(scale: int, bits: Bits) -> int:
    """An integer k with probability in proportion to exp(-|k| / scale): Algorithm 2."""
    while True:
        low = uniform_below(scale, bits)
        if not _bernoulli_exp(Fraction(low, scale), bits):
            continue
        high = 0
        while _bernoulli_exp(Fraction(1), bits):
            high += 1
        magnitude = low + scale * high
        negative = uniform_below(2, bits) == 1
        if magnitude or not negative:
            return -magnitude if negative else magnitude


def _masses(variance: float) -> list[int]:
    """Weights of 0, ±1, ±2, … in fixed point: each is the one before times a ratio that falls geometrically."""
    if variance == 0.0:
        return [1]
    half_inverse = 1 / (2 * Fraction(variance))
    weight = 1 << _FRACTION_BITS
    ratio = _exp_minus(half_inverse)
    fall = _exp_minus(2 * half_inverse)
    masses = [weight]
    while True:
        weight = weight * ratio >> _FRACTION_BITS
        ratio = ratio * fall >> _FRACTION_BITS
        # The tail beyond is at most weight · (1 + σ²), and all weights together are at least 2^_FRACTION_BITS.
        if weight * (2 + int(variance)) >> (_FRACTION_BITS - _TAIL_BITS) == 0:
            return masses
        masses.append(2 * weight)


def _exp_minus(y: Fraction) -> int:
    """exp(-y) in units of 2^-_FRACTION_BITS: the power series at y / 2^halvings, squared that often."""
    halvings = max(0, y.numerator.bit_length() - y.denominator.bit_length() + 2)
    bits = _FRACTION_BITS + _GUARD_BITS + halvings
    small = (y.numerator << bits) // (y.denominator << halvings)
    total = term = 1 << bits
    k = 1
    while term:
        term = term * small // (k << bits)
        total += -term if k % 2 else term
        k += 1
    for _ in range(halvings):
        total = total * total >> bits
    return total >> (bits - _FRACTION_BITS)
