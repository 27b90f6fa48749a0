"""Skellam noise: the difference of two independent Poisson numbers of equal mean.

Its sum is again Skellam, with the variances added: sites that each add a share give, under secure aggregation, exactly
the noise of one trusted server, whoever of them drops out (with less variance). The mean is 0, the variance is
`variance`, the excess kurtosis 1 / variance.

Source: Agarwal, Kairouz and Liu, "The Skellam mechanism for differentially private federated learning", NeurIPS 2021.
"""

import math
from fractions import Fraction
from functools import lru_cache, partial

from hedgerow.errors import Misconfigured
from hedgerow.privacy.discrete.table import Integers, SignedTable, signed_table
from hedgerow.privacy.randomness import Bits

__all__ = ["MAX_VARIANCE", "skellam", "skellam_table"]

MAX_VARIANCE = 2.0**28  # the table of a wider law no longer fits a processor's cache, and takes seconds to build

_TAIL = -132 * math.log(2.0)
_START = 1 << 128


def skellam(variance: float, count: int, bits: Bits) -> Integers:
    """`count` independent Skellam integers of mean 0 and this variance, `(count,)`.

    Guarantee: within 2^-100 in total variation of the exact law, a draw. Variance 0 gives zeros.
    Raises: Misconfigured E103 for a variance that is negative, not finite or above `MAX_VARIANCE`.
    Cost: one 64-bit word a draw; the first draw of a variance builds its table (0.1 s at a variance of a million).

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> skellam(100.0, 6, SimulatedRandomness(7)).tolist()
    [0, 9, -18, -8, -3, 3]
    """
    return skellam_table(variance).draw(count, bits)


@lru_cache(maxsize=16)
def skellam_table(variance: float) -> SignedTable:
    """The table of the law, built once per variance."""
    if not 0.0 <= variance <= MAX_VARIANCE:
        raise Misconfigured("E103", f"variance={variance!r}, expected 0 … {MAX_VARIANCE:.0f}", place="variance")
    return signed_table(partial(_masses, variance))


def _masses(variance: float) -> list[int]:
    """In proportion to I_0(v), 2 I_1(v), 2 I_2(v), …: the probabilities of 0, ±1, ±2, … but for the factor exp(-v).

    Miller's recurrence downwards, I_{k-1} = I_{k+1} + (2k / v) I_k, in whole numbers: every term is positive and above
    2^128, so that rounding down leaves a relative error below (number of terms) / 2^128. It starts beyond the terms
    that are kept, from where its wrong first ratio is forgotten.
    """
    if variance == 0.0:
        return [1]
    ratio = 2 / Fraction(variance)
    up, down = ratio.numerator, ratio.denominator
    terms = _farthest(variance)
    above, here = 0, _START
    bessel = []
    for k in range(terms + 2 * math.isqrt(int(variance)) + 16, 0, -1):
        above, here = here, above + k * up * here // down
        bessel.append(here)
    kept = bessel[: -terms - 2 : -1]
    return [kept[0], *(2 * value for value in kept[1:])]


def _farthest(variance: float) -> int:
    """The first k with P(|X| >= k) below 2^-131, by Chernoff's bound exp(v (cosh t - 1) - k t) at t = asinh(k / v)."""
    low, high = 0, 1
    while _log_tail(variance, high) > _TAIL:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _log_tail(variance, middle) > _TAIL else (low, middle)
    return high


def _log_tail(variance: float, k: int) -> float:
    t = math.asinh(k / variance)
    # cosh t - 1, without cancelling where t is small
    return 2 * variance * math.sinh(t / 2) ** 2 - k * t
