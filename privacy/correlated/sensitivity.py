"""How far one participant can move the released rounds, and the patterns of participation that this is known for."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured

__all__ = ["Participation", "sensitivity", "worst_columns", "worst_columns_gradient"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """Who may take part when: at most `max_participations` times, `min_separation` rounds or more apart.

    Separation 1 is every round if one likes; separation b leaves b - 1 rounds free in between. The order itself must
    not depend on the data. Nothing is gained from secret sampling: a participant may know every round it is in.
    Raises: Misconfigured E103 for anything but whole numbers from 1.

    >>> Participation(rounds=100, min_separation=30, max_participations=9).most
    4
    """

    rounds: int
    min_separation: int
    max_participations: int

    def __post_init__(self) -> None:
        for name in ("rounds", "min_separation", "max_participations"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise Misconfigured("E103", f"{name}={value!r}, expected a whole number from 1", place=name)

    @property
    def most(self) -> int:
        """How often somebody can really take part: the rounds end before some limits do."""
        return min(self.max_participations, 1 + (self.rounds - 1) // self.min_separation)


def sensitivity(coefficients: Floats, participation: Participation) -> float:
    """The most that one participant, of norm at most 1 in each of its rounds, moves C x: the L2 norm over all rounds.

    `coefficients` is the first column of the lower-triangular Toeplitz matrix C, `(rounds,)` or shorter with zeros
    understood. Relation: zero-out, the participant's contributions against none at all, which is adding or removing it
    with every other place kept. Replacing it by somebody else costs twice as much.

    Guarantee: exact, in three cases. One participation: the largest column norm. Columns at least `min_separation`
    apart that do not overlap (bands ≤ separation): they are orthogonal, so the earliest, longest columns count. Never
    negative, never rising coefficients: the earliest, densest pattern is the worst, whatever the directions.
    Raises: Misconfigured E105 where none applies: in general the question is NP-hard, and a guess is no guarantee;
    E103 for coefficients that are not finite or do not start above zero.
    Source: Kalinin and Lampert, "Banded square root matrix factorization for differentially private model training",
    arXiv 2405.13763, theorem 2; Choquette-Choo et al., arXiv 2306.08153, theorem 2, for bands.

    >>> pattern = Participation(rounds=4, min_separation=2, max_participations=2)
    >>> round(sensitivity(np.array([1.0, 0.5]), pattern) ** 2, 6)  # two columns: 1 + 0.25 each
    2.5
    """
    if not (len(coefficients) and np.isfinite(coefficients).all() and coefficients[0] > 0.0):
        raise Misconfigured("E103", "expected finite coefficients, the first above 0", place="coefficients")
    column = coefficients[: participation.rounds]
    bands = int(np.flatnonzero(column)[-1]) + 1
    falling = bool((column >= 0.0).all() and (np.diff(column) <= 0.0).all())
    if participation.most > 1 and bands > participation.min_separation and not falling:
        raise Misconfigured(
            "E105",
            f"no known sensitivity: {bands} bands overlap at separation {participation.min_separation} "
            "and the coefficients are not falling from 1 to 0",
            place="coefficients",
            hint="take as many bands as the separation at most, or coefficients that never rise",
        )
    return math.sqrt(float((worst_columns(column, participation) ** 2).sum()))


def worst_columns(coefficients: Floats, participation: Participation) -> Floats:
    """The sum of the columns 0, b, 2b, … of C, as many as somebody can take part, `(rounds,)`."""
    total = np.zeros(participation.rounds)
    for i in range(participation.most):
        start = i * participation.min_separation
        here = coefficients[: participation.rounds - start]
        total[start : start + len(here)] += here
    return total


def worst_columns_gradient(columns: Floats, participation: Participation) -> Floats:
    """The gradient of |worst_columns|² by the coefficients, `(rounds,)`."""
    gradient = np.zeros(participation.rounds)
    for i in range(participation.most):
        start = i * participation.min_separation
        gradient[: participation.rounds - start] += 2.0 * columns[start:]
    return gradient
