"""`constraints.txt` names one version of everything that the two commands install."""

import platform
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Builds of PyTorch for graphics cards bring these; which of them depends on the build, so they are left to pip.
OF_A_BUILD = ("nvidia-", "cuda-", "triton")


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Version]:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines]
    named = {canonicalize_name(pair[1]): Version(pair[2]) for pair in pairs if pair}
    assert len(named) == len(lines), "every line is one exact version of one package"
    return {str(name): version for name, version in named.items()}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, list[Requirement]]:
    """The requirements of the project itself and of each extra."""
    table = tomllib.loads((root / "pyproject.toml").read_text())
    groups = {"": table["project"]["dependencies"], **table["project"]["optional-dependencies"]}
    groups["build"] = table["build-system"]["requires"]
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


def needed(project: dict[str, list[Requirement]]) -> set[str]:
    """Every package that the project with all its extras brings into this environment."""
    waiting = [requirement for group in project.values() for requirement in group if requirement.name != "hedgerow"]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (str(canonicalize_name(requirement.name)), frozenset(requirement.extras))
        if key in seen or key[0].startswith(OF_A_BUILD):
            continue
        try:
            lines = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            lines = []
        seen.add(key)
        for further in map(Requirement, lines):
            extras = ["", *requirement.extras]
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return {name for name, _ in seen}


@pytest.mark.skipif(
    (sys.platform, platform.machine(), sys.version_info[:2]) != ("linux", "x86_64", (3, 11)),
    reason="the list was made on Linux x86_64 with Python 3.11",
)
def test_everything_that_is_installed_is_pinned_and_nothing_else(
    pins: dict[str, Version], project: dict[str, list[Requirement]]
) -> None:
    assert needed(project) == set(pins)


def test_every_pin_is_a_released_version_that_the_project_allows(
    pins: dict[str, Version], project: dict[str, list[Requirement]]
) -> None:
    assert [name for name, version in pins.items() if version.local or version.is_prerelease] == []
    for requirement in (requirement for group in project.values() for requirement in group):
        if requirement.name != "hedgerow":
            assert pins[str(canonicalize_name(requirement.name))] in requirement.specifier, requirement
