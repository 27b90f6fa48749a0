"""What every rule is: steps that look at rows, joined with `|`, the last of which makes them one vector."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry
from hedgerow.aggregation.arrays.rows import Floats, count
from hedgerow.aggregation.given import Given, View, Want
from hedgerow.aggregation.opinion import Judged, Mixed, Opinion, Weighed
from hedgerow.aggregation.promises import COORDINATES, DISTANCES, Promise

__all__ = [
    "Before",
    "Chain",
    "CoordinateRule",
    "Defence",
    "GramRule",
    "Judged",
    "Mixed",
    "Opinion",
    "Passed",
    "Rule",
    "Steps",
    "Weighed",
    "through",
    "whole",
]


class Step(ABC):
    """One step of a rule. It says how many hostile rows it was told to expect, and how many rows it needs for that.

    `weighted`: whether the step keeps its meaning when rows carry weights.
    """

    __slots__ = ()
    weighted: ClassVar[bool] = False

    @property
    def promises(self) -> frozenset[Promise]:
        """What holds for the vector, whatever the rows; the property tests hold every registered rule to it."""
        return frozenset()

    @property
    def wants(self) -> frozenset[Want]:
        """What `aggregate` must be given beside the rows, or the step raises E105. See `wanted` for a whole rule."""
        return frozenset()

    def byzantine(self, n: int) -> int | None:
        """How many of `n` rows may be hostile: the step's own `f`, or None if it has none or was not told."""
        told: int | float | None = getattr(self, "f", None)
        return None if told is None else count(told, n)

    def needs(self, f: int) -> int:
        """The fewest rows with which the step withstands `f` hostile ones: more honest than hostile ones."""
        return 2 * f + 1

    def rows(self, n: int) -> int:
        """How many rows come out of it where `n` go in."""
        return n


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
    def last(self) -> "GramRule | CoordinateRule | Defence":
        """The step that makes the rows one vector."""
        assert isinstance(self, (GramRule, CoordinateRule, Defence))
        return self

    def behind(self, steps: "tuple[Before, ...]") -> "Rule":
        """The rule on the rows that come out of these steps."""
        return Chain(parts=steps + self.before, rule=self.last)

    def tolerates(self, n: int) -> int:
        """How many of `n` rows may be unusable when the rule was not told a number."""
        return (n - 1) // 2

    def kappa(self, n: int) -> float | None:
        """The proven robustness coefficient κ for `n` rows, or None where none is proven. Smaller is better.

        For every set S of n - f honest rows, |output - mean(S)|² <= κ · mean over S of |row - mean(S)|².
        No rule can have κ below f / (n - 2f). Source: Allouah et al., AISTATS 2023, arXiv:2302.01772, Definition 2.
        """
        return None


class GramRule(Rule):
    """A rule whose vector is a weighted sum of the rows; it sees distances, never coordinates."""

    __slots__ = ()

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES

    @abstractmethod
    def weigh(self, geometry: Geometry, given: Given) -> Weighed:
        """The weights of the rows that `geometry` describes."""


class CoordinateRule(Rule):
    """A rule that judges every coordinate by itself; its scores are one minus the share, in units of a fair share."""

    __slots__ = ()

    @property
    def promises(self) -> frozenset[Promise]:
        return COORDINATES

    @abstractmethod
    def block(self, rows: npt.NDArray[np.floating], given: Given, *, judge: bool) -> Judged:
        """The vector `(b,)` for a block of columns `(n, b)`, and who is in it if `judge`."""


class Defence(Rule):
    """A rule that needs more than distances or single coordinates: the rows themselves, a reference, or a memory."""

    __slots__ = ()
    reason: ClassVar[str] = "given no weight"
    least_share: ClassVar[float] = 0.0

    @abstractmethod
    def judge(self, view: View, given: Given) -> Opinion:
        """The vector or the weights, who was left out and why, and what to remember."""


