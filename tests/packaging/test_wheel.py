"""What ships is what git lists: nothing missing, nothing extra."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

PARTS = ("server", "client", "aggregation", "privacy", "simulations")

# What runs, tools and people leave in a checkout, and what no archive may carry.
LEFT_BEHIND = (
    ".env",
    ".venv/lib/secret.py",
    "build/lib/hedgerow/old.py",
    "runs/2026-11-24-digits/events.jsonl",
    "src/hedgerow/__pycache__/job.cpython-311.pyc",
    "privacy/ledger.sqlite",
    "privacy/ledger.sqlite-wal",
    "server/model.safetensors",
    "server/runs/one/job.json",
    "client/node.key",
    "simulations/local/ca.pem",
    "aggregation/.DS_Store",
    "aggregation/arrays/rows.py.swp",
)


def shipped(wheel: Path) -> set[str]:
    """The files under `hedgerow/` in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith("hedgerow/")}


def expected(listed: list[str]) -> set[str]:
    """Where git's files belong in the wheel; the five links are the checkout's and do not ship."""
    own = {name.removeprefix("src/") for name in listed if name.startswith("src/hedgerow/")}
    links = {f"hedgerow/{part}" for part in PARTS}
    return {f"hedgerow/{name}" for name in listed if name.split("/")[0] in PARTS} | (own - links)


def test_the_wheel_of_the_sdist_holds_exactly_what_git_lists(
    sdist_and_wheel: tuple[Path, Path], checkout: Path, git: Callable[..., list[str]]
) -> None:
    assert shipped(sdist_and_wheel[1]) == expected(git(checkout, "ls-files", "-z"))


def test_every_part_ships_with_modules(sdist_and_wheel: tuple[Path, Path]) -> None:
    names = shipped(sdist_and_wheel[1])
    for part in PARTS:
        assert f"hedgerow/{part}/__init__.py" in names
        assert sum(name.startswith(f"hedgerow/{part}/") for name in names) > 1


def test_the_sdist_holds_the_files_that_git_lists_and_no_others(
    sdist_and_wheel: tuple[Path, Path], checkout: Path, git: Callable[..., list[str]]
) -> None:
    with tarfile.open(sdist_and_wheel[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    listed = set(git(checkout, "ls-files", "-z")) - {f"src/hedgerow/{part}" for part in PARTS}
    assert names - listed == {"PKG-INFO"}
    assert {name for name in listed - names if not name.startswith(".")} == set()


def test_the_wheel_carries_the_type_marker_the_licence_and_the_package_data(
    sdist_and_wheel: tuple[Path, Path], checkout: Path
) -> None:
    names = shipped(sdist_and_wheel[1])
    assert "hedgerow/py.typed" in names
    source = checkout / "src"
    for pattern in ("report/*.j2", "report/*.css", "new/*.template"):
        data = {str(path.relative_to(source)) for path in source.glob(f"hedgerow/{pattern}")}
        assert data and data <= names
    with zipfile.ZipFile(sdist_and_wheel[1]) as archive:
        (licence,) = (name for name in archive.namelist() if name.endswith("/licenses/LICENSE"))
        assert archive.read(licence) == (checkout / "LICENSE").read_bytes()
    assert "Apache License" in (checkout / "LICENSE").read_text()


def test_the_wheel_brings_the_command_and_only_light_requirements(sdist_and_wheel: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(sdist_and_wheel[1]) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "hedgerow = hedgerow.cli:main" in archive.read(entry_points).decode()
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        needed = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
    always = " ".join(line for line in needed if "extra ==" not in line)
    assert "numpy" in always
    assert not [name for name in ("torch", "flwr", "opacus", "scikit-learn", "scipy", "ray") if name in always]


def test_the_top_of_the_wheel_is_hedgerow_alone(sdist_and_wheel: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(sdist_and_wheel[1]) as archive:
        assert {name.split("/")[0].partition("-")[0] for name in archive.namelist()} == {"hedgerow"}


def test_what_runs_and_tools_leave_behind_is_not_shipped(
    checkout: Path,
    sdist_and_wheel: tuple[Path, Path],
    build: Callable[[Path], tuple[Path, Path]],
    git: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    used = tmp_path / "used"
    git(tmp_path, "clone", "--quiet", str(checkout), str(used))
    for name in LEFT_BEHIND:
        (used / name).parent.mkdir(parents=True, exist_ok=True)
        (used / name).write_text("must stay here")
    assert git(used, "status", "--porcelain") == []
    sdist, wheel = build(used)
    assert shipped(wheel) == shipped(sdist_and_wheel[1])
    with tarfile.open(sdist) as archive, tarfile.open(sdist_and_wheel[0]) as before:
        assert sorted(archive.getnames()) == sorted(before.getnames())


def test_the_same_checkout_builds_the_same_bytes(
    checkout: Path, sdist_and_wheel: tuple[Path, Path], build: Callable[[Path], tuple[Path, Path]]
) -> None:
    sdist, wheel = build(checkout)
    assert wheel.read_bytes() == sdist_and_wheel[1].read_bytes()
    assert sdist.read_bytes() == sdist_and_wheel[0].read_bytes()


@pytest.mark.skipif(not os.environ.get("CI"), reason="a developer's checkout may hold new files; CI's may not")
def test_building_and_testing_leave_nothing_that_git_would_pick_up(root: Path, git: Callable[..., list[str]]) -> None:
    if not (root / ".git").exists():
        pytest.skip("this is no git checkout")
    assert git(root, "ls-files", "-z", "--others", "--exclude-standard") == []
