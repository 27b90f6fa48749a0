"""The exact price of one Gaussian release, and the least noise for a price."""

import math

from hedgerow.errors import Misconfigured

__all__ = ["gaussian_delta", "gaussian_noise"]

_ROUNDING = 1e-9  # the returned noise lies this much above the root: more than all rounding on the way


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """The δ at `epsilon` of one Gaussian release with `noise_multiplier` = standard deviation / sensitivity.

    Guarantee: exact up to rounding, for every ε ≥ 0, unlike the textbook's sqrt(2 log(1.25/δ)) / ε, which is wrong
    above ε = 1. Source: Balle and Wang, "Improving the Gaussian mechanism for differential privacy", ICML 2018,
    arXiv 1805.06530, theorem 8.

    >>> round(gaussian_delta(1.0, 1.0), 6)
    0.126937
    """
    half = 0.5 / noise_multiplier
    near, far = half - epsilon * noise_multiplier, half + epsilon * noise_multiplier
    # exp(ε) Φ(-far) = exp(-near²/2) erfcx(far/√2) / 2: nothing overflows, however large ε is.
    tail = 0.5 * math.exp(-(near**2) / 2) * _scaled_erfc(far / math.sqrt(2.0))
    return max(0.5 * math.erfc(-near / math.sqrt(2.0)) - tail, 0.0)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """The smallest noise multiplier whose single Gaussian release is (`epsilon`, `delta`)-private.

    Guarantee: never below the exact root, at most 2e-9 above it, relatively.
    Raises: Misconfigured E103 for an epsilon outside [0.001, 1000] or a delta outside [1e-15, 1).

    >>> round(gaussian_noise(1.0, 1e-5), 4)
    3.7306
    """
    if not 1e-3 <= epsilon <= 1000.0:
        raise Misconfigured("E103", f"epsilon={epsilon!r}, expected in [0.001, 1000]", place="epsilon")
    if not 1e-15 <= delta < 1.0:
        raise Misconfigured("E103", f"delta={delta!r}, expected in [1e-15, 1)", place="delta")
    low, high = 1e-4, 1.0
    while gaussian_delta(high, epsilon) > delta:
        low, high = high, 2 * high
    while high - low > _ROUNDING * low:
        middle = math.sqrt(low * high)
        if gaussian_delta(middle, epsilon) > delta:
            low = middle
        else:
            high = middle
    return high * (1.0 + _ROUNDING)


def _scaled_erfc(x: float) -> float:
    """exp(x²) erfc(x) for x ≥ 0; above 5 by the continued fraction (Abramowitz and Stegun, 7.1.14)."""
    if x < 5.0:
        return math.exp(x * x) * math.erfc(x)
    fraction = x
    for k in range(60, 0, -1):
        fraction = x + k / 2 / fraction
    return 1.0 / (math.sqrt(math.pi) * fraction)
