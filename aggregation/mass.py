"""Weights that rows carry: who holds how much of the say, and how much of it may be hostile."""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.errors import Misconfigured

__all__ = ["hostile_mass", "uneven", "weighted_middle", "within"]

_NOTHING = 1e-12  # a part of the whole weight this small is rounding; times a huge hostile value it would not be


def uneven(given: Given) -> Floats | None:
    """The rows' weights `(n,)`, or None where every row has the same say: none were given, or all are equal."""
    weights = given.weights
    return None if weights is None or bool((weights == weights[0]).all()) else weights


def hostile_mass(weights: Floats, f: int) -> float:
    """The most that `f` rows can hold of weights that sum to 1: the sum of the `f` largest.

    >>> hostile_mass(np.array([0.1, 0.3, 0.2, 0.4]), 1)
    0.4

    Raises:
        Misconfigured: E103 if that is half or more: no rule withstands a majority.
    """
    mass = float(np.sort(weights)[len(weights) - f :].sum())
    if mass >= 0.5 - _NOTHING:
        raise Misconfigured(
            "E103",
            f"the {f} heaviest of {len(weights)} rows hold {mass:.0%} of the weight; a rule withstands less than half",
            hint="cap the weights lower, or expect fewer hostile rows",
        )
    return mass


def within(weights: Floats, low: float | Floats, high: float | Floats, axis: int = 0) -> Floats:
    """How much of each weight lies between `low` and `high` when the weights are laid end to end along `axis`.

    >>> within(np.array([0.25, 0.25, 0.5]), 0.125, 0.75).tolist()
    [0.125, 0.25, 0.25]
    """
    ends = _ends(weights) if axis == 0 else np.cumsum(weights, axis=axis)
    parts: Floats = np.minimum(ends, high) - np.maximum(ends - weights, low)
    parts[parts < _NOTHING] = 0.0
    return parts


def weighted_middle(values: npt.NDArray[np.floating], weights: Floats) -> tuple[Floats, Floats]:
    """In each column of `values` (n, b), the values with half of the weight below and above: two, mostly equal, (b,).

    >>> lower, upper = weighted_middle(np.array([[1.0], [2.0], [8.0]]), np.array([0.25, 0.25, 0.5]))
    >>> lower.tolist(), upper.tolist()
    ([2.0], [8.0])
    """
    order = values.argsort(axis=0)
    ends = _ends(weights[order])
    lower = np.argmax(ends >= 0.5 - _NOTHING, axis=0)[None]
    upper = np.argmax(ends >= 0.5 + _NOTHING, axis=0)[None]
    ordered = np.take_along_axis(values, order, axis=0).astype(np.float64)
    return np.take_along_axis(ordered, lower, axis=0)[0], np.take_along_axis(ordered, upper, axis=0)[0]


def _ends(weights: Floats) -> Floats:
    """Running sums down the columns: whole rows at a time, which for many columns is faster than `cumsum`."""
    ends = weights.copy()
    for place in range(1, len(ends)):
        ends[place] += ends[place - 1]
    return ends
