"""A rule around another rule: it may bar sites before the other sees their rows, change its vector, and remember."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.table import Table
from hedgerow.aggregation.given import State, Want
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.rule import Before, CoordinateRule, Defence, GramRule, Rule
from hedgerow.aggregation.verdict import Verdict

__all__ = ["Wrapper", "innermost", "wanted"]

_INNER = "inner."


class Wrapper(Rule):
    """A rule that leaves the judgement to another one, its `rule`, with all that rule's steps.

    It needs and tolerates what that rule does. A wrapper may be around a wrapper. Steps put in front of it with `|` are
    in front of the rule inside.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def inner(self) -> Rule:
        """The rule inside."""

    @abstractmethod
    def holding(self, inner: Rule) -> "Wrapper":
        """The same wrapper around another rule."""

    @property
    def before(self) -> tuple[Before, ...]:
        return self.inner.before

    @property
    def last(self) -> GramRule | CoordinateRule | Defence:
        return self.inner.last

    def behind(self, steps: tuple[Before, ...]) -> "Wrapper":
        return self.holding(self.inner.behind(steps))

    @property
    def promises(self) -> frozenset[Promise]:
        return self.inner.promises

    def byzantine(self, n: int) -> int | None:
        return self.inner.byzantine(n)

    def needs(self, f: int) -> int:
        return self.inner.needs(f)

    def tolerates(self, n: int) -> int:
        return self.inner.tolerates(n)

    def barred(self, n: int, sites: Sequence[str], state: State) -> Mapping[int, str]:
        """Which of the `n` rows that arrived the rule inside shall not see, and why. They count against its `f`."""
        return self.inner.barred(n, sites, inside(state)) if isinstance(self.inner, Wrapper) else {}

    def finished(self, vector: npt.NDArray[np.floating], table: Table) -> npt.NDArray[np.floating]:
        """What becomes of the vector `(d,)`, given the rows `(k, d)` that could be used. `vector` itself if nothing."""
        return self.inner.finished(vector, table) if isinstance(self.inner, Wrapper) else vector

    def learned(self, verdict: Verdict, sites: Sequence[str], state: State, made: State) -> State:
        """What to remember, given the verdict on all rows, the state before, and what the rule inside remembers."""
        return outside(
            self.inner.learned(verdict, sites, inside(state), made) if isinstance(self.inner, Wrapper) else made
        )


def inside(state: State) -> State:
    """A wrapper's state as the rule inside knows it."""
    return {name.removeprefix(_INNER): values for name, values in state.items() if name.startswith(_INNER)}


def outside(state: State) -> State:
    """The state of the rule inside, under names that leave room for the wrapper's own."""
    return {_INNER + name: values for name, values in state.items()}


def innermost(rule: Rule, state: State) -> State:
    """The part of a state that is for the rule inside all wrappers."""
    while isinstance(rule, Wrapper):
        rule, state = rule.inner, inside(state)
    return state


def wanted(rule: Rule) -> frozenset[Want]:
    """What `aggregate` must be given beside the rows for this rule with all its steps.

    >>> from hedgerow.aggregation import NNM, Bucketing, Median
    >>> sorted(wanted(Bucketing() | NNM(f=1) | Median()))
    ['rng']
    """
    around: list[Rule] = []
    while isinstance(rule, Wrapper):
        around.append(rule)
        rule = rule.inner
    return frozenset().union(*(step.wants for step in (*around, *rule.before, rule.last)))
