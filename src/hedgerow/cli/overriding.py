"""The words after `-c` and `-s`, as settings; what is wrong with them is said to be there."""

import shlex
from typing import TypeVar

from hedgerow.errors import Misconfigured
from hedgerow.settings import Scalar, Settings, parse_overrides

__all__ = ["command", "overridden", "read_words"]

S = TypeVar("S", bound=Settings)


def read_words(option: str, words: str) -> dict[str, Scalar]:
    """The overrides after `option`.

    Raises:
        Misconfigured: E102 if they cannot be read.
    """
    try:
        return parse_overrides(words)
    except Misconfigured as error:
        raise _at(option, error) from None


def overridden(settings: S, option: str, words: str) -> S:
    """The settings with the overrides after `option`.

    Raises:
        Misconfigured: E101–E106, with the option as the place.
    """
    overrides = read_words(option, words)
    try:
        return settings.override(overrides) if overrides else settings
    except Misconfigured as error:
        raise _at(option, error) from None


def command(verb: str, path: str, config: str, scenario: str, engine: str = "in-process") -> str:
    """The command that starts the same run again.

    >>> command("sim", ".", "rounds=5 local.lr=1", "")
    "hedgerow sim . -c 'rounds=5 local.lr=1'"
    """
    words = ["hedgerow", verb] + ([path] if path else [])
    words += ["--engine", engine] if engine != "in-process" else []
    words += ["-c", config] if config else []
    words += ["-s", scenario] if scenario else []
    return shlex.join(words)


def _at(option: str, error: Misconfigured) -> Misconfigured:
    place = f"{option}, {error.place}" if error.place else option
    return Misconfigured(error.code, error.message, place=place, hint=error.hint)
