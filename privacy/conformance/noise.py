"""What a mechanism claims of its noise: the law that each released number follows when there is nothing to hide."""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["Claim", "gaussian_noise", "integer_noise"]

Floats = NDArray[np.float64]

_POINTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """A law of mean 0: its size, its shape at chosen points, and its fourth moment over the square of the second."""

    std: float
    kurtosis: float
    points: Floats
    below: Floats  # chance of at most points[i]
    whole: bool  # whether only whole numbers occur


def gaussian_noise(std: float) -> Claim:
    """Gaussian noise of this standard deviation. Raises: ValueError unless it is positive.

    >>> claim = gaussian_noise(2.0)
    >>> float(claim.below[np.searchsorted(claim.points, 2.0)]).__round__(3)
    0.841
    """
    if not 0.0 < std < math.inf:
        raise ValueError(f"std={std!r}, expected > 0 and finite")
    below = (np.arange(_POINTS) + 0.5) / _POINTS
    return Claim(std=std, kurtosis=3.0, points=std * _standard_quantiles(), below=below, whole=False)


def integer_noise(integers: NDArray[np.int64], probabilities: Floats) -> Claim:
    """Noise in whole numbers, as the tables of `hedgerow.privacy.discrete` give it: `skellam_table(v).pmf()`.

    >>> from hedgerow.privacy.discrete import skellam_table
    >>> round(integer_noise(*skellam_table(100.0).pmf()).std, 6)
    10.0
    """
    k = integers.astype(np.float64)
    variance = float(probabilities @ k**2)
    if not variance > 0.0:
        raise ValueError("a law without variance is no noise")
    return Claim(
        std=math.sqrt(variance),
        kurtosis=float(probabilities @ k**4) / variance**2,
        points=k,
        below=np.cumsum(probabilities),
        whole=True,
    )


@lru_cache(maxsize=1)
def _standard_quantiles() -> Floats:
    normal = NormalDist()
    return np.array([normal.inv_cdf((i + 0.5) / _POINTS) for i in range(_POINTS)])
