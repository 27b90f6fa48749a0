"""The robust learning rate: where too few rows agree on a direction, the model moves the other way."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import columns
from hedgerow.aggregation.arrays.table import Table, as_array
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Rule
from hedgerow.aggregation.rules.averaging import Mean
from hedgerow.aggregation.wrapper import Wrapper
from hedgerow.errors import Misconfigured

__all__ = ["RobustLearningRate", "agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustLearningRate(Wrapper):
    """The vector of another `rule`, with its sign changed in each coordinate where the rows' signs sum to less than
    `threshold` either way.

    A backdoor needs some coordinates to move where most sites do not move them; there the model moves back. The signs
    are those of the usable rows as they arrived, each with one vote; zeros do not vote. `threshold` is a number of
    votes, or, below 1 as a fraction, a part of the rows that are present.

    Verdict: that of the rule inside; the weights are None, since the vector is no weighted sum any more.
    Assumption: honest sites agree in sign by at least `threshold` in the coordinates that matter: f < threshold / 2
    hostile rows cannot win a coordinate by their votes alone. κ: none proven. Breakdown: that of the rule inside for
    lengths. Fails on uneven data, where honest sites disagree and learning is undone; with a threshold chosen badly
    (0 is the rule inside); and for more than half the threshold of hostile sites. Cost: the rule's, plus O(nd).
    Source: Ozdayi, Kantarcioglu and Gel, AAAI 2021, arXiv:2007.03767, section 4, equation 4.

    Raises:
        Misconfigured: E103 if `threshold` is negative, or exceeds the rows that are present when the rule is used:
            then every coordinate would be turned round.
    """

    reason: ClassVar[str] = ""
    least_share: ClassVar[float] = 0.0

    threshold: int | float
    rule: Rule = field(default_factory=Mean)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.threshold) and self.threshold >= 0):
            raise Misconfigured("E103", f"threshold must be at least 0 and finite, not {self.threshold}")

    @property
    def inner(self) -> Rule:
        return self.rule

    @property
    def promises(self) -> frozenset[Promise]:
        return self.rule.promises & {Promise.ORDER, Promise.SCALE}

    def holding(self, inner: Rule) -> "RobustLearningRate":
        return replace(self, rule=inner)

    def needs(self, f: int) -> int:
        return max(self.rule.needs(f), self.threshold if isinstance(self.threshold, int) else 0)

    def finished(self, vector: npt.NDArray[np.floating], table: Table) -> npt.NDArray[np.floating]:
        n = table.shape[0]
        least = self.threshold * n if isinstance(self.threshold, float) and self.threshold < 1 else self.threshold
        if least > n:
            raise Misconfigured("E103", f"a threshold of {self.threshold} votes needs as many rows, and {n} are left")
        vector = Wrapper.finished(self, vector, table)
        turned: npt.NDArray[np.floating] = np.where(agreement(table) < least, -vector, vector)
        return turned


def agreement(table: Table) -> npt.NDArray[np.int64]:
    """By how many votes `(d,)` one sign is ahead of the other in each coordinate. O(nd).

    >>> from hedgerow.aggregation.arrays.rows import as_table
    >>> agreement(as_table(np.array([[1.0, -2.0, 0.0], [3.0, 1.0, 0.0], [0.5, -1.0, -1.0]]))).tolist()
    [3, 1, 1]
    """
    n, d = table.shape
    ahead = np.empty(d, np.int64)
    for span, block in table.spans():
        rows = as_array(block)
        for part in columns(n, span.stop - span.start):
            votes = np.count_nonzero(rows[:, part] > 0, axis=0) - np.count_nonzero(rows[:, part] < 0, axis=0)
            ahead[span][part] = np.abs(votes)
    return ahead
