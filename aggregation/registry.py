"""Rules by the names that a job file uses, and what the planner must know about them before a round runs."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from hedgerow.aggregation.averaging import Mean
from hedgerow.aggregation.clipping import ClipNorms
from hedgerow.aggregation.coordinatewise import Median, TrimmedMean
from hedgerow.aggregation.geometric import GeometricMedian
from hedgerow.aggregation.mixing import NNM
from hedgerow.aggregation.rule import Before, CoordinateRule, GramRule, Rule
from hedgerow.aggregation.selection import Krum, MultiKrum
from hedgerow.errors import Misconfigured

__all__ = ["BEFORE", "RULES", "make_rule", "minimum_rows", "supports_weights"]

RULES: Mapping[str, Callable[[int, bool], GramRule | CoordinateRule]] = MappingProxyType(
    {
        "mean": lambda f, strict: Mean(f=f),
        "median": lambda f, strict: Median(f=f),
        "trimmed-mean": lambda f, strict: TrimmedMean(f=f),
        "krum": lambda f, strict: Krum(f=f, strict=strict),
        "multi-krum": lambda f, strict: MultiKrum(f=f, strict=strict),
        "geometric-median": lambda f, strict: GeometricMedian(f=f),
    }
)
"""What `aggregate.rule` may be in a job: name to a maker from (byzantine, strict)."""

BEFORE: Mapping[str, Callable[[int], Before | None]] = MappingProxyType(
    {
        "none": lambda f: None,
        "clip": lambda f: ClipNorms(),
        "nnm": lambda f: NNM(f=f),
        "clip+nnm": lambda f: ClipNorms() | NNM(f=f),
    }
)
"""What `aggregate.before` may be in a job: name to a maker from (byzantine)."""


def make_rule(rule: str, *, byzantine: int, before: str = "none", strict: bool = True) -> Rule:
    """The rule that a job names, told how many hostile rows to expect.

    >>> make_rule("trimmed-mean", byzantine=2, before="nnm")
    NNM(f=2) | TrimmedMean(f=2)

    Raises:
        Misconfigured: E103 for an unknown name (the hint is the nearest one) or a negative `byzantine`.
    """
    if byzantine < 0:
        raise Misconfigured("E103", f"byzantine must not be negative, not {byzantine}", place="aggregate.byzantine")
    last = RULES[_known(rule, RULES, "aggregate.rule")](byzantine, strict)
    first = BEFORE[_known(before, BEFORE, "aggregate.before")](byzantine)
    return last if first is None else first | last


def minimum_rows(rule: str, byzantine: int, before: str = "none", *, strict: bool = True) -> int:
    """The fewest rows that the rule needs to withstand `byzantine` hostile ones. Fewer raise when it is used.

    >>> minimum_rows("krum", 2), minimum_rows("trimmed-mean", 2), minimum_rows("mean", 0)
    (7, 5, 1)

    Raises:
        Misconfigured: as `make_rule`.
    """
    return make_rule(rule, byzantine=byzantine, before=before, strict=strict).needs(byzantine)


def supports_weights(rule: str) -> bool:
    """Whether the rule can use server-known weights, one per row. The others give every row the same say.

    >>> supports_weights("mean"), supports_weights("krum")
    (True, False)

    Raises:
        Misconfigured: E103 for an unknown name.
    """
    return RULES[_known(rule, RULES, "aggregate.rule")](0, True).weighted


def _known(name: str, names: Mapping[str, object], place: str) -> str:
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? The choices are {', '.join(names)}"
    raise Misconfigured("E103", f"unknown name {name!r}", place=place, hint=hint)
