"""MoNNA: the mean of the updates nearest to one that is trusted."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import GramRule, Weighed
from hedgerow.aggregation.steps.mixing import neighbourhoods
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["MoNNA"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoNNA(GramRule):
    """The mean of the `n - f` rows nearest to the row `pivot`, itself among them. Ties: the lowest index.

    The pivot is trusted: made for peers that each start from their own update. A hostile pivot decides the vector;
    where no row is trusted, `NNM` takes every row as the pivot once.

    Verdict: the score is the distance to the pivot; rows outside the neighbourhood are excluded. Assumption: n > 2f,
    an honest pivot, honest rows closer to it than hostile ones. κ: none is claimed here. Breakdown: f rows other than
    the pivot. Cost: O(n²d). Source: Farhadkhani et al., ICML 2023, arXiv:2209.10931.

    Raises:
        Misconfigured: E103 if `pivot` is no row of the table, E105 behind a step that groups rows. Exhausted: E502 if
            the pivot's own row cannot be used.
    """

    reason: ClassVar[str] = "not among the nearest to the pivot"
    least_share: ClassVar[float] = 0.0
    weighted: ClassVar[bool] = True

    f: int | float
    pivot: int = 0

    def __post_init__(self) -> None:
        if self.pivot < 0:
            raise Misconfigured("E103", f"pivot must be the index of a row, not {self.pivot}")

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.ORDER}

    def needs(self, f: int) -> int:
        return max(2 * f + 1, self.pivot + 1)

    def weigh(self, geometry: Geometry, given: Given) -> Weighed:
        n = len(geometry.shares)
        pivot = self.pivot
        if len(given.places) != n:
            raise Misconfigured("E105", "MoNNA needs single rows: behind grouping, no row is the pivot's own")
        if pivot not in given.places:
            raise Exhausted("E502", f"row {pivot}, which is the pivot, cannot be used")
        here = list(given.places).index(pivot)
        distances = geometry.squared_distances()
        weights = neighbourhoods(distances, given)[here]
        return Weighed(weights, np.sqrt(distances[here]))
