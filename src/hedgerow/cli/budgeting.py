"""What `hedgerow budget` does: shows what was spent, sets an operator's limit, and hands a ledger over for an audit."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgerow.cli.ledgers import found_ledgers, new_ledger
from hedgerow.disk import write_whole
from hedgerow.errors import Misconfigured
from hedgerow.privacy import Ledger, Limit
from hedgerow.privacy.export import as_csv, as_json
from hedgerow.privacy.reading import Pages, read_ledger
from hedgerow.privacy.statement import Standing, standings
from hedgerow.store import made_store, store_folder

__all__ = ["export_budget", "set_budget", "show_budget"]

HEADINGS = ("DATA SET", "UNIT", "SPENT ε", "AT δ", "LIMIT ε", "CHARGES", "JOBS", "LAST USE (UTC)", "NOISE FROM")


def show_budget(where: str, runs: Path) -> tuple[Mapping[str, Any], str]:
    """What every unit of every data set has lost, by ledger.

    Raises: Misconfigured E117. Tampered E402 for a ledger that is broken or of a newer version. Exhausted E504, E505.
    """
    read = [(path, read_ledger(path)) for path in found_ledgers(where, runs)]
    if not read:
        words = (
            f"no ledger in '{store_folder()}' yet: one is made when a site's first private job trains; "
            "that of a simulated run is shown by: hedgerow budget show RUN"
        )
        return {"ledgers": []}, words
    told = [(path, pages, standings(pages.entries)) for path, pages in read]
    data = {"ledgers": [_ledger_record(*one) for one in told]}
    return data, "\n\n".join("\n".join(_ledger_lines(*one)) for one in told)


def set_budget(
    dataset: str, *, unit: str, epsilon: float, delta: float | None, where: str, runs: Path, new: bool
) -> tuple[Mapping[str, Any], str]:
    """Write an operator's limit into the one ledger that knows the data set, or with `new` into that which will.

    Raises: Misconfigured E103, E104 for a limit that is none, E104 where several ledgers know the data set, E117 where
    none does. Otherwise as `Ledger`.
    """
    limit = Limit(unit=unit, epsilon=epsilon, delta=delta)
    path, durable = _ledger_of(dataset, where, runs, new)
    if new:
        made_store(path.parent)
    with Ledger(path, durable=durable) as ledger:
        before = ledger.set_limit(dataset, limit)
        line = next(one for one in standings(ledger.entries()) if (one.dataset, one.unit) == (dataset, unit))
        at = limit.delta or line.delta
        spent = 0.0 if at is None else ledger.epsilon(dataset=dataset, unit=unit, delta=at)
    data = {
        "ledger": str(path),
        "dataset": dataset,
        "unit": unit,
        "limit": limit.facts(),
        "before": None if before is None else before.facts(),
        "spent_epsilon": _finite(spent),
    }
    was = "there was no limit" if before is None else f"it was {before.words}"
    words = f"{dataset}, per {unit}: at most {limit.words}, from all jobs together ({was}); spent so far: {_up(spent)}"
    if spent >= limit.epsilon:
        words += "\nthat is the limit or more: nothing will be released from this data set until it is raised"
    return data, f"{words}\nwritten into {path}"


def export_budget(file: Path, *, as_table: bool, where: str, runs: Path) -> tuple[Mapping[str, Any], str]:
    """Write a ledger's entries with their hashes as CSV, asked for or by the file's name, else as JSON.

    Raises: Misconfigured E104 where several ledgers are meant, E115 if the file exists, E117. Exhausted E503, E504.
    """
    found = found_ledgers(where, runs)
    if not found:
        raise _nothing_here()
    if len(found) > 1:
        raise _several(found, "there are several ledgers")
    if file.exists():
        raise Misconfigured("E115", "the file exists", place=str(file), hint="name another one")
    pages = read_ledger(found[0])
    table = as_table or file.suffix.lower() == ".csv"
    write_whole(file, as_csv(pages.rows) if table else as_json(pages.rows, pages.head))
    data = {
        "file": str(file),
        "format": "csv" if table else "json",
        "ledger": str(found[0]),
        "entries": len(pages.rows),
        "head": _head(pages),
    }
    return data, f"{file}: {len(pages.rows)} entries of {found[0]}, up to {pages.head.hash}"


def _ledger_of(dataset: str, where: str, runs: Path, new: bool) -> tuple[Path, bool]:
    """The ledger that knows a data set, and whether it is kept durably."""
    target = new_ledger(where, dataset)
    try:
        found = found_ledgers(where, runs)
    except Misconfigured:
        if not new:
            raise
        found = []
    read = {path: read_ledger(path) for path in found}
    known = {path: {entry.dataset for entry in pages.entries if entry.dataset} for path, pages in read.items()}
    having = [path for path, names in known.items() if dataset in names]
    if len(having) > 1:
        raise _several(having, f"several ledgers know data set '{dataset}'")
    if having:
        return having[0], read[having[0]].book.durable is not False
    if new:
        target = found[0] if where and len(found) == 1 else target
        return target, target not in read or read[target].book.durable is not False
    if not found:
        raise _nothing_here()
    names = sorted({name for several in known.values() for name in several})
    near = difflib.get_close_matches(dataset, names, 1, 0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise Misconfigured(
        "E117",
        f"no ledger knows a data set '{dataset}'",
        place=", ".join(map(str, found[:3])),
        hint=f"{guess}one that was never charged yet is written with --new",
    )


def _nothing_here() -> Misconfigured:
    hint = "name a store or a run with --store, or begin a site's ledger with: hedgerow budget set DATASET … --new"
    return Misconfigured("E117", "there is no ledger yet", place=str(store_folder()), hint=hint)


def _several(found: Sequence[Path], words: str) -> Misconfigured:
    return Misconfigured("E104", words, place=", ".join(map(str, found[:5])), hint="name one with --store")


def _ledger_record(path: Path, pages: Pages, lines: Iterable[Standing]) -> dict[str, Any]:
    return {
        "ledger": str(path),
        "durable": bool(pages.book.durable),
        "entries": len(pages.rows),
        "head": _head(pages),
        "datasets": [_record(line) for line in lines],
    }


def _head(pages: Pages) -> dict[str, Any]:
    return {"seq": pages.head.seq, "hash": pages.head.hash}


def _record(line: Standing) -> dict[str, Any]:
    """A line in the envelope; an infinite ε is `null`."""
    return {
        "dataset": line.dataset,
        "unit": line.unit,
        "relation": "add_remove",
        "accountant": "pld",
        "spent_epsilon": _finite(line.epsilon),
        "delta": line.delta,
        "limit": None if line.limit is None else line.limit.facts(),
        "charges": line.charges,
        "pending": line.pending,
        "voided": line.voided,
        "jobs": list(line.jobs),
        "last_use": None if line.last_use is None else _moment(line.last_use),
        "randomness": list(line.randomness),
    }


def _ledger_lines(path: Path, pages: Pages, lines: Sequence[Standing]) -> list[str]:
    kept = "durable" if pages.book.durable else "of a simulation: does not outlive a loss of power"
    first = f"{path} ({kept}; {len(pages.rows)} entries, head {pages.head.hash[:16]})"
    if not lines:
        return [first, "  nothing was charged yet"]
    rows = [HEADINGS, *map(_row, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    shown = ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [first, *(line.rstrip() for line in shown)]


def _row(line: Standing) -> tuple[str, ...]:
    limit = "—"
    if line.limit is not None:
        at = "" if line.limit.delta is None or line.limit.delta == line.delta else f" at δ {line.limit.delta:g}"
        limit = f"{line.limit.epsilon:g}{at}"
    pending = f" ({line.pending} open)" if line.pending else ""
    return (
        line.dataset,
        line.unit,
        _up(line.epsilon),
        "—" if line.delta is None else f"{line.delta:g}",
        limit,
        f"{line.charges}{pending}",
        str(len(line.jobs)),
        "never" if line.last_use is None else _moment(line.last_use)[:16].replace("T", " "),
        ", ".join(line.randomness) or "—",
    )


def _moment(seconds: float) -> str:
    """A time of a ledger; a clock may have said anything."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"


def _up(epsilon: float) -> str:
    """An ε rounded up, as a bound has to be."""
    return f"{math.ceil(epsilon * 1000 - 1e-9) / 1000:.3f}" if math.isfinite(epsilon) else "∞"


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None
