"""What a verb says about runs and sweeps: the envelope's data, the closing words, and the table of `hedgerow ls`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgerow.errors import HedgerowError, Misconfigured
from hedgerow.run import Run
from hedgerow.runs import RunFolder, list_runs
from hedgerow.simulations.sweeps import Sweep, SweepFolder
from hedgerow.simulations.sweeps.folder import list_sweeps

__all__ = ["closing_words", "find", "find_run", "run_data", "run_table"]


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


def closing_words(run: Run | Sweep) -> str:
    """The last line: where the report is."""
    return f"report: {run.report}"


def find(runs: Path, name: str) -> Run | Sweep:
    """A run or sweep by name or folder; the newest where `name` is empty.

    Raises:
        Misconfigured: E112 with the names that there are.
    """
    folders = _folders(runs)
    if not name:
        if not folders:
            raise Misconfigured("E112", f"there are no runs in '{runs}'", hint="start one with: hedgerow demo")
        return _opened(folders[-1])
    for path in (Path(name), runs / name):
        if (path / "job.json").exists():
            return Run(path)
        if (path / "sweep.json").exists():
            return Sweep(path)
    names = ", ".join(folder.name for folder in folders[-5:])
    hint = f"the newest runs are {names}" if names else "start one with: hedgerow demo"
    raise Misconfigured("E112", f"there is no run '{name}' in '{runs}'", hint=hint)


def find_run(runs: Path, name: str) -> Run:
    """A run by name or folder.

    Raises:
        Misconfigured: E112 with the names that there are, E113 if it is a sweep.
    """
    found = find(runs, name)
    if isinstance(found, Sweep):
        hint = f"its runs are listed by: hedgerow ls --runs {found.path / 'cells'}"
        raise Misconfigured("E113", f"'{name or found.name}' is a sweep, not a run", place=str(found.path), hint=hint)
    return found


def run_table(runs: Path) -> tuple[Mapping[str, Any], str]:
    """All runs and sweeps as data and as lines."""
    folders = _folders(runs)
    rows = [_row(folder) if isinstance(folder, RunFolder) else _sweep_row(folder) for folder in folders]
    if not rows:
        return {"runs": [], "sweeps": []}, f"no runs in '{runs}'; start one with: hedgerow demo"
    names = [row.get("run") or row["sweep"] for row in rows]
    widths = {key: max(len(row[key]) for row in rows) for key in ("status", "engine")}
    longest = max(map(len, names))
    lines = [
        "  ".join([f"{name:<{longest}}", *(f"{row[key]:<{w}}" for key, w in widths.items()), _extent(row)]).rstrip()
        for name, row in zip(names, rows, strict=True)
    ]
    told = {"runs": [row for row in rows if "run" in row], "sweeps": [row for row in rows if "sweep" in row]}
    return told, "\n".join(lines)


def _folders(runs: Path) -> list[RunFolder | SweepFolder]:
    """Runs and sweeps, oldest first: their names begin with their time."""
    return sorted([*list_runs(runs), *list_sweeps(runs)], key=lambda folder: folder.path)


def _opened(folder: RunFolder | SweepFolder) -> Run | Sweep:
    return Run(folder.path) if isinstance(folder, RunFolder) else Sweep(folder.path)


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


def _sweep_row(folder: SweepFolder) -> dict[str, Any]:
    sweep = Sweep(folder.path)
    return {
        "sweep": sweep.name,
        "folder": str(sweep.path),
        "task": folder.task,
        "engine": folder.engine,
        "status": sweep.status,
        "runs": sweep.done,
        "of": len(folder.cells),
        "cells": len(folder.cells) // folder.seeds,
        "failed": len(sweep.failed),
    }


def _extent(row: Mapping[str, Any]) -> str:
    """How far it came, and what it reached."""
    if "sweep" in row:
        failed = f", {row['failed']} failed" if row["failed"] else ""
        return f"{row['runs']:>4} of {row['of']} runs{failed}"
    name, value = next(iter(row["final"].items()), ("", None))
    return f"{row['rounds']:>4} of {row['of']} rounds  " + (f"{name} {value:.3f}" if value is not None else "")
