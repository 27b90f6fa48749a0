"""Going downhill on a smooth function of a few dozen numbers: the same result for the same start, always."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["descend"]

Floats = NDArray[np.float64]

_MEMORY = 12
_ENOUGH, _CURVED = 1e-4, 0.9  # Wolfe's two constants


def descend(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, *, iterations: int = 400, tolerance: float = 1e-9
) -> Floats:
    """Where `function` (value and gradient) has a local minimum near `start`, by L-BFGS without any chance in it.

    Ends when the gradient's largest entry is below `tolerance`, when no step leads down any more, or after
    `iterations`. The result is never worse than `start`.
    Source: Nocedal and Wright, "Numerical optimization", 2nd ed., algorithms 7.4 and 7.5; the line search bisects for
    the weak Wolfe conditions (Lewis and Overton, 2013, algorithm 2.6).

    >>> descend(lambda x: (float(x @ x), 2 * x), np.array([3.0, -4.0])).round(6).tolist()
    [0.0, 0.0]
    """
    x = start
    value, gradient = function(x)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)
    for _ in range(iterations):
        if not gradient.size or np.abs(gradient).max() < tolerance:
            break
        direction = _direction(gradient, pairs)
        found = _line_search(function, x, value, gradient, direction)
        if found is None:
            break
        step, new_value, new_gradient = found
        moved, bent = step * direction, new_gradient - gradient
        curvature = float(moved @ bent)
        if curvature > 0.0:
            pairs.append((moved, bent, curvature))
        x, value, gradient = x + moved, new_value, new_gradient
    return x


def _direction(gradient: Floats, pairs: deque[tuple[Floats, Floats, float]]) -> Floats:
    if not pairs:
        return -gradient / max(1.0, float(np.linalg.norm(gradient)))
    direction = -gradient
    shares = []
    for moved, bent, curvature in reversed(pairs):
        share = float(moved @ direction) / curvature
        direction = direction - share * bent
        shares.append(share)
    _, bent, curvature = pairs[-1]
    direction = direction * (curvature / float(bent @ bent))
    for (moved, bent, curvature), share in zip(pairs, reversed(shares), strict=True):
        direction = direction + (share - float(bent @ direction) / curvature) * moved
    return direction


def _line_search(
    function: Callable[[Floats], tuple[float, Floats]], x: Floats, value: float, gradient: Floats, direction: Floats
) -> tuple[float, float, Floats] | None:
    slope = float(gradient @ direction)
    low, high, step = 0.0, np.inf, 1.0
    best: tuple[float, float, Floats] | None = None
    for _ in range(40):
        with np.errstate(all="ignore"):  # a step that is too long may leave the floats; it is shortened
            new_value, new_gradient = function(x + step * direction)
        if not (np.isfinite(new_value) and np.isfinite(new_gradient).all()):
            high = step
        elif new_value > value + _ENOUGH * step * slope or new_value >= value:
            high = step
        else:
            best = (step, new_value, new_gradient)
            if float(new_gradient @ direction) >= _CURVED * slope:
                return best
            low = step
        step = (low + high) / 2 if np.isfinite(high) else 2 * low
    return best
