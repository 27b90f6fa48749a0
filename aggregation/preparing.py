"""From the rows that arrived to those that a rule sees: unusable ones out, then the steps before the rule."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.gram import Geometry, measure
from hedgerow.aggregation.arrays.rows import Floats, columns, lengths, weighted_sum
from hedgerow.aggregation.arrays.table import Block, Table, as_array
from hedgerow.aggregation.arrays.threads import WORTH, allowed, in_order
from hedgerow.aggregation.given import Given, State
from hedgerow.aggregation.rule import Rule, Step, through
from hedgerow.aggregation.rules.averaging import proportions
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["Arrived", "Prepared", "admit", "given_to", "prepare"]

T = TypeVar("T")

_LARGEST_NORM = 1e150  # its square is still a float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrived:
    """The rows as they came (n, d), their `norms`, and which are `finite` and `usable`, (n,) each."""

    table: Table
    norms: Floats
    finite: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The usable rows (k, d), and the n rows that the steps made of them, which a `Defence` views.

    `given` is what the rule is given about these n; `reasons` (k,) say why a step passed over a usable row.
    """

    table: Table
    geometry: Geometry
    given: Given
    reasons: Sequence[str]
    plain: bool

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.geometry.shares), self.table.shape[1]

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        """The rows after the steps, columns (n, b) by block, in the rows' dtype."""
        for span, rows in self.table.spans():
            for block in columns(self.table.shape[0], span.stop - span.start):
                yield _shifted(block, span), as_array(self._stepped(rows[:, block]))

    def each(self, work: Callable[[slice, Block], T], *, alone: bool = False) -> Iterator[T]:
        """`work` on every block, its results in the blocks' order; by several threads where that pays, or `alone`.

        A block is what the table keeps: an array, or a tensor on a device.
        """

        n, d = self.table.shape

        def cut(part: tuple[slice, Block]) -> Iterator[tuple[slice, Block]]:
            span, rows = part
            for block in columns(n, span.stop - span.start):
                yield _shifted(block, span), self._stepped(rows[:, block])

        def work_through(part: tuple[slice, Block]) -> list[T]:
            return [work(*block) for block in cut(part)]

        if not alone:
            yield from chain.from_iterable(in_order(work_through, self.table.spans(), numbers=n * d))
        elif self.plain or n * d < WORTH or allowed() == 1:
            for part in self.table.spans():
                yield from (work(*block) for block in cut(part))
        else:  # others take the steps meanwhile
            for blocks in in_order(lambda part: list(cut(part)), self.table.spans(), numbers=n * d):
                yield from (work(*block) for block in blocks)

    def _stepped(self, rows: Block) -> Block:
        if self.plain:
            return rows
        factors = self.geometry.factors
        if not isinstance(rows, np.ndarray):
            from hedgerow.aggregation.arrays import device

            return device.stepped(rows, self.geometry.mixing[:, :-1] if factors is None else factors)
        if factors is not None:
            scaled: npt.NDArray[np.floating] = factors.astype(rows.dtype)[:, None] * rows
            return scaled
        mixed: npt.NDArray[np.floating] = self.geometry.mixing[:, :-1].astype(rows.dtype) @ rows
        return mixed

    def combined(self, weights: Floats) -> npt.NDArray[np.floating]:
        """`weights @ rows` `(d,)` for the rows after the steps, summed in float64 and returned in the rows' dtype."""
        return weighted_sum(self.spread(weights)[0], self.table)

    def spread(self, inner: Floats) -> tuple[Floats, Floats]:
        """Weights of the n rows as weights of the k usable ones: with the steps' scaling, and without."""
        if self.geometry.factors is not None:
            return inner * self.geometry.factors, inner
        return (inner @ self.geometry.mixing)[:-1], inner @ self.geometry.shares


def admit(table: Table, rule: Rule, barred: Collection[int] = ()) -> Arrived:
    """Which rows can be used; not those that are `barred`.

    Raises:
        Misconfigured: E103 too few rows for a step. Exhausted: E502 more unusable rows than the rule tolerates.
    """
    arrived = n = table.shape[0]
    for step in (*rule.before, rule.last):
        f = step.byzantine(arrived) or 0
        if n < step.needs(f):
            name, come = type(step).__name__, "arrived" if n == arrived else f"are left of {arrived}"
            raise Misconfigured("E103", f"{name} with f={f} needs at least {step.needs(f)} rows, and {n} {come}")
        n = step.rows(n)
    norms, finite = lengths(table)  # a length can overflow although every number is finite
    norms[np.isnan(norms)] = np.inf
    usable = norms <= min(_LARGEST_NORM, float(np.finfo(table.dtype).max))
    usable[list(barred)] = False
    removed = arrived - int(np.count_nonzero(usable))
    told = rule.byzantine(arrived)
    tolerated = rule.tolerates(arrived) if told is None else told
    if removed > tolerated:
        raise Exhausted(
            "E502",
            f"{removed} of {arrived} updates are {'barred, ' if barred else ''}not finite or too large, "
            f"and the rule tolerates {tolerated}",
            hint="no vector was made; look at the sites that sent them",
        )
    return Arrived(table=table, norms=norms, finite=finite, usable=usable)


def given_to(
    rule: Rule,
    arrived: Arrived,
    *,
    weights: npt.ArrayLike | None,
    sites: Sequence[str],
    reference: npt.NDArray[np.floating] | None,
    state: State | None,
    rng: np.random.Generator | None,
) -> Given:
    """What the caller gave, about the usable rows.

    Raises:
        Misconfigured: E105 for weights that the rule cannot use, E126 for another number of sites than rows or another
            length of the reference, and as `proportions`.
    """
    n, d = arrived.table.shape
    if weights is not None and not (rule.last.weighted and all(step.weighted for step in rule.before)):
        raise Misconfigured("E105", "this rule gives every row the same say and takes no weights")
    if sites and len(sites) != n:
        raise Misconfigured("E126", f"{n} rows need {n} names of sites, not {len(sites)}")
    if reference is not None and np.shape(reference) != (d,):
        raise Misconfigured("E126", f"the reference must have shape ({d},), not {np.shape(reference)}")
    usable = np.flatnonzero(arrived.usable).tolist()
    shares = None if weights is None else proportions(proportions(weights, n)[usable], len(usable))
    return Given(
        f=0,
        weights=shares,
        sites=tuple(sites[row] for row in usable) if sites else (),
        places=tuple(usable),
        reference=reference,
        state={} if state is None else state,
        rng=rng,
    )


def prepare(arrived: Arrived, rule: Rule, given: Given) -> Prepared:
    """Take the steps before the rule; each is told its f less the rows that were taken out."""
    n = len(arrived.usable)
    usable = np.flatnonzero(arrived.usable)
    table = arrived.table if len(usable) == n else arrived.table.take(usable)

    def hostile(step: Step) -> int:
        return max((step.byzantine(n) or 0) - (n - len(usable)), 0)

    f = hostile(rule.last)
    passed = through(rule.before, measure(table), given, hostile, rule.last.needs(f))
    return Prepared(
        table=table,
        geometry=passed.geometry,
        given=passed.given.told(f),
        reasons=passed.reasons,
        plain=not rule.before,
    )


def _shifted(block: slice, span: slice) -> slice:
    return slice(span.start + block.start, span.start + block.stop)
