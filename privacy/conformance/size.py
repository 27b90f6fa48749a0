"""Is the noise as large as claimed: in all, in each release, in each block of coordinates, however many took part."""

import math

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy.conformance.noise import Claim
from hedgerow.privacy.conformance.probability import chi_square_tails, normal_two_sided

__all__ = ["block_sizes", "denominator_trend", "release_sizes", "total_size"]

Floats = NDArray[np.float64]
Outcome = tuple[float, float]

_LEAST_FREEDOM = 64  # numbers in a block, so that chance does not make it look small
_MOST_BLOCKS = 1024


def total_size(released: Floats, claim: Claim) -> Outcome:
    """Measured over claimed standard deviation, and p: chi-square, two-sided.

    A standard deviation 5 % too small is found in 9,000 numbers: it is 6.5 standard errors away.
    """
    squares = float(np.square(released).sum()) / claim.std**2
    return math.sqrt(squares / released.size), _size_p(squares, squares, released.size, 1, claim)


def release_sizes(released: Floats, claim: Claim) -> Outcome:
    """The ratio of the release that is farthest from the claim, and p with Bonferroni's factor for their number."""
    squares = np.square(released).sum(axis=1) / claim.std**2
    return _extremes(squares, released.shape[1], claim)


def block_sizes(released: Floats, claim: Claim) -> Outcome:
    """The same for blocks of neighbouring coordinates over all releases; the last block is cut to end with the rows."""
    k, d = released.shape
    width = min(d, max(-(-_LEAST_FREEDOM // k), -(-d // _MOST_BLOCKS)))
    columns = np.square(released).sum(axis=0) / claim.std**2
    sums = np.concatenate([[0.0], np.cumsum(columns)])
    starts = np.arange(0, d - width + 1, width)
    if starts[-1] + width < d:
        starts = np.append(starts, d - width)
    return _extremes(sums[starts + width] - sums[starts], k * width, claim)


def denominator_trend(released: Floats, participants: NDArray[np.int64], claim: Claim) -> Outcome:
    """The exponent with which a release's size follows the number of participants, and p: 0 if it does not.

    Dividing by those who came instead of by a constant gives -1, and tells how many came.
    Raises: Misconfigured E103 unless there is a positive number for each release, and not the same for all.
    """
    counts = np.asarray(participants, np.float64)
    if counts.shape != (len(released),) or not (counts > 0).all() or counts.min() == counts.max():
        raise Misconfigured(
            "E103", "participants: expected a positive number for each release, not all the same", place="participants"
        )
    size = 0.5 * np.log(np.maximum(np.square(released).mean(axis=1), np.finfo(np.float64).tiny))
    trend = np.log(counts) - np.log(counts).mean()
    spread = float(trend @ trend)
    slope = float(trend @ size) / spread
    error = math.sqrt((claim.kurtosis - 1) / (4 * released.shape[1] * spread))
    return slope, normal_two_sided(slope / error)


def _extremes(squares: Floats, numbers: int, claim: Claim) -> Outcome:
    low, high = float(squares.min()), float(squares.max())
    farthest = min((low, high), key=lambda value: -abs(math.log(max(value, 1e-300) / numbers)))
    return math.sqrt(farthest / numbers), _size_p(low, high, numbers, len(squares), claim)


def _size_p(low: float, high: float, numbers: int, parts: int, claim: Claim) -> float:
    """Two-sided p of the smallest and largest of `parts` sums of squares.

    A square of the law varies as (kurtosis - 1) / 2 times a normal number's: the freedom is counted accordingly.
    """
    freedom = 2 * numbers / (claim.kurtosis - 1)
    below = chi_square_tails(low * freedom / numbers, freedom)[0]
    above = chi_square_tails(high * freedom / numbers, freedom)[1]
    return min(1.0, 2 * parts * min(below, above))
