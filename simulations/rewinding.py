"""Where a stopped run goes on: after the last round of which everything was told.

A checkpoint is written before its round is told, so a stop between the two leaves a model whose metrics and whose
spending no event holds. That round is run again, to the same bytes and at no further cost in the ledger.
"""

from __future__ import annotations

import json

from hedgerow.run import Run
from hedgerow.runs import write_whole

__all__ = ["rewind"]

FOLLOWS_A_ROUND = ("round-started", "leakage-measured", "gate-checked")


def rewind(run: Run) -> int:
    """Drop the last checkpoint if its round was not wholly told; returns the round after which the run goes on.

    Raises:
        Tampered: E401 if the last checkpoint is damaged. Exhausted: E503, E504 if the manifest cannot be written.
    """
    latest = run.folder.latest()
    if latest is None or latest[1].round == 0:
        return 0
    last = latest[1].round
    if _told(run, last):
        return last
    path = run.path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["rounds"] = [entry for entry in manifest["rounds"] if entry["round"] < last]
    write_whole(path, json.dumps(manifest, indent=1).encode() + b"\n")
    return max(run.folder.rounds())


def _told(run: Run, number: int) -> bool:
    """Whether something that follows the round was told: then so was the round."""
    closed = False
    for event in run.events():
        if closed and event["event"] in FOLLOWS_A_ROUND:
            return True
        closed = closed or (event["event"] == "round-closed" and event["round"] == number)
    return False
