"""A CSV or Parquet file as plain columns, with the line of every row for messages.

pyarrow reads; nothing of it is seen outside this file, so that CSV and Parquet give equal columns.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hedgerow.errors import Misconfigured

__all__ = ["Column", "TableFile", "nearest", "read_table", "written"]

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

SEPARATORS = (",", ";", "\t", "|")
CSV_ENDINGS = (".csv", ".tsv", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
LARGEST_BLOCK = 2**31 - 1  # Arrow decides a CSV column's type in one block, so one block holds the whole file


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One column: numbers (n,) float64 with NaN for a missing value, or n words with `None` for one.

    Booleans are both: 0 and 1, `false` and `true`. `kind` is `number`, `text`, `empty` (no value at all) or the name
    of a type that a table task cannot use (`date32`).
    """

    name: str
    kind: str
    numbers: Numbers
    words: tuple[str | None, ...] = ()

    def texts(self) -> tuple[str | None, ...]:
        """Each value as it is written: `3.0` and `3` are both `"3"`; `None` where it is missing."""
        if self.words:
            return self.words
        return tuple(None if value != value else written(value) for value in self.numbers.tolist())

    def missing(self) -> Mask:
        """Where there is no usable value: empty, NaN or infinite."""
        if self.kind == "number":
            return ~np.isfinite(self.numbers)
        return np.array([word is None for word in self.words], dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableFile:
    """A table that was read: its path, its number of records, and its columns by name, in the file's order."""

    path: Path
    records: int
    columns: dict[str, Column]

    def column(self, name: str, *, role: str = "") -> Column:
        """The column of that name.

        Raises:
            Misconfigured: E121 with the nearest name.
        """
        if name in self.columns:
            return self.columns[name]
        what = f"{role} column" if role else "column"
        raise Misconfigured(
            "E121", f"there is no {what} '{name}'", place=self.path.name, hint=nearest(name, self.columns)
        )

    def place(self, row: int) -> str:
        """`file:line` of a record in a CSV file, `file, record n` (from 1) in a Parquet file."""
        if self.path.suffix.lower() in PARQUET_ENDINGS:
            return f"{self.path.name}, record {row + 1}"
        for number, (line, _) in enumerate(_rows(self.path), start=-1):
            if number == row:
                return f"{self.path.name}:{line}"
        return self.path.name


def nearest(name: str, known: Collection[str]) -> str:
    """A hint: the nearest known name, or the known names.

    >>> nearest("outcom", ["age", "outcome"])
    "did you mean 'outcome'? the columns are 'age', 'outcome'"
    """
    near = difflib.get_close_matches(name, known, 1, 0.5)
    folded = [other for other in known if other.casefold() == name.casefold()]
    guess = f"did you mean '{(folded or near)[0]}'? " if folded or near else ""
    shown = ", ".join(f"'{other}'" for other in list(known)[:40])
    return f"{guess}the columns are {shown}{' and more' if len(known) > 40 else ''}"


def read_table(path: str | Path) -> TableFile:
    """Read a CSV file (separated by `,` `;` tab or `|`, with a header, UTF-8) or a Parquet file.

    Raises:
        Misconfigured: E107 without pyarrow; E120 missing, empty or not a table; E122 two columns of one name.
    """
    source = Path(path)
    suffix = source.suffix.lower()
    _refuse_unreadable(source)
    try:
        import pyarrow  # type: ignore[import-untyped]
    except ImportError:
        raise Misconfigured(
            "E107", "reading tables needs pyarrow, which is not installed", hint="pip install 'hedgerow[full]'"
        ) from None
    try:
        read = _read_parquet(source) if suffix in PARQUET_ENDINGS else _read_csv(source)
    except pyarrow.ArrowException as error:
        if suffix in CSV_ENDINGS:
            _refuse_ragged(source)
        raise Misconfigured("E120", f"not a readable table ({type(error).__name__})", place=source.name) from None
    except OSError as error:
        raise Misconfigured("E120", f"cannot be read: {error.strerror or error}", place=str(source)) from None
    names = [str(name).strip() for name in read.column_names]
    _refuse_duplicates(names, source)
    if read.num_rows == 0:
        raise Misconfigured("E120", "there are columns but no records", place=source.name)
    columns = {name: _column(name, values) for name, values in zip(names, read.columns, strict=True)}
    return TableFile(path=source, records=read.num_rows, columns=columns)


def _refuse_unreadable(source: Path) -> None:
    if not source.is_file():
        siblings = [other.name for other in source.parent.iterdir()] if source.parent.is_dir() else []
        near = difflib.get_close_matches(source.name, siblings, 1, 0.6)
        what = "is a folder, not a file" if source.is_dir() else "there is no such file"
        hint = f"did you mean '{near[0]}'?" if near else "give the path of a CSV or Parquet file"
        raise Misconfigured("E120", what, place=str(source), hint=hint)
    if source.suffix.lower() not in CSV_ENDINGS + PARQUET_ENDINGS:
        hint = "save it as CSV or Parquet; the endings are " + " ".join(CSV_ENDINGS + PARQUET_ENDINGS)
        raise Misconfigured("E120", f"'{source.suffix}' files cannot be read as a table", place=source.name, hint=hint)
    if source.stat().st_size == 0:
        raise Misconfigured("E120", "the file is empty", place=str(source))


def _read_parquet(source: Path) -> Any:
    import pyarrow.parquet  # type: ignore[import-untyped]

    return pyarrow.parquet.ParquetFile(source).read()


def _read_csv(source: Path) -> Any:
    import pyarrow.csv  # type: ignore[import-untyped]

    try:
        _, header = next(_rows(source), (1, []))
    except (UnicodeDecodeError, csv.Error):
        raise _not_text(source) from None
    if len(header) < 2:
        hint = "the separators that are tried are , ; tab and |"
        raise Misconfigured("E120", "a table needs at least two columns", place=f"{source.name}:1", hint=hint)
    _refuse_duplicates([name.strip() for name in header], source)
    read = pyarrow.csv.read_csv(
        source,
        read_options=pyarrow.csv.ReadOptions(block_size=min(source.stat().st_size + 1, LARGEST_BLOCK)),
        parse_options=pyarrow.csv.ParseOptions(delimiter=_separator(source), newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
    )
    if any(pyarrow.types.is_binary(kind) for kind in read.schema.types):
        raise _not_text(source)
    return read


def _not_text(source: Path) -> Misconfigured:
    return Misconfigured("E120", "not a CSV file in UTF-8", place=source.name, hint="save it as CSV in UTF-8")


def _refuse_ragged(source: Path) -> None:
    """Name the line that Arrow stumbled over, without repeating the record as Arrow's own message does."""
    try:
        rows = _rows(source)
        _, header = next(rows)
        for line, row in rows:
            if len(row) != len(header):
                what = f"{len(row)} values, but the header names {len(header)} columns"
                hint = 'put values that contain the separator into "quotes"'
                raise Misconfigured("E120", what, place=f"{source.name}:{line}", hint=hint)
    except (UnicodeDecodeError, csv.Error):
        raise _not_text(source) from None


def _separator(source: Path) -> str:
    """The separator that splits the header into the most columns."""
    with source.open(encoding="utf-8-sig", newline="") as lines:
        header = next((line for line in lines if line.strip()), "")
    return max(SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator))))


