"""What is in a user's table: kinds, ranges, categories, labels, sites, and what should stay out.

This is looked at once, when a project is made. A task never calls it: its ranges are written down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.tasks.tablefile import Column, TableFile, nearest, read_table, written

__all__ = ["TableProfile", "inspect_table", "outward"]

MOST_CATEGORIES = 50  # more distinct words than this are names or free text
MOST_LABELS = 50
FEWEST_TO_JUDGE = 10  # with fewer records every column looks like an identifier
IDENTIFYING_WORDS = {"id", "ids", "uuid", "guid", "mrn", "ssn", "email", "phone", "rowid"}
IDENTIFYING_NAMES = {"", "index", "key", "name", "row", "nr", "no", "number"}  # as the whole name only


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProfile:
    """A table at a glance.

    `ranges` and `categories` cover the columns that can be features, `left_out` says why the others cannot,
    `missing` counts values per column (columns without missing values are not in it), `labels` and `sites` count
    records, `repeated` names identifier columns whose values come more than once.
    """

    path: Path
    records: int
    kinds: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]
    categories: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]
    missing: Mapping[str, int]
    labels: Mapping[str, int]
    sites: Mapping[str, int]
    repeated: tuple[str, ...] = ()


def inspect_table(path: str | Path, label: str | None = None, site: str | None = None) -> TableProfile:
    """Read the file and suggest what a table task has to be told about it.

    Raises:
        Misconfigured: as `read_table`; E121 no such label or site column; E122 a continuous label, a single class,
            or one column as label and site.
    """
    file = read_table(path)
    labels: dict[str, int] = {}
    if label is not None:
        labels = _labels(file, file.column(label, role="label"))
    sites = _counted(file.column(site, role="site")) if site is not None else {}
    if label is not None and label == site:
        what = f"'{label}' cannot be both the label and the site"
        others = [name for name in file.columns if name != label]
        raise Misconfigured("E122", what, place=file.path.name, hint=nearest("site", others))
    ranges: dict[str, tuple[float, float]] = {}
    categories: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    repeated: list[str] = []
    for name, column in file.columns.items():
        if name in (label, site):
            continue
        distinct, filled = _extent(column)
        reason = _reason_to_leave_out(column, distinct, filled)
        if reason:
            left_out[name] = reason
            if reason.startswith("looks like an identifier") and distinct < filled:
                repeated.append(name)
        elif column.kind == "number":
            finite = column.numbers[~column.missing()]
            ranges[name] = outward(float(finite.min()), float(finite.max()))
        else:
            categories[name] = tuple(_counted(column))
    missing = {name: int(column.missing().sum()) for name, column in file.columns.items()}
    return TableProfile(
        path=file.path,
        records=file.records,
        kinds={name: column.kind for name, column in file.columns.items()},
        ranges=ranges,
        categories=categories,
        left_out=left_out,
        missing={name: count for name, count in missing.items() if count},
        labels=labels,
        sites=sites,
        repeated=tuple(repeated),
    )


def outward(low: float, high: float) -> tuple[float, float]:
    """The range widened to one significant digit at each end, so that it tells less about the extreme records.

    >>> outward(17.3, 96), outward(-3.2, 0.0153)
    ((10.0, 100.0), (-4.0, 0.02))
    """
    return _rounded(low, ROUND_FLOOR), _rounded(high, ROUND_CEILING)


def _rounded(value: float, direction: str) -> float:
    if value == 0:
        return 0.0
    exact = Decimal(value)
    return float(exact.quantize(Decimal((0, (1,), exact.adjusted())), rounding=direction))


def _labels(file: TableFile, column: Column) -> dict[str, int]:
    place = f"{file.path.name}, column '{column.name}'"
    counts = _counted(column)
    usable = column.numbers[np.isfinite(column.numbers)]
    continuous = bool((usable % 1 != 0).any())
    if continuous or (column.kind == "number" and len(counts) > MOST_LABELS):
        hint = "make classes of it in the file, for example low/high around a clinical threshold"
        what = f"'{column.name}' is a measure ({len(counts)} different values): regression is not available yet"
        raise Misconfigured("E122", what, place=place, hint=hint)
    if column.kind not in ("number", "text") or len(counts) > MOST_LABELS:
        what = f"'{column.name}' has {len(counts)} different values of type {column.kind}, so it cannot be the label"
        hint = f"choose a column with at most {MOST_LABELS} classes; {nearest(column.name, list(file.columns))}"
        raise Misconfigured("E122", what, place=place, hint=hint)
    if len(counts) < 2:
        what = "no record has a label" if not counts else f"every record has the label '{next(iter(counts))}'"
        hint = "there is nothing to learn; choose another column as the label"
        raise Misconfigured("E122", what, place=place, hint=hint)
    return counts


def _counted(column: Column) -> dict[str, int]:
    """How often each value occurs: numbers in their order, words by the alphabet."""
    if not column.words:
        values, counts = np.unique(column.numbers[~np.isnan(column.numbers)], return_counts=True)
        return dict(zip(map(written, values.tolist()), counts.tolist(), strict=True))
    found = Counter(word for word in column.words if word is not None)
    return {word: found[word] for word in sorted(found)}


def _extent(column: Column) -> tuple[int, int]:
    """How many different values a column has, and how many records have one."""
    missing = column.missing()
    if column.kind == "number":
        return len(np.unique(column.numbers[~missing])), int((~missing).sum())
    return len(set(column.words) - {None}), int((~missing).sum())


def _reason_to_leave_out(column: Column, distinct: int, filled: int) -> str:
    """Why a column should not be a feature; empty where it can be one."""
    if column.kind == "empty":
        return "is empty"
    if column.kind not in ("number", "text"):
        return f"has the type {column.kind}; write it as a number, for example days since a fixed date"
    if not filled:
        return "has no finite value"
    if _is_identifier(column, distinct, filled):
        return "looks like an identifier"
    if column.kind == "text" and distinct > MOST_CATEGORIES:
        return f"has {distinct} different words; group them into at most {MOST_CATEGORIES}"
    if distinct == 1:
        return "has the same value everywhere"
    return ""


def _is_identifier(column: Column, distinct: int, filled: int) -> bool:
    words = set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column.name).lower()))
    named = bool(words & IDENTIFYING_WORDS) or column.name.lower() in IDENTIFYING_NAMES
    if column.kind == "text":
        alone = filled >= FEWEST_TO_JUDGE and distinct == filled
        return alone or (named and distinct > MOST_CATEGORIES)
    values = column.numbers[~column.missing()]
    if (values % 1 != 0).any():
        return False
    counted_up = filled >= FEWEST_TO_JUDGE and distinct == filled == values.max() - values.min() + 1
    return bool(counted_up) or (named and distinct > 2)
