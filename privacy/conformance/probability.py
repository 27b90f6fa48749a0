"""Tail probabilities that the checks need, without SciPy."""

import math

__all__ = ["chi_square_tails", "normal_two_sided"]

_EPSILON = 1e-15
_TINY = 1e-300
_STIRLING = 200.0


def normal_two_sided(z: float) -> float:
    """The chance that a standard normal number is at least |z| from 0.

    >>> round(normal_two_sided(1.959964), 6)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def chi_square_tails(value: float, freedom: float) -> tuple[float, float]:
    """The chances that a chi-square number is at most, and at least, `value`; `freedom` need not be whole.

    Series below the mean, Lentz's continued fraction above it, as in Abramowitz and Stegun, 6.5.29 and 6.5.31.
    Cost: O(sqrt(freedom)).

    >>> [round(tail, 6) for tail in chi_square_tails(18.307038, 10)]
    [0.95, 0.05]
    """
    a, x = freedom / 2, value / 2
    if x <= 0.0:
        return 0.0, 1.0
    front = math.exp(_log_front(a, x))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * _EPSILON:
            n += 1
            term *= x / n
            total += term
        lower = min(1.0, total * front)
        return lower, 1 - lower
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    i = 0
    while True:
        i += 1
        step = -i * (i - a)
        b += 2
        d = 1 / _away(step * d + b)
        c = _away(b + step / c)
        fraction *= c * d
        if abs(c * d - 1) < _EPSILON:
            upper = min(1.0, fraction * front)
            return 1 - upper, upper


def _log_front(a: float, x: float) -> float:
    """a log x - x - log Γ(a), by Stirling's series where the three large terms would cancel."""
    if a < _STIRLING:
        return a * math.log(x) - x - math.lgamma(a)
    off = (x - a) / a
    return a * (math.log1p(off) - off) + math.log(a / (2 * math.pi)) / 2 - 1 / (12 * a) + 1 / (360 * a**3)


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
