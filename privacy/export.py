"""A ledger's entries as a file for an auditor, who can verify every link of the chain without Hedgerow.

An entry's hash is the SHA-256 of the JSON list `[seq, previous hash, dataset, state, body]`, written without spaces and
with every character outside ASCII escaped; `body` is text, and the first entry's previous hash is empty. The last hash
is the ledger's head.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.privacy.chain import Head, Row, genesis, verified

__all__ = ["as_csv", "as_json", "verified_export"]

SCHEMA = 1
COLUMNS = ("seq", "dataset", "state", "body", "hash")


def as_csv(rows: Sequence[Row]) -> bytes:
    """The rows under a heading, with every column that the hashes are made of."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json(rows: Sequence[Row], head: Head) -> bytes:
    """The rows as objects, the head, and how a hash is made."""
    record = {
        "schema_version": SCHEMA,
        "hash": "SHA-256 of the JSON list [seq, previous hash, dataset, state, body], no spaces, ASCII only",
        "head": {"seq": head.seq, "hash": head.hash},
        "entries": [dict(zip(COLUMNS, row, strict=True)) for row in rows],
    }
    return json.dumps(record, indent=1).encode() + b"\n"


def verified_export(path: Path) -> Head:
    """The head of an exported ledger whose every link holds.

    Raises: Misconfigured E120 if the file cannot be read. Tampered E402 if it is no export or not as it was written.
    """
    try:
        data = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("E120", f"the export cannot be read: {error}", place=str(path)) from None
    try:
        rows = _rows(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Tampered("E402", "the file is not an exported ledger", place=str(path)) from None
    head = genesis()
    for entry in verified(rows, head, place=str(path)):
        head = Head(seq=entry.seq, hash=entry.hash)
    return head


def _rows(data: str) -> list[Row]:
    if data.startswith("{"):
        objects = json.loads(data)["entries"]
    else:
        reader = csv.DictReader(io.StringIO(data, newline=""))
        if reader.fieldnames != list(COLUMNS):
            raise ValueError("other columns")
        objects = list(reader)
    return [(int(one["seq"]), *(_text(one[name]) for name in COLUMNS[1:])) for one in objects]  # type: ignore[misc]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value
