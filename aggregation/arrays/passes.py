"""What a defence reads in one pass over the rows: lengths, and a weighted sum that may carry noise."""

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given, View
from hedgerow.errors import Misconfigured

__all__ = ["draws", "lengths", "noisy_sum"]


def lengths(view: View) -> Floats:
    """Euclidean lengths `(n,)` of the rows, without measuring their distances. O(nd)."""
    squares = np.zeros(view.shape[0])
    for _, rows in view.blocks():
        wide = rows.astype(np.float64)
        squares += np.vecdot(wide, wide)
    return np.sqrt(squares)


def noisy_sum(
    view: View, weights: Floats, *, deviation: float = 0.0, rng: np.random.Generator | None = None
) -> npt.NDArray[np.floating]:
    """`weights @ rows`, summed in float64 and returned in the rows' dtype; plus N(0, deviation²) in each coordinate.

    The noise is drawn in the order of the coordinates, so that it is the same however the rows are cut into blocks.
    """
    total = np.zeros(view.shape[1])
    dtype: np.dtype[np.floating] = np.dtype(np.float64)
    active = np.flatnonzero(weights)
    for block, rows in view.blocks():
        dtype = rows.dtype
        total[block] = weights[active] @ rows[active].astype(np.float64)
        if deviation > 0:
            assert rng is not None, "noise is drawn from a generator"
            total[block] += deviation * rng.standard_normal(block.stop - block.start)
    return total.astype(dtype)


def draws(given: Given, rule: str) -> np.random.Generator:
    """The round's generator.

    Raises:
        Misconfigured: E105 where the caller gave none.
    """
    if given.rng is None:
        raise Misconfigured("E105", f"{rule} draws random numbers and was given no generator", hint="pass rng=")
    return given.rng
