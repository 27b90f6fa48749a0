"""Breast cancer, Wisconsin: 569 real tumours described by 30 numbers, which come with scikit-learn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.task import Data, PooledTask, Split
from hedgerow.tasks.arrays import hold_out
from hedgerow.tasks.models import mlp

if TYPE_CHECKING:
    import torch

__all__ = ["RANGES", "BreastCancer", "breast_cancer"]

# Lowest and highest value of each feature, from the summary table in the data set's published description, in the
# order of its columns. Constants of the literature, not computed from the records: scaling by them releases nothing.
RANGES = (
    (6.981, 28.11),  # mean radius
    (9.71, 39.28),  # mean texture
    (43.79, 188.5),  # mean perimeter
    (143.5, 2501.0),  # mean area
    (0.053, 0.163),  # mean smoothness
    (0.019, 0.345),  # mean compactness
    (0.0, 0.427),  # mean concavity
    (0.0, 0.201),  # mean concave points
    (0.106, 0.304),  # mean symmetry
    (0.05, 0.097),  # mean fractal dimension
    (0.112, 2.873),  # radius error
    (0.36, 4.885),  # texture error
    (0.757, 21.98),  # perimeter error
    (6.802, 542.2),  # area error
    (0.002, 0.031),  # smoothness error
    (0.002, 0.135),  # compactness error
    (0.0, 0.396),  # concavity error
    (0.0, 0.053),  # concave points error
    (0.008, 0.079),  # symmetry error
    (0.001, 0.03),  # fractal dimension error
    (7.93, 36.04),  # worst radius
    (12.02, 49.54),  # worst texture
    (50.41, 251.2),  # worst perimeter
    (185.2, 4254.0),  # worst area
    (0.071, 0.223),  # worst smoothness
    (0.027, 1.058),  # worst compactness
    (0.0, 1.252),  # worst concavity
    (0.0, 0.291),  # worst concave points
    (0.156, 0.664),  # worst symmetry
    (0.055, 0.208),  # worst fractal dimension
)


class BreastCancer(PooledTask):
    """Records (n, 30) in [-1, 1], malignant or benign. Read from scikit-learn once per process.

    Source: Street, Wolberg and Mangasarian, "Nuclear feature extraction for breast tumor diagnosis", SPIE 1905, 1993.
    """

    name = "breast-cancer"
    labels = ("malignant", "benign")

    def __init__(self, *, hidden: int, test_fraction: float) -> None:
        self._hidden = hidden
        self._test_fraction = test_fraction

    def model(self) -> torch.nn.Module:
        return mlp(len(RANGES), (self._hidden,), 2)

    def pool(self) -> Data:
        return _pool(self._test_fraction)


def breast_cancer(hidden: int = 32, test_fraction: float = 0.2) -> PooledTask:
    """Tell malignant from benign tumours. Each feature's published range is mapped to [-1, 1] and clipped to it.

    The same records are held out whatever the scenario's seed.

    Raises:
        Misconfigured: E103 for a width below 1 or a fraction outside [0, 1), E107 where scikit-learn is missing.

    >>> len(breast_cancer().pool().train), len(breast_cancer().pool().test)
    (456, 113)
    """
    if hidden < 1:
        raise Misconfigured("E103", f"hidden is {hidden}, but must be at least 1")
    hold_out(np.empty(0, np.int64), test_fraction)  # refuse a bad fraction here rather than at the first round
    return BreastCancer(hidden=hidden, test_fraction=test_fraction)


@cache
def _pool(test_fraction: float) -> Data:
    try:
        from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]  # scikit-learn ships no types
    except ImportError:
        raise Misconfigured(
            "E107", "the breast cancer data come with scikit-learn", hint="pip install 'hedgerow[full]'"
        ) from None
    x, y = load_breast_cancer(return_X_y=True)
    low, high = np.array(RANGES).T
    scaled = np.clip(2 * (x - low) / (high - low) - 1, -1, 1)
    records = Split(scaled.astype(np.float32), y.astype(np.int64))
    train, test = hold_out(records.y, test_fraction)
    return Data(records.take(train), records.take(test))
