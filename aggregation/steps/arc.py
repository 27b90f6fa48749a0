"""Adaptive robust clipping: the longest updates are shortened, as many as hostile ones could hide among."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats, count
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.mass import hostile_mass, uneven
from hedgerow.aggregation.promises import DISTANCES, Promise
from hedgerow.aggregation.rule import Before, Mixed
from hedgerow.aggregation.steps.clipping import clip_factors

__all__ = ["ARC", "arc_limit"]

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ARC(Before):
    """Shortens the `floor(2 f/n (n - f))` longest rows to the length of the next longest.

    The threshold follows the rows, so nothing needs tuning, and without hostile rows (f = 0) nothing is clipped. No
    row comes out longer than the longest honest one. The rows must be updates. With weights, the rows shortened hold
    at most 2 F (1 - F), where F is what the `f` heaviest rows hold.

    Verdict: nobody is excluded. Assumption: n > 2f. κ: that of the rule behind + 2f/(n - 2f), where that has one.
    Breakdown: that of the rule behind. Cost: O(n²d) once, shared with the rule behind.
    Source: Allouah et al., ICLR 2025, arXiv:2405.14432.
    """

    weighted: ClassVar[bool] = True

    f: int | float

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES - {Promise.SHIFT}

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        norms = geometry.norms()
        factors = clip_factors(norms, arc_limit(norms, given))
        return Mixed(geometry.scaled(factors), np.zeros(len(norms), np.bool_))

    def kappa(self, n: int, after: float | None) -> float | None:
        f = count(self.f, n)
        return None if after is None or n <= 2 * f else after + 2 * f / (n - 2 * f)


def arc_limit(norms: Floats, given: Given) -> float:
    """The length that no row may exceed.

    >>> arc_limit(np.array([1.0, 2.0, 3.0, 4.0, 90.0]), Given(f=1))
    4.0
    """
    n, f = len(norms), given.f
    weights = uneven(given)
    longest = np.argsort(-norms, kind="stable")
    if weights is None:
        return float(norms[longest[2 * f * (n - f) // n]])
    mass = hostile_mass(weights, f)
    ends = np.cumsum(weights[longest])
    return float(norms[longest[np.argmax(ends > 2 * mass * (1 - mass) + _ROUNDING)]])
