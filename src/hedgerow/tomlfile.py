"""A TOML file: read whole, or refused with its line; its tables, and the line that states a key."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hedgerow.errors import Misconfigured

__all__ = ["leaves", "line_of", "read_toml", "table"]


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or an error that names the line.

    Raises:
        Misconfigured: E110 no such file, E111 not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured("E110", f"there is no {path.name} here", place=str(path.parent)) from None
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of a number with thousands of digits
        raise Misconfigured("E111", f"{path.name} is not TOML: {error}", place=str(path)) from None
    except OSError as error:
        raise Misconfigured("E111", f"{path.name} cannot be read: {error.strerror}", place=str(path)) from None


def table(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The nested table `names[0].names[1]…`, empty where any step is missing."""
    for name in names:
        step = tree.get(name, {})
        tree = step if isinstance(step, Mapping) else {}
    return tree


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What is no table, with its dotted key.

    >>> list(leaves({"privacy": {"epsilon": 3.0}, "rounds": 5}))
    [('privacy.epsilon', 3.0), ('rounds', 5)]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def line_of(path: Path, section: tuple[str, ...], key: str) -> str:
    """`file:line` of a dotted key of a table, however TOML let it be written; the file alone where it is not written.

    The line is the first up to which the file, read as TOML, states the key. O(lines that name its last part).
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return path.name
    last = key.rpartition(".")[2]
    for number, line in enumerate(lines, 1):
        if last in line and _states("\n".join(lines[:number]), section, key):
            return f"{path.name}:{number}"
    return path.name


def _states(text: str, section: tuple[str, ...], key: str) -> bool:
    try:
        return any(name == key for name, _ in leaves(table(tomllib.loads(text), *section)))
    except (ValueError, RecursionError):  # the text ends within a value
        return False
