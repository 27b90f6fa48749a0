"""Round a vector to whole numbers at random, without bias and without outgrowing its bound.

Each coordinate goes up or down so that its mean stays. The length can grow, by up to sqrt(d) in the worst case; so the
whole vector is drawn again until its length keeps the bound. The bound then holds for the whole numbers themselves,
which are what is sent and what privacy is computed from.

Source: Kairouz, Liu and Steinke, ICML 2021 (arXiv 2102.06387), section 4.2 and algorithm 1.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.discrete.table import Integers
from hedgerow.privacy.randomness import Bits

__all__ = ["longest_before_rounding", "round_within"]

_SPREAD = 1.0  # sqrt(2 log(1/β)) of the paper with its β = exp(-1/2): a try succeeds 39 times in 100 or more
_TRIES = 64


def longest_before_rounding(bound: float, size: int) -> float:
    """The longest vector of `size` numbers whose rounding keeps within `bound`: at once, or after a few tries.

    Zero or less where the bound is too small for that many coordinates: the grid is too coarse.

    >>> round(longest_before_rounding(1000.0, 10_000), 1)
    998.2
    >>> longest_before_rounding(10.0, 10_000) > 0
    False
    """
    always = bound - math.sqrt(size)
    room = _SPREAD**2 - 4 * (size / 4 + _SPREAD * math.sqrt(size) / 2 - bound**2)
    mostly = (math.sqrt(room) - _SPREAD) / 2 if room > 0 else -math.inf
    return max(always, mostly)


def round_within(vector: NDArray[np.float64], bound: float, bits: Bits) -> Integers:
    """Round `(d,)` to whole numbers of length at most `bound`, each by less than 1.

    Guarantee: the squared length of the result, as a whole number, is at most bound². The mean is the vector's, but for
    what conditioning on the bound changes. A vector longer than `longest_before_rounding` may end, after 64 tries, by
    rounding towards zero, which is biased but never longer than the vector.
    Raises: ValueError for a vector longer than `bound`.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> round_within(np.array([0.5, -2.0, 3.25]), 5.0, SimulatedRandomness(7)).tolist()
    [1, -2, 4]
    """
    most = math.floor(bound**2)
    down = np.floor(vector)
    fraction = vector - down
    low = down.astype(np.int64)
    for _ in range(_TRIES):
        rounded = low + (_uniform(len(vector), bits) < fraction)
        if int(rounded @ rounded) <= most:
            return rounded
    towards_zero: Integers = np.trunc(vector).astype(np.int64)
    if int(towards_zero @ towards_zero) > most:
        raise ValueError(f"a vector of length {np.linalg.norm(vector):.6g} cannot be rounded within {bound:.6g}")
    return towards_zero


def _uniform(count: int, bits: Bits) -> NDArray[np.float64]:
    return (bits.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
