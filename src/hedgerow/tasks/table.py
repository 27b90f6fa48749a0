"""A user's own table, CSV or Parquet, as a task whose features are scaled without looking at anybody's data.

Ranges, categories and labels are *declared*, as constants in the project. Were they computed at run time, they would
be statistics of private records that no budget paid for, and they would differ from site to site.
`inspect_table` suggests them once; replace what it found by publicly known values where you can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.task import Data, PooledTask, Split
from hedgerow.tasks.tablefile import Column, TableFile, read_table
from hedgerow.tasks.tableprofile import TableProfile, inspect_table

if TYPE_CHECKING:
    import torch

__all__ = ["Table", "TableProfile", "inspect_table", "table"]

MISSING = ("refuse", "drop", "zero")

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(PooledTask):
    """Classification of a table's records by a small dense network.

    Columns in `ranges` are scaled from (low, high) to [-1, 1] and clipped beyond; columns in `categories` become one
    feature per word, all zeros for a word that is not declared; every other column must be listed in `ignore`.
    `labels` are the classes as they are written in the file, in the order of the model's outputs.

    About `test_fraction` of the records is held out. Whether a record is depends on a hash of its own content alone:
    not on the order of the rows, nor on any other record, so that adding one record changes nothing but that record.

    `missing` is `refuse`, `drop` (leave such records out) or `zero` (the middle of the range; no word).

    Raises:
        Misconfigured: E103–E105 for the declaration, when it is made; E120–E125 for the file, when it is first read.
    """

    path: Path
    label: str
    labels: tuple[str, ...]
    site: str | None = None
    ranges: Mapping[str, tuple[float, float]]
    categories: Mapping[str, tuple[str, ...]]
    ignore: tuple[str, ...] = ()
    missing: str = "refuse"
    test_fraction: float = 0.2
    hidden: tuple[int, ...] = (64,)
    name: str = "table"

    def __post_init__(self) -> None:
        _refuse_declaration(self)

    @property
    def features(self) -> tuple[str, ...]:
        """The name of each of the model's inputs, in their order."""
        words = tuple(f"{name}={word}" for name, known in self.categories.items() for word in known)
        return tuple(self.ranges) + words

    def model(self) -> torch.nn.Module:
        from hedgerow.tasks.models import mlp

        return mlp(len(self.features), self.hidden, len(self.labels))

    def pool(self) -> Data:
        return self._read[0]

    @property
    def column(self) -> np.ndarray | None:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Data, np.ndarray | None]:
        file = read_table(self.path)
        used = _used_columns(self, file)
        rows = _usable_rows(self, file, used)
        y = _classes(self, file, rows)
        test = _drawn(list(used.values()), rows, self.test_fraction)
        if len(np.unique(y)) < 2:
            what = f"every record has the label '{self.labels[int(y[0])]}': there is nothing to learn"
            raise Misconfigured("E122", what, place=f"{file.path.name}, column '{self.label}'")
        everything = Split(_features(self, used, rows), y)
        column = None
        if self.site is not None:
            words = used[self.site].texts()
            column = np.array([str(words[row]) for row in rows.tolist()])
            _refuse_untrained_sites(column, test, file)
            column = column[~test]
        elif test.all():
            _refuse_untrained_sites(np.array(["the table"] * len(y)), test, file)
        return Data(train=everything.take(~test), test=everything.take(test)), column


