"""The wheel, the checkout and a checkout without links all import as `hedgerow.…`, and as nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PARTS = ("server", "client", "aggregation", "privacy", "simulations")
HEAVY = ("torch", "opacus", "flwr", "scipy", "sklearn", "ray", "pyarrow", "PIL")

# Each module is the first of ours that its process imports: an import cycle shows whichever end one starts from. The
# processes are forks of one that holds every third-party module already (a first fork tells which), as those cost
# seconds and have no part in our cycles.
EACH_MODULE_FIRST = """
import importlib, json, os, traceback

def fork(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

def everything():
    for name in MODULES:
        importlib.import_module(name)
    foreign = [name for name in sys.modules if name.split(".")[0] not in ("hedgerow", "__main__")]
    with open(LIST, "w") as file:
        json.dump(foreign, file)

def first_and_alone():
    found = importlib.import_module(name).__file__
    assert found.startswith(HOME), found
    bare = [part for part in PARTS if part in sys.modules]
    assert not bare, bare

failed = ["all in one process"] if fork(everything) else []
for name in json.load(open(LIST)) if not failed else []:
    try:
        importlib.import_module(name)
    except Exception:
        pass  # a name that only its own package can import; ours do without it or fail below
for name in MODULES:
    if fork(first_and_alone):
        failed.append(name)
print(json.dumps(failed))
"""


def modules(package: Path) -> list[str]:
    """The dotted names of every module below `package`; a `__main__` runs when it is imported, so it is left out."""
    names = []
    for path in sorted(package.rglob("*.py")):
        dotted = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        if path.name != "__main__.py":
            names.append(dotted.removesuffix(".__init__"))
    return names


def test_every_module_of_the_wheel_imports_first_and_alone(
    installed: Path, clean_python: Callable[..., Any], tmp_path: Path
) -> None:
    names = modules(installed / "hedgerow")
    assert {f"hedgerow.{part}" for part in PARTS} < set(names)
    settings = {"MODULES": names, "PARTS": PARTS, "HOME": str(installed), "LIST": str(tmp_path / "foreign.json")}
    code = "".join(f"{name} = {value!r}\n" for name, value in settings.items()) + EACH_MODULE_FIRST
    assert clean_python(code, path=installed) == []


def test_public_names_exist(installed: Path, clean_python: Callable[..., Any]) -> None:
    code = f"""
import importlib, json
missing = []
for name in ["hedgerow", *("hedgerow." + below for below in {(*PARTS, "tasks", "report", "new")!r})]:
    package = importlib.import_module(name)
    missing += [name + "." + public for public in package.__all__ if not hasattr(package, public)]
    missing += [name + " twice" for _ in [0] if len(set(package.__all__)) != len(package.__all__)]
print(json.dumps(missing))
"""
    assert clean_python(code, path=installed) == []


IMPORT_PARTS = f"""
import importlib, json
homes = {{part: importlib.import_module("hedgerow." + part).__file__ for part in {PARTS!r}}}
importlib.import_module("hedgerow.aggregation.judge")
print(json.dumps([homes, [part for part in {PARTS!r} if part in sys.modules]]))
"""


def test_the_five_links_are_links_to_the_real_folders(checkout: Path, git: Callable[..., list[str]]) -> None:
    for part in PARTS:
        link = checkout / "src/hedgerow" / part
        assert link.is_symlink()
        assert os.readlink(link) == f"../../{part}"
        assert git(checkout, "ls-files", "--stage", f"src/hedgerow/{part}")[0].startswith("120000 ")


def test_a_checkout_imports_without_bare_names_even_from_its_own_root(
    checkout: Path, clean_python: Callable[..., Any]
) -> None:
    homes, bare = clean_python(IMPORT_PARTS, path=checkout / "src", cwd=checkout)
    assert bare == []
    assert homes == {part: str(checkout / "src/hedgerow" / part / "__init__.py") for part in PARTS}


def test_a_clone_without_links_still_imports(
    checkout: Path, clean_python: Callable[..., Any], git: Callable[..., list[str]], tmp_path: Path
) -> None:
    git(tmp_path, "-c", "core.symlinks=false", "clone", "--quiet", str(checkout), "clone")
    clone = tmp_path / "clone"
    assert not (clone / "src/hedgerow/server").is_symlink()
    assert (clone / "src/hedgerow/server").is_file()
    homes, bare = clean_python(IMPORT_PARTS, path=clone / "src")
    assert bare == []
    assert homes == {part: str(clone / part / "__init__.py") for part in PARTS}


@pytest.mark.parametrize(
    "code",
    [
        "import hedgerow",
        "import hedgerow.errors, hedgerow.settings, hedgerow.events",
        "import hedgerow; hedgerow.Job(privacy=hedgerow.Privacy(unit='none'), secure=hedgerow.Secure(mode='off'))",
        "import hedgerow; hedgerow.Scenario()",
        "import hedgerow.aggregation",
        "import hedgerow.privacy",
        "import hedgerow.privacy.leakage",
        "import hedgerow.simulations",
        "import hedgerow.tasks",
        "import hedgerow.new",
        "import hedgerow.cli",
    ],
)
def test_light_doors_load_nothing_heavy(code: str, installed: Path, clean_python: Callable[..., Any]) -> None:
    report = f"\nimport json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    assert clean_python(code + report, path=installed) == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["demo", "--help"], ["sim", "--help"], ["new", "--help"]])
def test_help_loads_nothing_heavy(words: list[str], installed: Path, clean_python: Callable[..., Any]) -> None:
    code = f"""
import json
from hedgerow.cli import main
sys.argv = ["hedgerow", *{words!r}]
code = 0
try:
    main()
except SystemExit as left:
    code = left.code or 0
print()
print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    assert clean_python(code, path=installed) == [0, []]


def test_flowers_reports_and_update_checks_are_off_after_the_first_import(
    installed: Path, clean_python: Callable[..., Any]
) -> None:
    code = "import hedgerow, json, os; print(json.dumps([os.environ[k] for k in "
    code += "('FLWR_TELEMETRY_ENABLED', 'FLWR_DISABLE_UPDATE_CHECK')]))"
    assert clean_python(code, path=installed) == ["0", "1"]
