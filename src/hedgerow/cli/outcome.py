"""What a verb says about runs: the envelope's data, the closing words, and the table of `hedgerow ls`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgerow.errors import HedgerowError, Misconfigured
from hedgerow.run import Run
from hedgerow.runs import RunFolder, list_runs

__all__ = ["closing_words", "find_run", "run_data", "run_table"]


def run_data(run: Run) -> dict[str, Any]:
    """The envelope's data of a finished run."""
    return {
        "run": run.name,
        "folder": str(run.path),
        "report": str(run.report),
        "engine": run.folder.engine,
        "status": run.status,
        "rounds": run.rounds,
        "final": dict(run.final),
        "model_sha256": run.model_sha256,
        "epsilon": dict(run.epsilon),
        "privacy": _claim(run),
        "leakage": [dict(result) for result in run.leakage[:1]],
    }


def _claim(run: Run) -> dict[str, Any]:
    """What an ε means: nothing without its δ, unit and relation, and no protection where the noise has a seed."""
    privacy = run.folder.job.privacy
    if privacy.unit == "none":
        return {"unit": "none"}
    return {
        "unit": privacy.unit,
        "delta": privacy.delta,
        "accountant": privacy.accountant,
        "relation": "add or remove one record",
        "noise": sorted({event["randomness"] for event in run.events("budget-planned")}),
    }


def closing_words(run: Run) -> str:
    return f"report: {run.report}"


def find_run(runs: Path, name: str) -> Run:
    """A run by name or folder; the newest where `name` is empty.

    Raises:
        Misconfigured: E112 with the names that there are.
    """
    folders = list_runs(runs)
    if not name:
        if not folders:
            raise Misconfigured("E112", f"there are no runs in '{runs}'", hint="start one with: hedgerow demo")
        return Run(folders[-1].path)
    for path in (Path(name), runs / name):
        if (path / "job.json").exists():
            return Run(path)
    names = ", ".join(folder.name for folder in folders[-5:])
    hint = f"the newest runs are {names}" if names else "start one with: hedgerow demo"
    raise Misconfigured("E112", f"there is no run '{name}' in '{runs}'", hint=hint)


def run_table(runs: Path) -> tuple[Mapping[str, Any], str]:
    """All runs as data and as lines."""
    rows = [_row(folder) for folder in list_runs(runs)]
    if not rows:
        return {"runs": []}, f"no runs in '{runs}'; start one with: hedgerow demo"
    widths = {key: max(len(row[key]) for row in rows) for key in ("run", "status", "engine")}
    lines = [
        "  ".join([*(f"{row[key]:<{width}}" for key, width in widths.items()), _rounds(row), _metric(row)]).rstrip()
        for row in rows
    ]
    return {"runs": rows}, "\n".join(lines)


def _row(folder: RunFolder) -> dict[str, Any]:
    run = Run(folder.path)
    try:
        status, final, rounds = run.status, dict(run.final), run.rounds
    except HedgerowError as error:
        status, final, rounds = f"damaged ({error.code})", {}, 0
    return {
        "run": run.name,
        "folder": str(run.path),
        "task": folder.task,
        "engine": folder.engine,
        "status": status,
        "rounds": rounds,
        "of": folder.job.rounds,
        "final": final,
    }


def _rounds(row: Mapping[str, Any]) -> str:
    return f"{row['rounds']:>4} of {row['of']} rounds"


def _metric(row: Mapping[str, Any]) -> str:
    name, value = next(iter(row["final"].items()), ("", None))
    return f"{name} {value:.3f}" if value is not None else ""
