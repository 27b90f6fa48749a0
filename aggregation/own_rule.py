"""A rule of one's own: one function and a decorator, and jobs, reports and the property tests know it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.given import Given, View
from hedgerow.aggregation.promises import Promise
from hedgerow.aggregation.registry import add_rule, recall
from hedgerow.aggregation.rule import Defence, Opinion
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["Combine", "OwnRule", "recall_rule", "register_rule"]

NOTHING: Mapping[int, int] = MappingProxyType({})
Combine = Callable[[npt.NDArray[np.floating], int], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRule(Defence):
    """A user's function of the rows `(n, d)` and f as a rule; `fewest(f)` is how many rows it needs.

    The function gets a table of its own (finite rows, float32 or float64), so it may change it. Its answer must be a
    finite vector `(d,)`. It is only as robust as it is written; `kept` is what its author promises.

    Verdict: weights and scores None, nobody excluded but unusable rows. Cost: the function's, and a copy of the rows.
    """

    reason: ClassVar[str] = "given no weight"

    name: str
    function: Combine
    fewest: Callable[[int], int]
    kept: frozenset[Promise] = frozenset()
    f: int | float

    @property
    def promises(self) -> frozenset[Promise]:
        return self.kept

    def needs(self, f: int) -> int:
        return max(self.fewest(f), f + 1)

    def judge(self, view: View, given: Given) -> Opinion:
        rows = np.concatenate([block for _, block in view.blocks()], axis=1)
        dtype, d = rows.dtype, rows.shape[1]
        vector = np.array(self.function(rows, given.f))  # a copy, should the function keep its answer
        if vector.shape != (d,) or vector.dtype.kind != "f":
            raise Misconfigured(
                "E126",
                f"the rule '{self.name}' must return numbers of shape ({d},), not {vector.dtype} of {vector.shape}",
            )
        if not np.isfinite(vector).all():
            raise Exhausted("E502", f"the rule '{self.name}' returned a vector that is not finite")
        return Opinion(vector=vector.astype(dtype, copy=False))


def register_rule(
    name: str, *, needs: Callable[[int], int] = lambda f: 2 * f + 1, promises: Collection[Promise] = ()
) -> Callable[[Combine], Combine]:
    """Makes a function `(rows (n, d), f) -> vector (d,)` a rule that a job can name; the function stays as it is.

    Put it into the module of your task, which every part of a run imports before it reads the job. `needs(f)` is the
    fewest rows with which it withstands `f` hostile ones. `promises` are held against it by the property tests
    (`DISTANCES` or `COORDINATES` for the usual ones).

    >>> from hedgerow.aggregation import aggregate, make_rule, register_rule
    >>> @register_rule("midrange", needs=lambda f: 1)
    ... def midrange(rows, f):
    ...     return (rows.min(axis=0) + rows.max(axis=0)) / 2
    >>> aggregate(np.array([[0.0], [1.0], [4.0]]), make_rule("midrange", byzantine=0)).vector.tolist()
    [2.0]

    Raises:
        Misconfigured: E103 if another function has the name or it is not lower-case words joined with `-`.
    """

    def register(function: Combine) -> Combine:
        kept = frozenset(promises)

        def make(f: int, strict: bool) -> OwnRule:
            return OwnRule(name=name, function=function, fewest=needs, kept=kept, f=f)

        add_rule(name, make, owner=f"{function.__module__}.{function.__qualname__}")
        return function

    return register


def recall_rule(name: str, needs: Mapping[int, int] = NOTHING) -> None:
    """Let a record of runs name a rule whose task is not imported here, so that it can be read and reported.

    Jobs may name it then, but it cannot be used. `needs` is how many rows it needs by f, as the record says; elsewhere
    it is taken to be 2f + 1, as by `register_rule`. Nothing happens if a task has registered the name.

    Raises:
        Misconfigured: E103 if it can be no rule's name.
    """

    def unknown(rows: npt.NDArray[np.floating], f: int) -> npt.NDArray[np.floating]:
        what = f"the rule '{name}' is not registered here"
        raise Misconfigured("E103", what, place="aggregate.rule", hint="import the task's module, which registers it")

    recall(name, lambda f, strict: OwnRule(name=name, function=unknown, fewest=lambda f: needs.get(f, 2 * f + 1), f=f))
