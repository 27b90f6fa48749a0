"""Starts each measured system in a process of its own, and finds or makes the environment that pfl needs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900  # seconds after which a process counts as hanging
PFL = "pfl==0.6.0"

__all__ = ["Figures", "measure", "pfl_interpreter"]

Figures = dict[str, Any]


def measure(
    module: Sequence[str], *, python: str = sys.executable, threads: int | None = None, tree: bool = False
) -> Figures:
    """Run `python -m module` and return its last line, JSON, with the whole process's wall-clock seconds.

    `threads` sets OMP_NUM_THREADS, which is otherwise unset. With `tree` the memory is the largest sum over the process
    and its children, each shared page counted once (PSS), looked at twice a second. A process that fails gives
    `skipped` and its last words.
    """
    unset = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAY_ADDRESS", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    start = time.perf_counter()
    with subprocess.Popen(
        [python, "-m", *module],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        peak = _Peak(process.pid) if tree else None
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            return {"skipped": f"no end after {LIMIT} s"}
        finally:
            if peak is not None:
                peak.stop()
    wall = time.perf_counter() - start
    lines = out.strip().splitlines()
    if process.returncode or not lines:
        return {"skipped": (err.strip().splitlines() or ["it ended without a word"])[-1]}
    found: Figures = {**json.loads(lines[-1]), "wall": wall}
    if peak is not None:
        found["peak_mb"] = peak.megabytes
    return found


def pfl_interpreter(given: str | None, folder: Path) -> tuple[str | None, str]:
    """An interpreter that has pfl, and why there is none. `given` is taken as it is; else an environment is made.

    The new environment borrows PyTorch from this one: only pfl and what it pins are installed.
    """
    if given is not None:
        try:
            tried = subprocess.run([given, "-c", "import pfl, torch"], capture_output=True, text=True)
        except OSError as error:
            return None, f"{given}: {error.strerror}"
        words = (tried.stderr.strip().splitlines() or [""])[-1]
        return (given, "") if tried.returncode == 0 else (None, f"{given}: {words}")
    python = folder / "bin" / "python"
    steps: Sequence[Sequence[str]] = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", PFL],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            return None, (done.stderr.strip().splitlines() or [f"{step[2]} failed"])[-1]
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return None, "this environment has no PyTorch to lend"
    borrowed = Path(torch.origin).parents[1]
    own = next((folder / "lib").glob("python*/site-packages"))
    (own / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return pfl_interpreter(str(python), folder)


class _Peak:
    """The largest memory of a process and its children while it runs."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._over.wait(0.5):
            self.megabytes = max(self.megabytes, sum(_proportional(each) for each in _tree(pid)))


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _read(entry / "stat").rpartition(")")[2].split()
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _proportional(pid: int) -> float:
    lines: Mapping[str, str] = dict(
        line.split(":", 1) for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines() if ":" in line
    )
    return int(lines["Pss"].split()[0]) / 1024 if "Pss" in lines else 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""
