"""What a verb says about runs, sweeps and red teams: data, closing words, and the table of `hedgerow ls`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hedgerow.errors import HedgerowError, Misconfigured
from hedgerow.run import Run
from hedgerow.runs import RunFolder, list_runs
from hedgerow.simulations.redteam import RedTeam, RedTeamFolder
from hedgerow.simulations.redteam.folder import list_red_teams
from hedgerow.simulations.sweeps import Sweep, SweepFolder
from hedgerow.simulations.sweeps.folder import list_sweeps

__all__ = ["Found", "closing_words", "find", "find_run", "run_data", "run_table"]

Found: TypeAlias = Run | Sweep | RedTeam
KINDS: Mapping[str, Callable[[Path], Found]] = {"job": Run, "sweep": Sweep, "redteam": RedTeam}


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
        "relation": f"add or remove one {privacy.unit}",
        "noise": sorted({event["randomness"] for event in run.events("budget-planned")}),
    }


def closing_words(run: Found) -> str:
    """The last line: where the report is."""
    return f"report: {run.report}"


def find(runs: Path, name: str) -> Found:
    """A run, sweep or red team by name or folder; the newest where `name` is empty.

    Raises:
        Misconfigured: E112 with the names that there are.
    """
    folders = _folders(runs)
    if not name:
        if not folders:
            raise Misconfigured("E112", f"there are no runs in '{runs}'", hint="start one with: hedgerow demo")
        return _opened(folders[-1])
    for path in (Path(name), runs / name):
        for kind, opened in KINDS.items():
            if (path / f"{kind}.json").exists():
                return opened(path)
    names = ", ".join(folder.name for folder in folders[-5:])
    hint = f"the newest runs are {names}" if names else "start one with: hedgerow demo"
    raise Misconfigured("E112", f"there is no run '{name}' in '{runs}'", hint=hint)


def find_run(runs: Path, name: str) -> Run:
    """A run by name or folder.

    Raises:
        Misconfigured: E112 with the names that there are, E113 if it is a sweep or a red team.
    """
    found = find(runs, name)
    if isinstance(found, Run):
        return found
    what = "a sweep" if isinstance(found, Sweep) else "a red team"
    hint = f"its runs are listed by: hedgerow ls --runs {found.path / 'cells'}"
    raise Misconfigured("E113", f"'{name or found.name}' is {what}, not a run", place=str(found.path), hint=hint)


def run_table(runs: Path) -> tuple[Mapping[str, Any], str]:
    """All runs, sweeps and red teams as data and as lines."""
    rows = [_row(folder) if isinstance(folder, RunFolder) else _batch_row(folder) for folder in _folders(runs)]
    if not rows:
        return {"runs": [], "sweeps": [], "red_teams": []}, f"no runs in '{runs}'; start one with: hedgerow demo"
    names = [next(row[key] for key in ("run", "sweep", "red_team") if key in row) for row in rows]
    widths = {key: max(len(row[key]) for row in rows) for key in ("status", "engine")}
    longest = max(map(len, names))
    lines = [
        "  ".join([f"{name:<{longest}}", *(f"{row[key]:<{w}}" for key, w in widths.items()), _extent(row)]).rstrip()
        for name, row in zip(names, rows, strict=True)
    ]
    told = {f"{kind}s": [row for row in rows if kind in row] for kind in ("run", "sweep", "red_team")}
    return told, "\n".join(lines)


def _folders(runs: Path) -> list[RunFolder | SweepFolder | RedTeamFolder]:
    """Runs, sweeps and red teams, oldest first: their names begin with their time."""
    return sorted([*list_runs(runs), *list_sweeps(runs), *list_red_teams(runs)], key=lambda folder: folder.path)


def _opened(folder: RunFolder | SweepFolder | RedTeamFolder) -> Found:
    if isinstance(folder, RunFolder):
        return Run(folder.path)
    return Sweep(folder.path) if isinstance(folder, SweepFolder) else RedTeam(folder.path)


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


def _batch_row(folder: SweepFolder | RedTeamFolder) -> dict[str, Any]:
    batch = Sweep(folder.path) if isinstance(folder, SweepFolder) else RedTeam(folder.path)
    return {
        "sweep" if isinstance(folder, SweepFolder) else "red_team": batch.name,
        "folder": str(batch.path),
        "task": folder.task,
        "engine": folder.engine,
        "status": batch.status,
        "runs": batch.done,
        "of": len(folder.cells),
        "cells": len(folder.cells) // folder.seeds,
        "failed": len(batch.failed),
    }


def _extent(row: Mapping[str, Any]) -> str:
    """How far it came, and what it reached."""
    if "run" not in row:
        failed = f", {row['failed']} failed" if row["failed"] else ""
        return f"{row['runs']:>4} of {row['of']} runs{failed}"
    name, value = next(iter(row["final"].items()), ("", None))
    return f"{row['rounds']:>4} of {row['of']} rounds  " + (f"{name} {value:.3f}" if value is not None else "")
