"""What each kind of step answers about the rows that it is given."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.given import State

__all__ = ["Judged", "Mixed", "Opinion", "Weighed"]


class Weighed(NamedTuple):
    """Weights `(n,)` of the rows in the vector, summing to 1, and the rule's scores `(n,)`, larger more suspicious."""

    weights: Floats
    scores: Floats | None


class Judged(NamedTuple):
    """The vector `(b,)` of a block of columns, and which entries `(n, b)` went into it, if that was asked."""

    vector: Floats
    used: npt.NDArray[np.bool_] | None


class Opinion(NamedTuple):
    """What a `Defence` makes of the rows.

    `weights` `(n,)` of the rows in the vector, or None where it is no weighted sum; then `vector` `(d,)` is there.
    `scores` `(n,)`, larger more suspicious. `excluded`: row to reason. `state`: for the next round.
    """

    weights: Floats | None = None
    scores: Floats | None = None
    vector: npt.NDArray[np.floating] | None = None
    excluded: Mapping[int, str] = {}
    state: State = {}


class Mixed(NamedTuple):
    """The rows after a step, and which of the rows before it (`(n,)`) it passed over.

    `weights`: of the rows after it, where the step changes them (as grouping does); None where they stay. `kept`: which
    rows `(m,)` are still there, where the step took some away and left the others as single rows.
    """

    geometry: Geometry
    passed_over: npt.NDArray[np.bool_]
    weights: Floats | None = None
    kept: npt.NDArray[np.intp] | None = None
