"""The words after `-c`, `-s` and their like, as settings; what is wrong with them is said to be there."""

import re
import shlex
from collections.abc import Iterable
from typing import TypeVar

from hedgerow.errors import Misconfigured
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar, Settings, parse_overrides

__all__ = ["at_option", "command", "memory_bytes", "overridden", "read_words", "scenario_of", "scenario_words"]

S = TypeVar("S", bound=Settings)

UNITS = {"": 1, "b": 1}
UNITS |= {f"{prefix}b": 1000 ** (k + 1) for k, prefix in enumerate("kmgt")}
UNITS |= {f"{prefix}ib": 1024 ** (k + 1) for k, prefix in enumerate("kmgt")}
SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([a-zA-Z]*)\s*")


def read_words(option: str, words: str) -> dict[str, Scalar]:
    """The overrides after `option`.

    Raises:
        Misconfigured: E102 if they cannot be read, E105 if a key stands twice.
    """
    try:
        return parse_overrides(words)
    except Misconfigured as error:
        raise at_option(option, error) from None


def overridden(settings: S, option: str, words: str) -> S:
    """The settings with the overrides after `option`.

    Raises:
        Misconfigured: E101–E106, with the option as the place.
    """
    return _changed(settings, option, read_words(option, words))


def scenario_of(scenario: Scenario, words: str, sites: int | None) -> Scenario:
    """The scenario with the overrides after `-s` and the number after `--sites`.

    Raises:
        Misconfigured: E101–E106, with the option as the place; E105 if the two options state different numbers.
    """
    return _changed(scenario, *scenario_words(words, sites))


def scenario_words(words: str, sites: int | None) -> tuple[str, dict[str, Scalar]]:
    """What to call the options `-s` and `--sites` as a place, and their overrides together.

    Raises:
        Misconfigured: as `read_words`, E105 if they state different numbers.

    >>> scenario_words("seed=7", 20)
    ('-s and --sites', {'seed': 7, 'sites': 20})
    """
    overrides = read_words("-s", words)
    if sites is None:
        return "-s", overrides
    if overrides.get("sites", sites) != sites:
        raise Misconfigured(
            "E105",
            f"--sites {sites} and -s 'sites={overrides['sites']}' contradict each other",
            place="--sites",
            hint="write one of them",
        )
    return "-s and --sites" if words else "--sites", {**overrides, "sites": sites}


def memory_bytes(text: str) -> int | None:
    """The bytes after `--memory`, `None` where nothing is stated. Units are decimal (kB, MB, GB, TB) or binary (GiB).

    Raises:
        Misconfigured: E103 if it is no size.

    >>> memory_bytes("4GB"), memory_bytes("1.5 GiB"), memory_bytes("")
    (4000000000, 1610612736, None)
    """
    if not text:
        return None
    match = SIZE.fullmatch(text)
    size = int(float(match[1]) * UNITS[match[2].lower()]) if match and match[2].lower() in UNITS else 0
    if size < 1:
        raise Misconfigured("E103", f"'{text}' is no size", place="--memory", hint="write for example --memory 4GB")
    return size


def command(
    verb: str, path: str, config: str, scenario: str, options: Iterable[tuple[str, str | int | None]] = ()
) -> str:
    """The command that starts the same again; `options` that were left out are empty or `None`.

    >>> command("sim", ".", "rounds=5 local.lr=1", "", [("--engine", "ray"), ("--sites", 10), ("--memory", "")])
    "hedgerow sim . --engine ray --sites 10 -c 'rounds=5 local.lr=1'"
    """
    words = ["hedgerow", verb] + ([path] if path else [])
    for option, value in options:
        words += [option, str(value)] if value not in (None, "") else []
    words += ["-c", config] if config else []
    words += ["-s", scenario] if scenario else []
    return shlex.join(words)


def at_option(option: str, error: Misconfigured) -> Misconfigured:
    """The error, with the option before its place."""
    place = f"{option}, {error.place}" if error.place else option
    return Misconfigured(error.code, error.message, place=place, hint=error.hint)


def _changed(settings: S, option: str, overrides: dict[str, Scalar]) -> S:
    try:
        return settings.override(overrides) if overrides else settings
    except Misconfigured as error:
        raise at_option(option, error) from None
