"""Seconds from starting `hedgerow sim` on a new project to its first evaluated round, imports included."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hedgerow.eventlog import read_events
from hedgerow.new import create_project
from hedgerow.runs import RunFolder

ROUNDS = 3


def started_to_first(project: Path, engine: str, changes: str, runs: Path) -> tuple[float, float]:
    """Seconds to the first evaluated round, and to the process's end."""
    command = [sys.executable, "-m", "hedgerow", "sim", str(project), "--runs", str(runs), "--json"]
    command += ["-c", f"rounds={ROUNDS} {changes}"] + (["--engine", engine] if engine else [])
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    end = time.time()
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr).strip()[-500:])
    (folder,) = (entry for entry in runs.iterdir() if entry.is_dir())
    events = read_events(RunFolder.open(folder).events)
    first = next(event["time"] for event in events if event["event"] == "evaluated" and event["round"] >= 1)
    return first - start, end - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="", help="left out: what the command takes by itself")
    parser.add_argument("--repeats", type=int, default=3)
    parsed = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        project = create_project(Path(scratch) / "digits").folder
        for name, changes in (("private", ""), ("plain", "privacy.unit=none")):
            for repeat in range(parsed.repeats):
                runs = Path(scratch) / f"{name}-{repeat}"
                found.setdefault(name, []).append([*started_to_first(project, parsed.engine, changes, runs)])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
