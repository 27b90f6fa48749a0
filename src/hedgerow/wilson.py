"""The interval of a share: what `k` of `n` records say about the share in the population."""

import math
from statistics import NormalDist

__all__ = ["wilson"]


def wilson(share: float, records: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share of `records` (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).

    No records say nothing: (0, 1).

    >>> low, high = wilson(0.9, 360)
    >>> round(low, 3), round(high, 3)
    (0.865, 0.927)
    """
    if records < 1:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * records)) / (1 + z * z / records)
    half = z / (1 + z * z / records) * math.sqrt(share * (1 - share) / records + (z / (2.0 * records)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)
