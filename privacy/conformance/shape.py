"""Has the noise the distribution that is claimed, not only its size."""

import math

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.conformance.noise import Claim

__all__ = ["shape"]


def shape(released: NDArray[np.float64], claim: Claim) -> tuple[float, float]:
    """The largest gap between the measured and the claimed distribution function at the claim's points, and p.

    p is at most 2 exp(-2 n gap²), for continuous and for discrete laws and any n: Massart, "The tight constant in the
    Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18 (1990). Where whole numbers are claimed, a number
    that is not whole gives p = 0.
    """
    values = released.ravel()
    if claim.whole and not (values == np.rint(values)).all():
        return 1.0, 0.0
    places = np.searchsorted(claim.points, values, side="left")
    counts = np.bincount(places, minlength=len(claim.points) + 1)[:-1]
    gap = float(np.abs(np.cumsum(counts) / len(values) - claim.below).max())
    return gap, min(1.0, 2 * math.exp(-2 * len(values) * gap**2))