def _rows(source: Path) -> Iterator[tuple[int, list[str]]]:
    """The header and the records with the line that each starts on; blank lines are no records."""
    with source.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=_separator(source))
        start = 1
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1


def _refuse_duplicates(names: list[str], source: Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        hint = "rename one of them in the file"
        raise Misconfigured("E122", f"{names.count(twice)} columns are named '{twice}'", place=source.name, hint=hint)


def written(value: float) -> str:
    """A number as a table shows it.

    >>> written(3.0), written(0.25)
    ('3', '0.25')
    """
    return str(int(value)) if value.is_integer() else repr(value)


def _column(name: str, values: Any) -> Column:
    import pyarrow

    kinds = pyarrow.types
    if kinds.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind, nothing = values.type, np.empty(0)
    if len(values) == values.null_count:
        return Column(name=name, kind="empty", numbers=nothing, words=(None,) * len(values))
    if kinds.is_boolean(kind):
        words = tuple(None if value is None else str(value).lower() for value in values.to_pylist())
        values, kind = values.cast(pyarrow.int8()), pyarrow.int8()
    else:
        words = ()
    if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
        numbers = values.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        return Column(name=name, kind="number", numbers=np.array(numbers, dtype=np.float64), words=words)
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        words = tuple((word or "").strip() or None for word in values.to_pylist())
        return Column(name=name, kind="text", numbers=nothing, words=words)
    words = tuple(None if value is None else str(value) for value in values.to_pylist())
    return Column(name=name, kind=str(kind), numbers=nothing, words=words)
