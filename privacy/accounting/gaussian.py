"""The Gaussian mechanism's δ(ε), exactly: what every numerical price of full batches is measured against.

Source: Balle and Wang, "Improving the Gaussian mechanism for differential privacy", ICML 2018, theorem 8.
"""

import math

__all__ = ["gaussian_epsilon", "gaussian_log_delta"]


def gaussian_log_delta(effect: float, epsilon: float) -> float:
    """log δ at `epsilon` where the noise's standard deviation is 1 / `effect` times the sensitivity.

    Gaussian steps are one: the square of its effect is the sum of their squares.

    >>> round(math.exp(gaussian_log_delta(1.0, 4.3772)), 8)
    1e-05
    """
    from scipy.special import log_ndtr  # type: ignore[import-untyped]  # SciPy ships no types

    likelier = float(log_ndtr(effect / 2 - epsilon / effect))
    rarer = epsilon + float(log_ndtr(-effect / 2 - epsilon / effect))
    return likelier + math.log(-math.expm1(min(rarer - likelier, -_ROUNDING)))


def gaussian_epsilon(effect: float, delta: float) -> float:
    """The least ε >= 0 at `delta`, rounded up."""
    wanted = math.log(delta)
    if gaussian_log_delta(effect, 0.0) <= wanted:
        return 0.0
    low, high = 0.0, effect**2 / 2 + effect * math.sqrt(-2 * wanted) + _ROUNDING  # Chernoff's bound: enough
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_log_delta(effect, middle) <= wanted else (middle, high)
    return high * (1 + 1e-12)


_ROUNDING = 2.0**-52
