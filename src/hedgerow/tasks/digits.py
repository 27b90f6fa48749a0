"""Handwritten digits: 1,797 real 8 × 8 images that come with scikit-learn, so they need no download."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.task import Data, PooledTask, Split
from hedgerow.tasks.arrays import hold_out
from hedgerow.tasks.models import mlp

if TYPE_CHECKING:
    import torch

__all__ = ["Digits", "digits"]


class Digits(PooledTask):
    """Records (n, 64) in [0, 1], ten labels, one hidden layer or none. Read from scikit-learn once per process.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """

    name = "digits"
    labels = tuple("0123456789")

    def __init__(self, *, hidden: int, test_fraction: float) -> None:
        self._hidden = hidden
        self._test_fraction = test_fraction

    def model(self) -> torch.nn.Module:
        return mlp(64, (self._hidden,) if self._hidden else (), 10)

    def pool(self) -> Data:
        return _pool(self._test_fraction)


def digits(hidden: int = 128, test_fraction: float = 0.2) -> PooledTask:
    """Recognise handwritten digits; `hidden=0` is softmax regression.

    Pixels count 0 … 16 and are divided by that public constant. The same records are held out whatever the scenario's
    seed.

    Raises:
        Misconfigured: E103 for a width below 0 or a fraction outside [0, 1), E107 where scikit-learn is missing.

    >>> len(digits().pool().train), len(digits().pool().test)
    (1438, 359)
    """
    if hidden < 0:
        raise Misconfigured("E103", f"hidden is {hidden}, but must be at least 0")
    hold_out(np.empty(0, np.int64), test_fraction)  # refuse a bad fraction here rather than at the first round
    return Digits(hidden=hidden, test_fraction=test_fraction)


@cache
def _pool(test_fraction: float) -> Data:
    x, y = _read()
    records = Split((x / 16).astype(np.float32), y.astype(np.int64))
    train, test = hold_out(records.y, test_fraction)
    return Data(records.take(train), records.take(test))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """The images (n, 64) and their labels from scikit-learn's own file: importing scikit-learn takes a second.

    Raises:
        Misconfigured: E107 where scikit-learn is missing.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise Misconfigured("E107", "the digits come with scikit-learn", hint="pip install 'hedgerow[full]'")
    file = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types

    x, y = load_digits(return_X_y=True)
    return x, y
