"""`make setup` and its followers, with a Python that writes down what it is asked instead of installing anything."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("sh", "bash", "cat", "cmp", "head", "rm", "mkdir", "cp", "dirname", "basename", "find", "env", "make", "true")

# Answers like Python; `-m venv` makes a folder with itself in it, every other `-m` is written down and may fail.
PYTHON = """#!/bin/sh
if [ "$1" = -m ] && [ "$2" = venv ]; then
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "venv" >> "$LOG"
elif [ "$1" = -m ]; then
    shift; echo "$*" >> "$LOG"
    case "$FAIL" in "$1") exit 1;; esac
elif [ -n "$VERSION" ] && [ "$1" = -c ]; then
    case "$2" in *"%d.%d"*) echo "$VERSION";; *"(3, 11)"*) exit 1;; esac
else
    exec "$REAL" "$@"
fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A folder with the Makefile, and a PATH that holds nothing but a few tools and that Python."""

    folder: Path
    tools: Path
    log: Path

    def make(
        self, *words: str, fail: str = "", version: str = "", command: str = "make"
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.tools), "HOME": "", "CI": "true", "REAL": sys.executable, "LOG": str(self.log)}
        return subprocess.run(
            [str(self.tools / command), *words],
            cwd=self.folder,
            env={**environment, "FAIL": fail, "VERSION": version},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def calls(self) -> list[str]:
        """What Python was asked since the last time, with pip's options left out."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.replace("--disable-pip-version-check -q ", "") for line in lines]


INSTALL = [
    "pip install -c constraints.txt hatchling",
    "pip install -c constraints.txt --no-build-isolation -e .[full,fast,ray,dev]",
]


@pytest.fixture
def workshop(root: Path, tmp_path: Path) -> Workshop:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed")
        (tools / name).symlink_to(program)
    (tools / "python3.11").write_text(PYTHON)
    (tools / "python3.11").chmod(0o755)
    folder = tmp_path / "a folder with spaces"
    (folder / ".ci").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        shutil.copy(root / file, folder / file)
    return Workshop(folder=folder, tools=tools, log=tmp_path / "log")


def test_setup_installs_the_pinned_versions_into_an_environment(workshop: Workshop) -> None:
    done = workshop.make("setup")
    assert done.returncode == 0, done.stderr
    assert workshop.calls() == ["venv", *INSTALL]
    assert done.stdout.splitlines()[-1] == "setup: done"


def test_a_second_setup_does_and_says_nothing(workshop: Workshop) -> None:
    workshop.make("setup")
    workshop.calls()
    assert workshop.make("setup").stdout == ""
    for file in ("pyproject.toml", "constraints.txt"):
        os.utime(workshop.folder / file)
    assert workshop.make("setup").stdout == ""
    assert workshop.calls() == []


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_a_changed_pin_or_project_is_installed_once(workshop: Workshop, file: str) -> None:
    workshop.make("setup")
    workshop.calls()
    with (workshop.folder / file).open("a") as text:
        text.write("# changed\n")
    assert workshop.make("setup").returncode == 0
    assert workshop.make("setup").returncode == 0
    assert workshop.calls() == INSTALL


def test_a_failed_installation_is_started_anew(workshop: Workshop) -> None:
    assert workshop.make("setup", fail="pip").returncode != 0
    workshop.calls()
    assert workshop.make("setup").returncode == 0
    assert workshop.calls() == ["venv", *INSTALL]


def test_a_folder_that_moved_gets_a_new_environment(workshop: Workshop) -> None:
    workshop.make("setup")
    workshop.calls()
    moved = workshop.folder.rename(workshop.folder.with_name("moved"))
    again = Workshop(folder=moved, tools=workshop.tools, log=workshop.log)
    assert again.make("setup").returncode == 0
    assert again.calls() == ["venv", *INSTALL]


def test_an_old_python_is_named_with_what_is_needed(workshop: Workshop) -> None:
    done = workshop.make("setup", version="3.8")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer: python3.11 is 3.8;" in done.stderr
    assert not (workshop.folder / ".venv").exists()


def test_a_missing_python_is_named_with_what_is_needed(workshop: Workshop) -> None:
    (workshop.tools / "python3.11").unlink()
    done = workshop.make("setup")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer: neither python3.11 nor python3 was found;" in done.stderr


def test_python3_serves_where_python311_is_missing(workshop: Workshop) -> None:
    (workshop.tools / "python3.11").rename(workshop.tools / "python3")
    assert workshop.make("setup").returncode == 0
    assert workshop.calls() == ["venv", *INSTALL]


def test_test_checks_style_and_types_before_it_runs_the_tests(workshop: Workshop) -> None:
    assert workshop.make("test").returncode == 0
    words = [call.split()[:2] for call in workshop.calls()[3:]]
    assert words == [["ruff", "check"], ["ruff", "format"], ["mypy"], ["pytest", "-q"]]


@pytest.mark.parametrize("step", ["pip", "ruff", "mypy", "pytest"])
def test_ci_fails_when_a_step_fails(workshop: Workshop, step: str) -> None:
    assert workshop.make(".ci/run", command="bash").returncode == 0
    workshop.make("clean")
    assert workshop.make(".ci/run", command="bash", fail=step).returncode != 0


def test_clean_removes_the_environment_and_caches_but_not_the_runs(workshop: Workshop) -> None:
    workshop.make("setup")
    kept = workshop.folder / "runs/one/__pycache__/model.safetensors"
    cache = workshop.folder / "server/__pycache__/round.cpython-311.pyc"
    for file in (kept, cache):
        file.parent.mkdir(parents=True)
        file.touch()
    assert [workshop.make("clean").returncode for _ in range(2)] == [0, 0]
    assert kept.exists()
    assert not cache.parent.exists()
    assert not (workshop.folder / ".venv").exists()


def test_setup_works_after_clean(workshop: Workshop) -> None:
    for _ in range(2):
        workshop.make("clean")
        assert workshop.make("setup").returncode == 0
        assert workshop.calls() == ["venv", *INSTALL]
