"""Bulyan: choose updates as Krum does, then average each coordinate around their median."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.order_statistics import middle_ranks
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.arrays.table import Block, as_array
from hedgerow.aggregation.given import Given, View
from hedgerow.aggregation.promises import COORDINATES, Promise
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.aggregation.rules.around import mean_around
from hedgerow.aggregation.rules.selection import Neighbours, krum_scores
from hedgerow.errors import Misconfigured

__all__ = ["Bulyan", "Select", "bulyan_selection"]

Select = Literal["iterated", "one-shot"]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulyan(Defence):
    """Selects `n - 2f` rows by Krum, then takes, by coordinate, the mean of the `n - 4f` values nearest to the median.

    `select`: `"iterated"`, as in the paper, takes Krum's choice out and scores the rest anew each time; `"one-shot"`
    takes the rows with the smallest scores at once. Answers differ; libraries ship either under the same name.
    `neighbours`: as `Krum`. `strict=False` lifts n >= 4f + 3 to n > 4f. Once a single neighbour counts, two rows always
    have the same score: then the one nearer to half of those left, or to all of them; other ties: the lowest index.

    Verdict: the score is Krum's among all rows; rows that were not selected are excluded. Weights: None, since each
    coordinate has its own. Assumption: n >= 4f + 3 and honest rows alike; on uneven data it loses accuracy without
    any attack. κ: none is claimed here. Breakdown: f rows. Cost: O(n²d), then O(n³) for the selection and
    O(n d log² n). Source: El Mhamdi, Guerraoui and Rouault, ICML 2018, arXiv:1802.07927.

    Raises:
        Misconfigured: E103 for any other `select` or `neighbours`.
    """

    reason: ClassVar[str] = "not selected by Bulyan"

    f: int | float
    select: Select = "iterated"
    neighbours: Neighbours = "n-f-2"
    strict: bool = True

    def __post_init__(self) -> None:
        if self.select not in ("iterated", "one-shot"):
            raise Misconfigured("E103", f"select must be 'iterated' or 'one-shot', not {self.select!r}")
        if self.neighbours not in ("n-f-2", "n-f-1"):
            raise Misconfigured("E103", f"neighbours must be 'n-f-2' or 'n-f-1', not {self.neighbours!r}")

    @property
    def promises(self) -> frozenset[Promise]:
        return COORDINATES

    def needs(self, f: int) -> int:
        return 4 * f + (3 if self.strict else 1)

    def judge(self, view: View, given: Given) -> Opinion:
        n, d = view.shape
        distances = view.geometry.squared_distances()
        chosen = bulyan_selection(distances, given.f, self.select, self.neighbours)
        kept = len(chosen)
        low, high = (kept - 1) // 2, kept // 2
        whole = np.empty(d)

        def average(block: slice, rows: Block) -> np.dtype[np.floating]:
            found = as_array(rows)
            ordered = middle_ranks(found[chosen], 0, kept)
            centre = np.add(ordered[low], ordered[high], dtype=np.float64) / 2
            whole[block] = mean_around(ordered, centre, kept - 2 * given.f)[0]
            return found.dtype

        dtype = list(view.each(average))[0]
        return Opinion(
            vector=whole.astype(dtype, copy=False),
            scores=krum_scores(distances, given.f, self.neighbours),
            excluded={row: self.reason for row in range(n) if row not in set(chosen.tolist())},
        )


def bulyan_selection(
    squared_distances: Floats, f: int, select: Select = "iterated", neighbours: Neighbours = "n-f-2"
) -> npt.NDArray[np.intp]:
    """The `n - 2f` rows that Bulyan selects, in ascending order.

    >>> line = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 40.0])
    >>> bulyan_selection((line[:, None] - line) ** 2, 1).tolist()
    [1, 2, 3, 4, 5]
    """
    n = len(squared_distances)
    if select == "one-shot":
        best = np.argsort(krum_scores(squared_distances, f, neighbours), kind="stable")
        return np.sort(best[: n - 2 * f])
    left = np.arange(n)
    chosen = []
    for _ in range(n - 2 * f):
        best_left = _best(squared_distances[np.ix_(left, left)], f, neighbours)
        chosen.append(left[best_left])
        left = np.delete(left, best_left)
    return np.sort(np.array(chosen, np.intp))


def _best(squared_distances: Floats, f: int, neighbours: Neighbours) -> int:
    """Krum's choice among the rows that are left."""
    tied = np.arange(len(squared_distances))
    ordered = np.sort(squared_distances, axis=1)  # from each row's zero to itself upwards
    for scores in (
        krum_scores(squared_distances, f, neighbours),
        ordered[:, : len(ordered) // 2 + 1].sum(axis=1),
        ordered.sum(axis=1),
    ):
        tied = tied[scores[tied] <= scores[tied].min() * (1 + _ROUNDING)]
    return int(tied[0])
