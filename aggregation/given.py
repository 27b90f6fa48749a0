"""What a rule is given: the rows, and what else there is to know about them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.arrays.table import Block

__all__ = ["Given", "State", "View", "Want"]

T = TypeVar("T")
State = Mapping[str, npt.NDArray[np.generic]]
Want = Literal["reference", "rng", "sites"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a step is given beside the rows, all about the `n` rows that are present when it is its turn.

    `f`: how many of them may be hostile. `least`: how many rows the steps behind need. `weights`: `(n,)`, known to the
    server, summing to 1; None where all rows have the same say. `sites`: whose row each is, empty where nobody said or
    rows were grouped. `places`: which of the rows that arrived each is, empty where rows were grouped. `taken`: how
    many rows a step took away as hostile. `reference`: `(d,)`, an update that the server made itself. `state`: what the
    rule returned the round before, empty at first. `rng`: the round's own generator, for rules that draw.
    """

    f: int
    least: int = 1
    weights: Floats | None = None
    sites: Sequence[str] = ()
    places: Sequence[int] = ()
    taken: int = 0
    reference: npt.NDArray[np.floating] | None = None
    state: State = field(default_factory=dict)
    rng: np.random.Generator | None = None

    def of(self, kept: npt.NDArray[np.intp]) -> "Given":
        """The same about some of the rows."""
        weights = None if self.weights is None else self.weights[kept] / self.weights[kept].sum()
        sites, places = ([part[row] for row in kept] if part else () for part in (self.sites, self.places))
        return replace(self, weights=weights, sites=tuple(sites), places=tuple(places))

    def told(self, f: int) -> "Given":
        """The same with another number of hostile rows."""
        return replace(self, f=f)


class View(Protocol):
    """The rows that a `Defence` sees, as the steps before it left them."""

    @property
    def geometry(self) -> Geometry:
        """Their distances, measured when first asked for."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, d)`."""
        ...

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        """Columns `(n, b)`, block by block, that must not be written to."""
        ...

    def each(self, work: Callable[[slice, Block], T]) -> Iterator[T]:
        """`work` on every block, by several threads where that pays, its results in the blocks' order."""
        ...

    def combined(self, weights: Floats) -> npt.NDArray[np.floating]:
        """`weights @ rows` `(d,)`, summed in float64 and returned in the rows' dtype."""
        ...
