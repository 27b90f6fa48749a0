"""The angles between updates, from their inner products alone."""

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats

__all__ = ["cosines"]

_SHORT = 1e-12  # of the squared length of the row about which the products were taken


def cosines(geometry: Geometry) -> Floats:
    """Cosines `(n, n)` of the angles between rows, as seen from the zero update. O(n²), O(n³) after mixing.

    A zero row points nowhere: its cosine with every other row is 0. So does a row that is more than a million times
    shorter than the central one, as rounding leaves little of its direction. The diagonal is 1.

    >>> from hedgerow.aggregation.arrays.gram import measure
    >>> cosines(measure(np.array([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0], [0.0, 0.0]]))).tolist()
    [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    points = geometry.points()
    if geometry.factors is not None:
        pointing = geometry.factors > 0
        products = points[:-1, :-1] - points[:-1, -1] - points[:-1, -1][:, None] + points[-1, -1]
    else:
        away = geometry.mixing.copy()
        away[:, -1] -= 1.0
        products = away @ points @ away.T
        pointing = np.ones(len(away), np.bool_)
    squares = np.diagonal(products)
    pointing &= (squares > 0) & (squares > _SHORT * points[-1, -1])
    units = np.divide(1.0, np.sqrt(np.abs(squares)), out=np.zeros(len(squares)), where=pointing)
    result: Floats = np.clip(products * units * units[:, None] + 0.0, -1.0, 1.0)  # + 0.0: no negative zeros
    np.fill_diagonal(result, 1.0)
    return result
