"""What every rule is: steps that look at rows, joined with `|`, the last of which makes them one vector."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.gram import Geometry
from hedgerow.aggregation.rows import Floats

__all__ = [
    "Before",
    "Chain",
    "CoordinateRule",
    "GramRule",
    "Judged",
    "Mixed",
    "Rule",
    "Steps",
    "Weighed",
    "least_kappa",
]


class Step(ABC):
    """One step of a rule. It says how many hostile rows it was told to expect, and how many rows it needs for that.

    `weighted`: whether the step keeps its meaning when rows carry weights.
    """

    __slots__ = ()
    weighted: ClassVar[bool] = False

    @abstractmethod
    def byzantine(self, n: int) -> int | None:
        """How many of `n` rows may be hostile, or None if the step was not told."""

    @abstractmethod
    def needs(self, f: int) -> int:
        """The fewest rows with which the step withstands `f` hostile ones."""


class Rule(Step):
    """Rows `(n, d)` in, one vector `(d,)` out.

    `least_share` and `reason`: a row whose share of the vector is at or below `least_share / n` is reported as
    excluded, with `reason`.
    """

    __slots__ = ()
    reason: ClassVar[str]
    least_share: ClassVar[float]

    @property
    def before(self) -> "tuple[Before, ...]":
        """The steps that the rows go through first."""
        return ()

    @property
    def last(self) -> "GramRule | CoordinateRule":
        """The step that makes the rows one vector."""
        assert isinstance(self, (GramRule, CoordinateRule))
        return self

    def tolerates(self, n: int) -> int:
        """How many of `n` rows may be unusable when the rule was not told a number."""
        return (n - 1) // 2

    def kappa(self, n: int) -> float | None:
        """The proven robustness coefficient κ for `n` rows, or None where none is proven. Smaller is better.

        For every set S of n - f honest rows, |output - mean(S)|² <= κ · mean over S of |row - mean(S)|².
        No rule can have κ below f / (n - 2f). Source: Allouah et al., AISTATS 2023, arXiv:2302.01772, Definition 2.
        """
        return None


class Weighed(NamedTuple):
    """Weights `(n,)` of the rows in the vector, summing to 1, and the rule's scores `(n,)`, larger more suspicious."""

    weights: Floats
    scores: Floats | None


class Judged(NamedTuple):
    """The vector `(b,)` of a block of columns, and which entries `(n, b)` went into it, if that was asked."""

    vector: Floats
    used: npt.NDArray[np.bool_] | None


class GramRule(Rule):
    """A rule whose vector is a weighted sum of the rows; it sees distances, never coordinates."""

    __slots__ = ()

    @abstractmethod
    def weigh(self, geometry: Geometry, f: int) -> Weighed:
        """The weights of the rows that `geometry` describes, of which `f` may be hostile."""


class CoordinateRule(Rule):
    """A rule that judges every coordinate by itself; its scores are one minus the share, in units of a fair share."""

    __slots__ = ()

    @abstractmethod
    def block(self, rows: npt.NDArray[np.floating], f: int, *, judge: bool) -> Judged:
        """The vector `(b,)` for a block of columns `(n, b)`, and who is in it if `judge`."""


class Mixed(NamedTuple):
    """The rows after a step, and which of the rows before it (`(n,)`) it passed over."""

    geometry: Geometry
    passed_over: npt.NDArray[np.bool_]


class Before(Step):
    """A step that maps rows to rows, to be joined with others and with a rule: `ClipNorms() | NNM(f=2) | Krum(f=2)`."""

    __slots__ = ()
    reason: ClassVar[str] = ""

    @property
    def steps(self) -> "tuple[Before, ...]":
        """This step, or those that it is made of."""
        return (self,)

    @abstractmethod
    def mix(self, geometry: Geometry, f: int) -> Mixed:
        """The rows after this step, of which `f` may be hostile."""

    def kappa(self, n: int, after: float | None) -> float | None:
        """κ of this step followed by a rule whose own κ is `after`, or None where none is proven."""
        return None

    @overload
    def __or__(self, other: "Before") -> "Steps": ...
    @overload
    def __or__(self, other: Rule) -> "Chain": ...
    def __or__(self, other: "Before | Rule") -> "Steps | Chain":
        if isinstance(other, Before):
            return Steps(parts=self.steps + other.steps)
        if isinstance(other, Rule):
            return Chain(parts=self.steps + other.before, rule=other.last)
        return NotImplemented


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Steps(Before):
    """Several steps from rows to rows, one after the other."""

    parts: tuple[Before, ...]

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))

    @property
    def steps(self) -> tuple[Before, ...]:
        return self.parts

    def byzantine(self, n: int) -> int | None:
        return _least([part.byzantine(n) for part in self.parts])

    def needs(self, f: int) -> int:
        return max(part.needs(f) for part in self.parts)

    def mix(self, geometry: Geometry, f: int) -> Mixed:
        passed_over = np.zeros(geometry.shares.shape[0], np.bool_)
        for part in self.parts:
            geometry, now = part.mix(geometry, f)
            passed_over |= now
        return Mixed(geometry, passed_over)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Chain(Rule):
    """A rule behind the steps that prepare its rows. It tolerates what its weakest step does."""

    parts: tuple[Before, ...]
    rule: GramRule | CoordinateRule

    def __repr__(self) -> str:
        return " | ".join(map(repr, (*self.parts, self.rule)))

    @property
    def before(self) -> tuple[Before, ...]:
        return self.parts

    @property
    def last(self) -> GramRule | CoordinateRule:
        return self.rule

    def byzantine(self, n: int) -> int | None:
        return _least([step.byzantine(n) for step in (*self.parts, self.rule)])

    def needs(self, f: int) -> int:
        return max(step.needs(f) for step in (*self.parts, self.rule))

    def tolerates(self, n: int) -> int:
        return self.rule.tolerates(n)

    def kappa(self, n: int) -> float | None:
        kappa = self.rule.kappa(n)
        for part in reversed(self.parts):
            kappa = part.kappa(n, kappa)
        return kappa


def least_kappa(f: int, n: int) -> float | None:
    """f / (n - 2f): no rule can have a smaller κ. None for n <= 2f, where no rule has any.

    >>> least_kappa(2, 11)
    0.2857142857142857
    """
    return f / (n - 2 * f) if n > 2 * f else None


def _least(numbers: list[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
