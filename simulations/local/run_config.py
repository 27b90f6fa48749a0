"""The run configuration of a Flower app on its way to a real SuperLink.

Flower replaces only keys that the app's `[tool.flwr.app.config]` already has, and names none that it refuses. So keys
are checked here first; those that the caller knows to be valid although the app does not write them out (a job's
defaults) are added to a private copy of the app, and those that must not be there (the budget of a job that was changed
to one without privacy) are taken from it. Values travel in a TOML file: no quoting can go wrong.
"""

import difflib
import os
import re
import shutil
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from hedgerow.errors import Misconfigured
from hedgerow.settings import Scalar, dotted
from hedgerow.tomlfile import read_toml, table
from hedgerow.tomltext import toml_literal

__all__ = ["app_config", "app_with", "missing_keys", "toml_text"]

SECTION = re.compile(
    r"^[ \t]*\[[ \t]*tool[ \t]*\.[ \t]*flwr[ \t]*\.[ \t]*app[ \t]*\.[ \t]*config[ \t]*\].*$", re.MULTILINE
)
LARGEST = 10 * 2**20  # bytes: what Flower accepts as a whole app
SKIPPED = {"__pycache__", "runs", "node_modules", "build", "dist"}


def app_config(app: Path) -> dict[str, Scalar]:
    """What the app's `pyproject.toml` states as its run configuration, under dotted keys.

    Raises:
        Misconfigured: E110 no such app, E111 not a Flower app, E102 a value that Flower cannot carry.
    """
    tree = read_toml(app / "pyproject.toml")
    for component in ("serverapp", "clientapp"):
        if component not in table(tree, "tool", "flwr", "app", "components"):
            raise Misconfigured(
                "E111",
                f"pyproject.toml names no {component} under [tool.flwr.app.components]",
                place=str(app),
                hint="this folder is not a Flower app; `hedgerow new NAME` writes one",
            )
    return dotted(table(tree, "tool", "flwr", "app", "config"))


def missing_keys(given: Collection[str], stated: Collection[str], declare: Collection[str]) -> tuple[str, ...]:
    """The given keys that the app does not state, all of which must be in `declare`.

    Raises:
        Misconfigured: E101 a key that neither the app nor `declare` knows, with the nearest that they do.

    >>> missing_keys(["rounds", "local.lr"], ["rounds"], ["rounds", "local.lr", "local.batch"])
    ('local.lr',)
    """
    missing = tuple(key for key in given if key not in stated)
    known = sorted({*stated, *declare})
    for key in missing:
        if key not in declare:
            near = difflib.get_close_matches(key, known, 1, 0.6)
            hint = f"did you mean '{near[0]}'?" if near else "the app's keys are " + (", ".join(known) or "none")
            raise Misconfigured("E101", f"unknown key '{key}'", place="[tool.flwr.app.config]", hint=hint)
    return missing


def app_with(app: Path, copy: Path, additions: Mapping[str, Scalar], without: Collection[str] = ()) -> Path:
    """A copy of the app whose run configuration also states `additions` and not `without`; the app itself if it is so.

    Hidden folders, environments, earlier runs, links and files too large for an app are not copied.

    Raises:
        Misconfigured: E111 if the section cannot be changed by lines of text.
    """
    stated = app_config(app)
    kept = {key: value for key, value in stated.items() if key not in without}
    if not additions and kept == stated:
        return app
    for parent, folders, files in os.walk(app):
        here = Path(parent)
        folders[:] = [name for name in folders if _belongs(here / name) and (here / name) != copy]
        for name in files:
            source = here / name
            if source.is_file() and not source.is_symlink() and source.stat().st_size <= LARGEST:
                target = copy / source.relative_to(app)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    project = copy / "pyproject.toml"
    text, lines = project.read_text(encoding="utf-8"), toml_text(additions).rstrip()
    if kept != stated:
        text, lines = _without_section(text), toml_text({**kept, **additions}).rstrip()
    section = SECTION.search(text)
    if section:
        text = f"{text[: section.end()]}\n{lines}{text[section.end() :]}"
    else:
        text = f"{text.rstrip()}\n\n[tool.flwr.app.config]\n{lines}\n"
    try:
        made = dotted(table(tomllib.loads(text), "tool", "flwr", "app", "config"))
    except (tomllib.TOMLDecodeError, Misconfigured):
        made = {}
    if made != {**kept, **additions}:
        raise Misconfigured(
            "E111",
            "the app's run configuration cannot be changed for this run",
            place=str(app / "pyproject.toml"),
            hint="write it as a section of its own: [tool.flwr.app.config]",
        )
    project.write_text(text, encoding="utf-8")
    return copy


def toml_text(values: Mapping[str, Scalar]) -> str:
    """One `"key" = value` line each. Quoted keys stay whole, so a dotted key never becomes a table.

    >>> print(toml_text({"privacy.epsilon": 3.0, "note": 'say "hi"', "fast": True}), end="")
    "privacy.epsilon" = 3.0
    "note" = "say \\"hi\\""
    "fast" = true
    """
    return "".join(f"{toml_literal(key)} = {toml_literal(value)}\n" for key, value in values.items())


def _without_section(text: str) -> str:
    """The text without `[tool.flwr.app.config]` and the sections below it."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            try:
                inside = "config" in table(tomllib.loads(line), "tool", "flwr", "app")
            except (tomllib.TOMLDecodeError, Misconfigured):
                pass  # a line of a list, or of a text over several lines
        if not inside:
            kept.append(line)
    return "\n".join(kept)


def _belongs(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in SKIPPED
    return not (hidden or folder.is_symlink() or (folder / "pyvenv.cfg").exists())
