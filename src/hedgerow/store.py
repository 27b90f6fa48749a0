"""Where a machine keeps what must outlive its runs: its sites' and its coordinator's ledgers."""

import os
from pathlib import Path

from hedgerow.disk import disk_errors

__all__ = ["LEDGER", "STORE_VARIABLE", "made_store", "stated_store", "store_folder"]

STORE_VARIABLE = "HEDGEROW_STORE"
LEDGER = "ledger.sqlite"  # the file's name in every such folder, and in a simulation's


def stated_store() -> Path | None:
    """The folder that `HEDGEROW_STORE` names, if it names one."""
    folder = os.environ.get(STORE_VARIABLE)
    return Path(folder) if folder else None


def store_folder() -> Path:
    """`HEDGEROW_STORE`, or `~/.hedgerow`."""
    return stated_store() or Path.home() / ".hedgerow"


def made_store(folder: Path) -> Path:
    """The folder of a ledger, made for its owner alone where it is not there yet.

    Raises:
        Exhausted: E503, E504.
    """
    with disk_errors("the ledger's folder", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
