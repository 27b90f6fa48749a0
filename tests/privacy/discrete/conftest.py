from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

Fit = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], float]


def _fit(drawn: NDArray[np.int64], integers: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """p of Pearson's chi-square, the tails pooled so that every cell expects five draws or more."""
    cumulated = np.cumsum(probabilities) * len(drawn)
    edges = [-np.inf]
    last = 0.0
    for k, total in zip(integers, cumulated, strict=True):
        if total - last >= 5 and len(drawn) - total >= 5:
            edges.append(float(k))
            last = float(total)
    edges.append(np.inf)
    places = np.searchsorted(edges, drawn, side="left") - 1
    observed = np.bincount(places, minlength=len(edges) - 1)
    inner = np.interp(edges[1:-1], integers, np.cumsum(probabilities))
    expected = np.diff(np.concatenate([[0.0], inner, [1.0]])) * len(drawn)
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.fixture
def fit() -> Fit:
    return _fit