class Before(Step):
    """A step that maps rows to rows, to be joined with others and with a rule: `ClipNorms() | NNM(f=2) | Krum(f=2)`."""

    __slots__ = ()
    reason: ClassVar[str] = ""

    @property
    def promises(self) -> frozenset[Promise]:
        return DISTANCES

    @property
    def steps(self) -> "tuple[Before, ...]":
        """This step, or those that it is made of."""
        return (self,)

    @abstractmethod
    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        """The rows after this step."""

    def arrivals(self, rows: int) -> int:
        """The fewest rows that must go in for so many to come out."""
        return rows

    def kappa(self, n: int, after: float | None) -> float | None:
        """κ of this step followed by a rule whose own κ is `after`, or None where none is proven."""
        return None

    @overload
    def __or__(self, other: "Before") -> "Steps": ...
    @overload
    def __or__(self, other: Rule) -> Rule: ...
    def __or__(self, other: "Before | Rule") -> "Steps | Rule":
        if isinstance(other, Before):
            return Steps(parts=self.steps + other.steps)
        return other.behind(self.steps) if isinstance(other, Rule) else NotImplemented


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Steps(Before):
    """Several steps from rows to rows, one after the other."""

    parts: tuple[Before, ...]

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset.intersection(*(part.promises for part in self.parts))

    @property
    def steps(self) -> tuple[Before, ...]:
        return self.parts

    def byzantine(self, n: int) -> int | None:
        return _least([part.byzantine(n) for part in self.parts])

    def needs(self, f: int) -> int:
        return _needs(self.parts, f, 1)

    def mix(self, geometry: Geometry, given: Given) -> Mixed:
        passed = through(self.parts, geometry, given, lambda part: given.f, given.least)
        return Mixed(passed.geometry, np.array([bool(reason) for reason in passed.reasons]), passed.given.weights)

    def rows(self, n: int) -> int:
        for part in self.parts:
            n = part.rows(n)
        return n

    def arrivals(self, rows: int) -> int:
        for part in reversed(self.parts):
            rows = part.arrivals(rows)
        return rows


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Chain(Rule):
    """A rule behind the steps that prepare its rows. It tolerates what its weakest step does."""

    parts: tuple[Before, ...]
    rule: GramRule | CoordinateRule | Defence

    def __repr__(self) -> str:
        return " | ".join(map(repr, (*self.parts, self.rule)))

    @property
    def promises(self) -> frozenset[Promise]:
        return frozenset.intersection(*(step.promises for step in (*self.parts, self.rule)))

    @property
    def before(self) -> tuple[Before, ...]:
        return self.parts

    @property
    def last(self) -> GramRule | CoordinateRule | Defence:
        return self.rule

    def byzantine(self, n: int) -> int | None:
        return _least([step.byzantine(n) for step in (*self.parts, self.rule)])

    def needs(self, f: int) -> int:
        return _needs(self.parts, f, self.rule.needs(f))

    def tolerates(self, n: int) -> int:
        return self.rule.tolerates(n)

    def kappa(self, n: int) -> float | None:
        kappa = self.rule.kappa(n)
        for part in reversed(self.parts):
            kappa = part.kappa(n, kappa)
        return kappa


class Passed(NamedTuple):
    """Rows that went through some steps: what they are now, what the next step is given, and by arrived row why a
    step passed over it (or an empty text)."""

    geometry: Geometry
    given: Given
    reasons: list[str]


def through(
    parts: Sequence[Before], geometry: Geometry, given: Given, hostile: Callable[[Step], int], least: int
) -> Passed:
    """Take the steps one by one, each told how many rows may be hostile and how many those behind it need; `least` are
    needed in the end."""
    reasons = [""] * geometry.shares.shape[1]
    for place, part in enumerate(parts, 1):
        shares, n, f = geometry.shares, len(geometry.shares), hostile(part)
        told = replace(given, f=f, least=_needs(parts[place:], f, least))
        geometry, passed_over, weights, kept = part.mix(geometry, told)
        if kept is not None:
            given = replace(given.of(kept), taken=given.taken + n - len(kept))
        elif weights is not None or len(geometry.shares) != n:
            given = replace(given, weights=weights, sites=(), places=())
        if passed_over.any():
            gone = whole(shares, passed_over)
            reasons = [reason or part.reason * bool(now) for reason, now in zip(reasons, gone, strict=True)]
    return Passed(geometry, given, reasons)


def whole(shares: Floats, out: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of the k rows that arrived are in nothing but rows that are `out` (n,), given who is in what (n, k)."""
    gone: npt.NDArray[np.bool_] = np.logical_and(~shares[~out].any(axis=0), shares.any(axis=0))
    return gone


def _needs(parts: Sequence[Before], f: int, rows: int) -> int:
    """The fewest rows that must arrive for each step to have what it needs, and for `rows` to be left at the end."""
    for part in reversed(parts):
        rows = max(part.arrivals(rows), part.needs(f))
    return rows


def _least(numbers: list[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
