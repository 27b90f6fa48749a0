"""What integer noise costs: Rényi divergences of the Skellam and of the summed discrete Gaussian mechanism.

Pure functions of numbers, for a query on the integer grid whose answer one participant can move by at most `l1` in sum
and `l2` in length. Bounds, not estimates. The relation between neighbours is the caller's: the sensitivities say it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORDERS", "discrete_gaussian_rdp", "renyi_to_epsilon", "skellam_rdp", "summing_loss"]

Floats = NDArray[np.float64]

ORDERS: tuple[float, ...] = (
    *(quarters / 4 for quarters in range(5, 48)),
    *range(12, 65),
    *(80, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096),
)


def skellam_rdp(order: float, *, variance: float, l1: float, l2: float) -> float:
    """The Rényi divergence of `order` > 1 of adding Skellam noise of this variance to each coordinate.

    Source: Agarwal, Kairouz and Liu, "The Skellam mechanism for differentially private federated learning", NeurIPS
    2021, theorem 3.5 and corollary 3.6, stated for whole orders. Between whole orders (order - 1) · divergence is
    convex, so the straight line between its two neighbours is an upper bound.

    >>> round(skellam_rdp(8, variance=1e4, l1=50.0, l2=10.0), 6)
    0.040004
    """
    low = math.floor(order)
    if low == order:
        excess = min(((2 * order - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
        return order * l2**2 / (2 * variance) + excess
    below = (low - 1) * skellam_rdp(low, variance=variance, l1=l1, l2=l2) if low > 1 else 0.0
    above = low * skellam_rdp(low + 1, variance=variance, l1=l1, l2=l2)
    return (below + (order - low) * (above - below)) / (order - 1)


def discrete_gaussian_rdp(
    order: float, *, variance: float, parties: int, dimension: int, l1: float, l2: float
) -> float:
    """The Rényi divergence of adding the sum of `parties` discrete Gaussians, of total σ² = `variance`, a coordinate.

    Each party's own σ² is variance / parties; below 1/4 the bound does not hold and the answer is infinite.
    Source: Kairouz, Liu and Steinke, "The distributed discrete Gaussian mechanism for federated learning with secure
    aggregation", ICML 2021 (arXiv 2102.06387), proposition 14.

    >>> round(discrete_gaussian_rdp(8, variance=1e4, parties=20, dimension=100, l1=50.0, l2=10.0), 6)
    0.04
    """
    if variance < parties / 4:
        return math.inf
    ratio, loss = l2 / math.sqrt(variance), summing_loss(variance / parties, parties)
    first = order * ratio**2 / 2 + loss * dimension
    second = order / 2 * (ratio**2 + 2 * l1 / math.sqrt(variance) * loss + loss**2 * dimension)
    third = order / 2 * (ratio + loss * math.sqrt(dimension)) ** 2
    return min(first, second, third)


@lru_cache(maxsize=256)
def summing_loss(share: float, parties: int) -> float:
    """How far, in log-ratio, a sum of discrete Gaussians of σ² = `share` is from one discrete Gaussian (their τ).

    >>> f"{summing_loss(1.0, 10):.1e}", summing_loss(100.0, 10)
    ('5.4e-04', 0.0)
    """
    k = np.arange(1, parties)
    return float(10 * np.exp(-2 * math.pi**2 * share * k / (k + 1)).sum())


def renyi_to_epsilon(divergences: Sequence[float], delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The least ε at `delta` that Rényi divergences at `orders`, already summed over the steps, promise.

    Source: Balle, Barthe, Gaboardi, Hsu and Sato, arXiv 1905.09982, theorem 21.

    >>> round(renyi_to_epsilon([order / 2 for order in ORDERS], 1e-5), 3)
    4.729
    """
    alphas, rdp = np.asarray(orders, np.float64), np.asarray(divergences, np.float64)
    bounds = rdp + np.log1p(-1 / alphas) - (math.log(delta) + np.log(alphas)) / (alphas - 1)
    return max(0.0, float(bounds.min()))
