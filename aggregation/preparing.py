"""From the rows that arrived to those that a rule sees: unusable ones out, then the steps before the rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.averaging import proportions
from hedgerow.aggregation.given import Given, State
from hedgerow.aggregation.gram import Geometry, measure
from hedgerow.aggregation.rows import Floats, columns, row_norms
from hedgerow.aggregation.rule import Rule, Step, through
from hedgerow.errors import Exhausted, Misconfigured

__all__ = ["Arrived", "Prepared", "admit", "given_to", "prepare"]

_LARGEST_NORM = 1e150  # its square is still a float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrived:
    """The rows as they came (n, d), their `norms`, and which are `finite` and `usable`, (n,) each."""

    rows: npt.NDArray[np.floating]
    norms: Floats
    finite: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """The usable rows (k, d), and the n rows that the steps made of them, which a `Defence` views.

    `given` is what the rule is given about these n; `reasons` (k,) say why a step passed over a usable row.
    """

    rows: npt.NDArray[np.floating]
    geometry: Geometry
    given: Given
    reasons: Sequence[str]
    plain: bool

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.geometry.shares), self.rows.shape[1]

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        """The rows after the steps, columns (n, b) by block, in the rows' dtype."""
        factors = self.geometry.factors
        if factors is None:
            mixing = self.geometry.mixing[:, :-1].astype(self.rows.dtype)
        else:
            scale = factors.astype(self.rows.dtype)[:, None]
        for block in columns(*self.rows.shape):
            if self.plain:
                yield block, self.rows[:, block]
            else:
                yield block, mixing @ self.rows[:, block] if factors is None else scale * self.rows[:, block]

    def spread(self, inner: Floats) -> tuple[Floats, Floats]:
        """Weights of the n rows as weights of the k usable ones: with the steps' scaling, and without."""
        if self.geometry.factors is not None:
            return inner * self.geometry.factors, inner
        return (inner @ self.geometry.mixing)[:-1], inner @ self.geometry.shares


def admit(rows: npt.NDArray[np.floating], rule: Rule) -> Arrived:
    """Which rows can be used.

    Raises:
        Misconfigured: E103 too few rows for a step. Exhausted: E502 more unusable rows than the rule tolerates.
    """
    arrived = n = len(rows)
    for step in (*rule.before, rule.last):
        f = step.byzantine(arrived) or 0
        if n < step.needs(f):
            name, come = type(step).__name__, "arrived" if n == arrived else f"are left of {arrived}"
            raise Misconfigured("E103", f"{name} with f={f} needs at least {step.needs(f)} rows, and {n} {come}")
        n = step.rows(n)
    norms = row_norms(rows)
    finite = np.isfinite(norms)
    for row in np.flatnonzero(~finite):
        finite[row] = np.isfinite(rows[row]).all()  # a length can overflow although every number is finite
    norms[np.isnan(norms)] = np.inf
    usable = norms <= min(_LARGEST_NORM, float(np.finfo(rows.dtype).max))
    removed = arrived - int(np.count_nonzero(usable))
    told = rule.byzantine(arrived)
    tolerated = rule.tolerates(arrived) if told is None else told
    if removed > tolerated:
        raise Exhausted(
            "E502",
            f"{removed} of {arrived} updates are not finite or too large, and the rule tolerates {tolerated}",
            hint="no vector was made; look at the sites that sent them",
        )
    return Arrived(rows=rows, norms=norms, finite=finite, usable=usable)


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
    n, d = arrived.rows.shape
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
        reference=reference,
        state={} if state is None else state,
        rng=rng,
    )


def prepare(arrived: Arrived, rule: Rule, given: Given) -> Prepared:
    """Take the steps before the rule; each is told its f less the rows that were taken out."""
    n = len(arrived.rows)
    rows = arrived.rows if arrived.usable.all() else arrived.rows[arrived.usable]

    def hostile(step: Step) -> int:
        return max((step.byzantine(n) or 0) - (n - len(rows)), 0)

    passed = through(rule.before, measure(rows), given, hostile)
    return Prepared(
        rows=rows,
        geometry=passed.geometry,
        given=passed.given.told(hostile(rule.last)),
        reasons=passed.reasons,
        plain=not rule.before,
    )
