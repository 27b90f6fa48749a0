"""Is every release's noise new: no release, client or restart repeats another's, nor a part of it.

Reused noise cancels: the difference of two releases that share it shows the data. It keeps its size and its shape, so
only comparing releases finds it.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned", "shifted"]

Floats = NDArray[np.float64]


def aligned(released: Floats) -> tuple[float, float]:
    """The largest correlation between two releases, whatever their signs and scales, and p.

    p is at most pairs · 2 exp(-d r² / 2), the share of a sphere's surface that is that close to a given line (Ball, "An
    elementary introduction to modern convex geometry", 1997, lemma 2.2).
    """
    k, d = released.shape
    rows = _unit_rows(released)
    correlations = np.abs(rows @ rows.T)
    np.fill_diagonal(correlations, 0.0)
    largest = float(correlations.max())
    return largest, min(1.0, k * (k - 1) * math.exp(-d * largest**2 / 2))


def shifted(released: Floats) -> tuple[float, float]:
    """The largest correlation of all numbers, in a row, with themselves a step or more later, and p.

    Finds noise that is repeated inside a release or from one to another at other coordinates. p is at most
    2 exp(-t) a shift, where the sum of n products is 2 sqrt(n t / 2) + 2 t (Laurent and Massart, "Adaptive estimation
    of a quadratic functional by model selection", Annals of Statistics 28 (2000), lemma 1).
    """
    k, d = released.shape
    n = k * d
    stream = (_unit_rows(released) * math.sqrt(d)).ravel()
    products = np.fft.irfft(np.square(np.abs(np.fft.rfft(stream))), n)[1 : n // 2 + 1]
    if not len(products):
        return 0.0, 1.0
    largest = float(np.abs(products).max())
    root = (math.sqrt(2 * n + 8 * largest) - math.sqrt(2 * n)) / 4
    return largest / n, min(1.0, 2 * len(products) * math.exp(-(root**2)))


def _unit_rows(released: Floats) -> Floats:
    lengths = np.linalg.norm(released, axis=1, keepdims=True)
    return released / np.where(lengths > 0, lengths, 1.0)
