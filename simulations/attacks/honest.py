"""What attackers in collusion work out about the honest updates (n, d): their mean, their spread, their distances.

Sums are in float64 and taken column block by column block, so no wide copy of the rows is made.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured

__all__ = ["as_rows", "inner_products", "mean_of", "row_of", "spread_of", "squared_distances"]

Floats = npt.NDArray[np.float64]
WIDTH = 1 << 14  # columns in a block


def as_rows(H: npt.ArrayLike, *, least: int = 1) -> npt.NDArray[np.floating]:
    """The updates as rows (n, d) of float32 or float64, at least so many.

    Raises:
        Misconfigured: E102 for another dtype, E126 for another shape or fewer rows.
    """
    rows = np.asarray(H)
    if rows.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise Misconfigured("E102", f"updates must be float32 or float64, not {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] == 0 or len(rows) < least:
        raise Misconfigured("E126", f"the attack needs updates (n, d) with n >= {least}, not of shape {rows.shape}")
    return rows


def mean_of(H: npt.NDArray[np.floating]) -> Floats:
    """The mean (d,), in float64. O(nd)."""
    mean: Floats = H.mean(axis=0, dtype=np.float64)
    return mean


def spread_of(H: npt.NDArray[np.floating]) -> Floats:
    """The standard deviation of every coordinate (d,), with n - 1 in the divisor; 0 for one row. O(nd)."""
    spread = np.zeros(H.shape[1])
    if len(H) > 1:
        for part in _blocks(H.shape[1]):
            H[:, part].std(axis=0, ddof=1, dtype=np.float64, out=spread[part])
    return spread


def inner_products(H: npt.NDArray[np.floating], center: Floats) -> Floats:
    """Inner products (n, n) of the rows' differences to `center`. O(n² d)."""
    products = np.zeros((len(H), len(H)))
    for part in _blocks(H.shape[1]):
        moved = H[:, part] - center[part]
        products += moved @ moved.T
    return products


def squared_distances(products: Floats) -> Floats:
    """Squared distances (n, n) between the rows from their inner products. O(n²)."""
    squares = np.diagonal(products)
    distances: Floats = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    np.fill_diagonal(distances, 0.0)
    return distances


def row_of(vector: Floats, H: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The vector in the dtype of the rows."""
    row: npt.NDArray[np.floating] = vector.astype(H.dtype, copy=False)
    return row


def _blocks(d: int) -> Iterator[slice]:
    return (slice(start, min(start + WIDTH, d)) for start in range(0, d, WIDTH))
