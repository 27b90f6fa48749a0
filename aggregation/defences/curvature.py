"""How much the gradient turns along a step, from the steps so far and the turns that they brought (L-BFGS)."""

import numpy as np

from hedgerow.aggregation.arrays.rows import Floats

__all__ = ["curvature"]

_FLAT = 1e-6  # the least cosine between a step and the turn of the gradient: less is rounding


def curvature(products: Floats) -> Floats:
    """Coefficients `(2p + 1,)` that make B v of the points s₁..sₚ, y₁..yₚ, v, given these points' inner `products`.

    B is the L-BFGS estimate of the Hessian for which a step sᵢ turns the gradient by yᵢ. Pairs in which the gradient
    does not turn against the step are passed over; without any other, B is zero. O(p³).
    Source: Byrd, Nocedal and Schnabel, Mathematical Programming 63, 1994, theorem 2.3.

    >>> s, y, v = [2.0, 0.0], [6.0, 0.0], [1.0, 1.0]  # a curvature of 3 along the first axis
    >>> points = np.array([s, y, v])
    >>> (curvature(points @ points.T) @ points).tolist()
    [3.0, 3.0]
    """
    p = len(products) // 2
    steps, turns = np.arange(p), np.arange(p, 2 * p)
    squares = np.diagonal(products)
    along = products[steps, turns]
    used = np.flatnonzero(along > _FLAT * np.sqrt(squares[steps]) * np.sqrt(squares[turns]))
    coefficients = np.zeros(2 * p + 1)
    if not len(used):
        return coefficients
    size = 1.0 / np.sqrt(squares[used])  # a pair times a number is the same pair; equal lengths solve best
    across = products[np.ix_(used, turns[used])] * size[:, None] * size
    plain = products[np.ix_(used, used)] * size[:, None] * size
    scale = float(along[used[-1]] / squares[used[-1]])
    lower = np.tril(across, -1)
    system = np.block([[scale * plain, lower], [lower.T, -np.diag(np.diagonal(across))]])
    seen = np.concatenate((scale * products[used, -1] * size, products[turns[used], -1] * size))
    solved = np.linalg.lstsq(system, seen, rcond=None)[0].reshape(2, -1) * size
    coefficients[used] = -scale * solved[0]
    coefficients[turns[used]] = -solved[1]
    coefficients[-1] = scale
    return coefficients
