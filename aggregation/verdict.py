"""What a rule decided, and about whom: the vector for the model, the verdict for the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Array, Floats
from hedgerow.aggregation.given import State

__all__ = ["Aggregate", "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What the rule made of every row. Row `i` is the `i`-th reply, also when rows before it were left out.

    `weights`: `(n,)`, the weight of each row in the vector. Zero for a row that was left out. They sum to 1, or to
    less after clipping (the rest is the zero update's). None for a coordinate rule, where each coordinate has its own.
    `scores`: `(n,)`, larger is more suspicious; each rule says what its number means. NaN for a row that was unusable.
    None where the rule measures nothing (the mean).
    `norms`: `(n,)`, Euclidean length of each row as it arrived; Inf where it is not finite.
    `excluded`: row to reason, a constant text that may be shown and logged. A row is excluded if it was unusable, if
    nearest-neighbour mixing passed over it, or if its share of the vector is at or below the rule's `least_share` of a
    fair share. It states what the rule did with the row; it is no proof of an attack.
    `finite`: `(n,)`, False where a row holds NaN or Inf.
    """

    weights: Floats | None
    scores: Floats | None
    norms: Floats
    excluded: Mapping[int, str]
    finite: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate(Generic[Array]):
    """One vector `(d,)`, of the same kind as the rows, and the verdict on each of them.

    `state` is for the next round's call, where the rule has a memory: arrays by name, to be kept as they are.
    """

    vector: Array
    verdict: Verdict
    state: State = field(default_factory=dict)
