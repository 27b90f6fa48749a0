"""The command that goes on with what was stopped."""

import shlex
from collections.abc import Callable
from pathlib import Path

__all__ = ["RUNS", "resume_command", "resume_new"]

RUNS = Path("runs")


def resume_command(runs: Path, name: str) -> str:
    """The command that goes on with a run or sweep; with the newest where `name` is empty.

    >>> resume_command(Path("runs"), "2026-11-24-103000-digits")
    'hedgerow resume 2026-11-24-103000-digits'
    """
    words = ["hedgerow", "resume"] + ([name] if name else [])
    return shlex.join(words + (["--runs", str(runs)] if runs != RUNS else []))


def resume_new(runs: Path) -> Callable[[], str]:
    """The command that goes on with the run or sweep that is made from now on; empty if none is."""
    before = _names(runs)

    def command() -> str:
        made = sorted(_names(runs) - before)
        return resume_command(runs, made[-1]) if made else ""

    return command


def _names(runs: Path) -> set[str]:
    return {path.parent.name for kind in ("job", "sweep") for path in runs.glob(f"*/{kind}.json")}
