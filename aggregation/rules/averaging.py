"""The mean: best when everyone is honest, worthless when one is not."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import GramRule, Weighed
from hedgerow.errors import Misconfigured

__all__ = ["Mean", "proportions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(GramRule):
    """The average of the rows, plain or weighted.

    `f` says only how many unusable rows may be left out; against usable ones it has no defence.

    Verdict: scores None, nobody excluded. Assumption: every row is honest. κ: 0 for f = 0, otherwise none.
    Breakdown: one row. Cost: O(nd). Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, Algorithm 1.
    """

    reason: ClassVar[str] = "given no weight"
    least_share: ClassVar[float] = 0.0
    weighted: ClassVar[bool] = True

    f: int | float | None = None

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SAFE}

    def needs(self, f: int) -> int:
        return f + 1

    def tolerates(self, n: int) -> int:
        return 0

    def kappa(self, n: int) -> float | None:
        return None if self.byzantine(n) else 0.0

    def weigh(self, geometry: Geometry, given: Given) -> Weighed:
        n = len(geometry.shares)
        return Weighed(np.full(n, 1.0 / n) if given.weights is None else given.weights, None)


def proportions(weights: npt.ArrayLike, n: int) -> Floats:
    """Weights `(n,)` scaled to sum to 1.

    >>> proportions([1.0, 3.0], 2).tolist()
    [0.25, 0.75]

    Raises:
        Misconfigured: E126 for any other shape, E103 if one is negative or not finite, or if all are zero.
    """
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n,):
        raise Misconfigured("E126", f"{n} rows need weights of shape ({n},), not {given.shape}")
    if not np.isfinite(given).all() or (given < 0).any() or not (given > 0).any():
        raise Misconfigured("E103", "weights must be finite and not negative, and one must be positive")
    scaled: Floats = given / given.max()  # so that the sum of huge weights does not overflow
    scaled /= scaled.sum()
    return scaled
