"""Do the batches vary as independent draws of each record do: their sizes are binomial, neither fixed nor wild."""

import math

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.conformance.probability import chi_square_tails

__all__ = ["batch_mean", "batch_spread"]

Counts = NDArray[np.int64]


def batch_mean(counts: Counts, records: int, rate: float) -> tuple[float, float]:
    """The measured rate over the claimed one, and p by Chernoff's bound 2 exp(-n KL(measured, claimed))."""
    _check(counts, records, rate)
    draws = records * len(counts)
    measured = float(counts.sum()) / draws
    return measured / rate, min(1.0, 2 * math.exp(-draws * _divergence(measured, rate)))


def batch_spread(counts: Counts, records: int, rate: float) -> tuple[float, float]:
    """The batch sizes' variance over a binomial's, and p: chi-square, two-sided.

    Fixed batches, billed as sampled ones, have none: they are found from about twenty batches on. Sizes are whole, so
    each is moved half a step towards passing.
    """
    _check(counts, records, rate)
    mean, variance = records * rate, records * rate * (1 - rate)
    distance = np.abs(counts - mean)
    freedom = len(counts) / (1 + (1 - 6 * rate * (1 - rate)) / (2 * variance))
    shrink = freedom / len(counts) / variance
    above = chi_square_tails(shrink * float(np.square(np.maximum(distance - 0.5, 0.0)).sum()), freedom)[1]
    below = chi_square_tails(shrink * float(np.square(distance + 0.5).sum()), freedom)[0]
    return float(np.square(distance).mean()) / variance, min(1.0, 2 * min(above, below))


def _divergence(measured: float, rate: float) -> float:
    """KL(measured, rate) of two coins."""
    yes = measured * math.log(measured / rate) if measured > 0 else 0.0
    no = (1 - measured) * math.log((1 - measured) / (1 - rate)) if measured < 1 else 0.0
    return max(0.0, yes + no)


def _check(counts: Counts, records: int, rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise Misconfigured("E103", f"rate={rate!r}, expected in (0, 1)", place="rate")
    if not len(counts) or counts.min() < 0 or counts.max() > records:
        raise Misconfigured("E103", f"counts: expected one or more in 0 … {records}", place="counts")
