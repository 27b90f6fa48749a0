"""A copy of the checkout, the wheel that is built from it, and Python processes that see nothing else of it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Git = Callable[..., list[str]]
CleanPython = Callable[..., Any]
Build = Callable[[Path], tuple[Path, Path]]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """`git(folder, *words)`: the NUL- or line-separated answer, without the settings of whoever runs the tests."""
    program = shutil.which("git")
    if program is None:
        pytest.skip("git is not installed")
    home = tmp_path_factory.mktemp("home")
    names = {f"GIT_{who}_{what}": f"a@{who}.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **names}

    def git(folder: Path, *words: str) -> list[str]:
        command = [program, "-c", "safe.directory=*", "-c", "init.defaultBranch=main", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return [line for line in done.stdout.replace("\0", "\n").split("\n") if line]

    return git


@pytest.fixture(scope="session")
def checkout(git: Git, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit: what git lists here, and what it would list after `git add --all`."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so there is no list to compare with")
    copy = tmp_path_factory.mktemp("checkout")
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"):
        if os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "a copy")
    return copy


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`build(folder)`: the sdist of a folder, and the wheel of that sdist, with the tools that are installed here."""

    def build(folder: Path) -> tuple[Path, Path]:
        target = tmp_path_factory.mktemp("dist")
        sdist = target / _hatchling(folder, f"build_sdist({str(target)!r})")
        with tarfile.open(sdist) as archive:
            archive.extractall(target / "unpacked", filter="data")
        (unpacked,) = (target / "unpacked").iterdir()
        return sdist, target / _hatchling(unpacked, f"build_wheel({str(target)!r})")

    return build


def _hatchling(folder: Path, call: str) -> str:
    code = f"import hatchling.build as backend; print(backend.{call})"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def sdist_and_wheel(checkout: Path, build: Build) -> tuple[Path, Path]:
    return build(checkout)


@pytest.fixture(scope="session")
def installed(sdist_and_wheel: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that an installer would put the wheel's files into."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(sdist_and_wheel[1]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> CleanPython:
    """`clean_python(code, path=…)`: what the code prints, as JSON, from a process in `/`.

    It sees the folder `path` and the packages of this environment, but no `.pth` file, so no editable installation.
    """
    home = tmp_path_factory.mktemp("home")
    packages = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1"}

    def clean_python(code: str, *, path: Path, cwd: Path = Path("/")) -> Any:
        start = f"import sys; sys.path[:0] = [{str(path)!r}]; sys.path += {packages!r}\n"
        command = [sys.executable, "-I", "-S", "-c", start + code]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return clean_python