def table(
    path: str | Path,
    *,
    label: str,
    labels: Sequence[str | int] = (),
    site: str | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    categories: Mapping[str, Sequence[str | int]] | None = None,
    ignore: Sequence[str] = (),
    missing: str = "refuse",
    test_fraction: float = 0.2,
    hidden: Sequence[int] = (64,),
) -> Table:
    """A task on a CSV or Parquet file; see `Table`. The file is read when its records are first needed.

    >>> task = table("patients.csv", label="outcome", labels=("no", "yes"),
    ...              ranges={"age": (0, 100)}, categories={"sex": ("f", "m")})
    >>> task.features
    ('age', 'sex=f', 'sex=m')
    """
    return Table(
        path=Path(path),
        label=label,
        labels=tuple(map(str, labels)),
        site=site,
        ranges={name: (float(low), float(high)) for name, (low, high) in (ranges or {}).items()},
        categories={name: tuple(map(str, words)) for name, words in (categories or {}).items()},
        ignore=tuple(ignore),
        missing=missing,
        test_fraction=test_fraction,
        hidden=tuple(hidden),
        name=Path(path).stem,
    )


def _refuse_declaration(task: Table) -> None:
    suggested = f"hedgerow.tasks.table.inspect_table('{task.path.name}', '{task.label}') suggests some"
    if not task.labels:
        raise Misconfigured("E104", "the labels must be declared", hint=f'write labels=("…", "…"); {suggested}')
    if not task.ranges and not task.categories:
        hint = f"write ranges={{…}} or categories={{…}}; {suggested}"
        raise Misconfigured("E104", "no feature is declared", hint=hint)
    if len(task.labels) < 2:
        raise Misconfigured("E103", f"the only label is '{task.labels[0]}'", hint="classification needs at least two")
    for what, words in {"labels": task.labels, **task.categories}.items():
        if len(set(words)) < len(words) or not words:
            raise Misconfigured("E103", f"'{what}' is declared with {'repeated' if words else 'no'} words")
    for name, (low, high) in task.ranges.items():
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise Misconfigured("E103", f"the range of '{name}' is ({low:g}, {high:g})", hint="write (lowest, highest)")
    if task.missing not in MISSING:
        raise Misconfigured("E103", f"missing cannot be '{task.missing}'", hint="the choices are " + ", ".join(MISSING))
    if not 0 <= task.test_fraction < 1:
        raise Misconfigured("E103", f"test_fraction is {task.test_fraction}, but must be at least 0 and less than 1")
    roles = [task.label, *([task.site] if task.site is not None else []), *task.ranges, *task.categories, *task.ignore]
    for name in roles:
        if roles.count(name) > 1:
            hint = "it can be one of: the label, the site, in ranges, in categories, in ignore"
            raise Misconfigured("E105", f"column '{name}' is declared {roles.count(name)} times", hint=hint)


def _used_columns(task: Table, file: TableFile) -> dict[str, Column]:
    """The declared columns, the label and the site, once every column of the file is accounted for."""
    roles = {task.label: "label", **({task.site: "site"} if task.site is not None else {})}
    used = {name: file.column(name, role=roles.get(name, "")) for name in (*task.ranges, *task.categories, *roles)}
    for name, column in file.columns.items():
        place = f"{file.path.name}, column '{name}'"
        if name in task.ranges and column.kind != "number":
            _refuse_words_as_numbers(column, file)
        if name not in used and name not in task.ignore:
            what = f"{column.kind} column '{name}' is not declared"
            where = "categories with its words" if column.kind == "text" else "ranges as (lowest, highest)"
            raise Misconfigured("E122", what, place=place, hint=f"put it into {where}, or into ignore")
        if name in used and name not in task.ranges and column.kind not in ("number", "text"):
            raise Misconfigured("E122", f"column '{name}' is of type {column.kind}", place=place, hint="make it text")
    return used


def _refuse_words_as_numbers(column: Column, file: TableFile) -> NoReturn:
    for row, word in enumerate(column.words):
        try:
            float(word if word is not None else 0)
        except ValueError:
            comma = "write decimal points; " if word and word.replace(",", "", 1).lstrip("-").isdigit() else ""
            hint = f"{comma}correct the value, or declare the column in categories or ignore"
            what = f"column '{column.name}' has a range, but holds '{word}'"
            raise Misconfigured("E122", what, place=file.place(row), hint=hint) from None
    raise Misconfigured("E122", f"column '{column.name}' has a range, but is {column.kind}", place=file.path.name)


