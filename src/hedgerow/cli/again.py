"""The command that goes on with what was stopped."""

import shlex
from collections.abc import Callable
from pathlib import Path

__all__ = ["RUNS", "resume_command", "resume_new", "resume_words"]

RUNS = Path("runs")


def resume_command(runs: Path, name: str) -> str:
    """The command that goes on with a run, a sweep or a red team; with the newest where `name` is empty.

    >>> resume_command(Path("runs"), "2026-11-24-103000-digits")
    'hedgerow resume 2026-11-24-103000-digits'
    """
    words = ["hedgerow", "resume"] + ([name] if name else [])
    return shlex.join(words + (["--runs", str(runs)] if runs != RUNS else []))


def resume_words(runs: Path, name: str) -> str:
    """What to do after an interruption, in words."""
    return f"what was finished is kept; go on with: {resume_command(runs, name)}"


def resume_new(runs: Path) -> Callable[[], str]:
    """What to do about what is made from now on, in words; empty if none is."""
    before = _names(runs)

    def words() -> str:
        made = sorted(_names(runs) - before)
        if not made:
            return ""
        return _report_words(runs / made[-1]) or resume_words(runs, made[-1])

    return words


def _report_words(path: Path) -> str:
    """Where the report is of a run with which nothing is left to do; empty for any other, sweeps and demos included."""
    from hedgerow.cli.demo import DEMO
    from hedgerow.errors import HedgerowError
    from hedgerow.run import Run

    try:
        run = Run(path)
        over = run.status == "finished" and run.report.exists() and run.folder.project != DEMO
    except HedgerowError:
        return ""
    return f"the run had finished; its report is {run.report}" if over else ""


def _names(runs: Path) -> set[str]:
    return {path.parent.name for kind in ("job", "sweep", "redteam") for path in runs.glob(f"*/{kind}.json")}
