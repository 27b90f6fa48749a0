"""Where ledgers lie: a site's and a coordinator's store on this machine, and the runs' folders."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from hedgerow.errors import Misconfigured
from hedgerow.store import LEDGER, stated_store, store_folder

__all__ = ["found_ledgers", "new_ledger"]

PLACES = (LEDGER, f"*/{LEDGER}", f"sites/*/{LEDGER}")  # a site's or a run's own; the coordinator's; sites by name


def found_ledgers(where: str, runs: Path) -> list[Path]:
    """The ledgers of a file, a folder or a run of this name; those of this machine's store where nothing is said.

    Raises: Misconfigured E117 if nothing is there by that name, or no ledger in it. A store may hold none yet.
    """
    if not where:
        return _inside(store_folder())
    for path in (Path(where), runs / where):
        if path.is_file():
            return [path]
        if path.is_dir():
            found = _inside(path)
            if not found:
                raise Misconfigured(
                    "E117", "no ledger lies here", place=str(path), hint="only jobs with differential privacy keep one"
                )
            return found
    near = difflib.get_close_matches(where, _names(runs), 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else "name a folder, a ledger's file or a run (hedgerow ls)"
    raise Misconfigured("E117", f"there is no store, ledger or run '{where}'", hint=hint)


def new_ledger(where: str, dataset: str) -> Path:
    """Where a ledger is made that a site of its data set's name will find."""
    if where:
        return Path(where) if where.endswith(".sqlite") else Path(where) / LEDGER
    stated = stated_store()
    return (stated or store_folder() / "sites" / dataset) / LEDGER


def _inside(folder: Path) -> list[Path]:
    return sorted({path for pattern in PLACES for path in folder.glob(pattern) if path.is_file()})


def _names(runs: Path) -> Sequence[str]:
    return [path.parent.name for path in runs.glob(f"*/{LEDGER}")]