def _usable_rows(task: Table, file: TableFile, used: Mapping[str, Column]) -> np.ndarray:
    """The rows to use: all of them, or under `missing="drop"` those without missing values."""
    kept = (task.label, task.site) if task.missing == "zero" else tuple(used)  # nobody can guess a label or a site
    gaps = {name: column.missing() for name, column in used.items() if name in kept}
    counts = {name: int(gap.sum()) for name, gap in gaps.items() if gap.any()}
    anywhere = np.any(list(gaps.values()), axis=0)
    rows = np.flatnonzero(~anywhere)
    if counts and task.missing != "drop":
        where = ", ".join(f"'{name}' {count}" for name, count in list(counts.items())[:5])
        what = f"{int(anywhere.sum())} records have missing or non-finite values ({where}{', …' * (len(counts) > 5)})"
        other = "" if task.missing == "zero" else ', or missing="zero" to put the middle of the range'
        hint = f'complete the file, or write missing="drop" to leave these records out{other}'
        raise Misconfigured("E123", what, place=file.place(int(np.argmax(anywhere))), hint=hint)
    if not len(rows):
        raise Misconfigured("E123", "every record has a missing value", place=file.path.name, hint='missing="zero"?')
    return rows


def _classes(task: Table, file: TableFile, rows: np.ndarray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    words = file.columns[task.label].texts()
    index = {word: number for number, word in enumerate(task.labels)}
    for row in rows.tolist():
        if words[row] not in index:
            what = f"'{words[row]}' in '{task.label}' is not one of the declared labels"
            raise Misconfigured("E124", what, place=file.place(row), hint="the labels are " + ", ".join(task.labels))
    return np.array([index[str(words[row])] for row in rows.tolist()], dtype=np.int64)


def _features(
    task: Table, used: Mapping[str, Column], rows: np.ndarray
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    parts = []
    for name, (low, high) in task.ranges.items():
        values = np.clip(used[name].numbers[rows], low, high)
        parts.append(np.nan_to_num(2 * (values - low) / (high - low) - 1, nan=0.0))
    for name, known in task.categories.items():
        words = np.array([word or "" for word in used[name].texts()])[rows]
        parts.extend(words == word for word in known)
    return np.stack(parts, axis=1).astype(np.float32)


def _drawn(columns: Sequence[Column], rows: np.ndarray, fraction: float) -> Mask:
    """Which of the rows are held out: those whose content hashes below `fraction` of the largest hash."""
    ordered = sorted(columns, key=lambda column: column.name)
    numbers = [column.numbers[rows] + 0.0 for column in ordered if column.kind == "number"]  # + 0.0: no negative zero
    words = [column.words for column in ordered if column.kind != "number"]
    values = np.stack(numbers, axis=1) if numbers else np.empty((len(rows), 0))
    values[np.isnan(values)] = np.nan  # one bit pattern for all of them
    limit = int(fraction * 2**64)
    drawn = np.zeros(len(rows), dtype=np.bool_)
    for place, row in enumerate(rows.tolist()):
        text = "\x1f".join(column[row] or "" for column in words)
        digest = hashlib.blake2b(values[place].tobytes() + text.encode(), digest_size=8, person=b"hedgerow test")
        drawn[place] = int.from_bytes(digest.digest(), "big") < limit
    return drawn


def _refuse_untrained_sites(column: np.ndarray, test: Mask, file: TableFile) -> None:
    trained = set(column[~test].tolist())
    left = sorted(set(column.tolist()) - trained)
    if left:
        count = int((column == left[0]).sum())
        what = f"{'site ' * (left[0] != 'the table')}'{left[0]}' has {count} record(s), all drawn for the held-out test"
        more = f" ({len(left)} sites are like this)" if len(left) > 1 else ""
        hint = "merge it with another site, take it out of the file, or write test_fraction=0"
        raise Misconfigured("E125", what + more, place=file.path.name, hint=hint)
