"""From TOML, Python and command-line words to checked, frozen settings.

A settings tree is a frozen dataclass whose fields are scalars or other settings trees. `option` gives a field its
range or its choices. Nothing is ignored: an unknown key, a wrong type or a value out of range is `Misconfigured`,
with the nearest valid key and, where the setting came from a file, its line.
"""

import dataclasses
import difflib
import functools
import math
import shlex
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hedgerow.errors import Misconfigured
from hedgerow.tomlfile import leaves, line_of, read_toml, table

__all__ = ["Scalar", "Settings", "dotted", "nearest", "option", "parse_overrides"]

Scalar = str | int | float | bool
S = TypeVar("S", bound="Settings")
Locate = Callable[[str], str]  # from a dotted key to `file:line`, empty where there is no file


def option(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its bounds: `low`/`high` are included, `above`/`below` are not."""
    bounds = {"low": low, "high": high, "above": above, "below": below, "choices": choices}
    return dataclasses.field(default=default, metadata=bounds)


class Settings:
    """What `Job` and `Scenario` share: checked fields and dotted keys."""

    __slots__ = ()
    prefix: ClassVar[str] = ""  # where a subtree stands in its tree, for messages
    section: ClassVar[tuple[str, ...]] = ()  # the table of a pyproject.toml that holds the tree

    def __post_init__(self) -> None:
        for field, kind in _fields(type(self)):
            value = getattr(self, field.name)
            _check(field, kind, value, f"{self.prefix}{field.name}")
            if _wants_float(kind) and value is not None:  # 3 and 3.0, 0.0 and -0.0 are one setting with one digest
                object.__setattr__(self, field.name, float(value) + 0.0)

    def flat(self) -> dict[str, Scalar]:
        """Every setting under its dotted key, unset ones left out.

        >>> from hedgerow.job import Job, Privacy, Secure
        >>> Job(privacy=Privacy(unit="none"), secure=Secure(mode="off")).flat()["local.batch"]
        32
        """
        return dict(_flatten(self, ""))

    @classmethod
    def from_flat(cls: type[S], values: Mapping[str, Scalar], *, source: Path | None = None) -> S:
        """Build the tree from dotted keys.

        Raises:
            Misconfigured: E101 unknown key, E102 wrong type, E103 out of range, E104 a needed choice is missing,
                each with its line where a `source` is given.
        """
        return _build(cls, values, lambda key: _place(cls, source, key))

    @classmethod
    def from_toml(cls: type[S], source: Path) -> S:
        """Read the tree from its section of a `pyproject.toml`, or from a TOML file that holds only the tree.

        Raises:
            Misconfigured: E110 no such file, E111 not TOML, E101–E105 as `from_flat`, with the line.
        """
        try:
            values = dotted(table(read_toml(source), *_section(cls, source)))
        except Misconfigured as error:
            if error.code in ("E110", "E111"):
                raise
            raise _moved(error, _place(cls, source, error.place)) from None
        return cls.from_flat(values, source=source)

    def override(self: S, values: Mapping[str, Scalar]) -> S:
        """The same settings with some dotted keys changed."""
        return type(self).from_flat({**self.flat(), **values})

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Every dotted key that this tree knows."""
        return tuple(_keys(cls, ""))


def dotted(tree: Mapping[str, Any]) -> dict[str, Scalar]:
    """Nested tables as dotted keys, as Flower flattens its run configuration.

    Raises:
        Misconfigured: E102 for anything but str, int, float and bool, E105 for a key that is stated twice; the place is
            the key.

    >>> dotted({"privacy": {"epsilon": 3.0}, "rounds": 5})
    {'privacy.epsilon': 3.0, 'rounds': 5}
    """
    flat: dict[str, Scalar] = {}
    for name, value in leaves(tree):
        if not isinstance(value, str | int | float | bool):
            kind = type(value).__name__
            raise Misconfigured("E102", f"'{name}' must be text, a number or true/false, not {kind}", place=name)
        if name in flat:
            raise Misconfigured("E105", f"'{name}' is stated twice", place=name)
        flat[name] = value
    return flat


def parse_overrides(words: str | None) -> dict[str, Scalar]:
    """`'rounds=5 privacy.epsilon=2 aggregate.rule=krum'` as dotted keys; text needs no quotes.

    >>> parse_overrides("rounds=5 aggregate.rule=krum")
    {'rounds': 5, 'aggregate.rule': 'krum'}

    Raises:
        Misconfigured: E102 if they cannot be read, E105 if a key stands twice.
    """
    values: dict[str, Scalar] = {}
    try:
        parts = shlex.split(words or "")
    except ValueError as error:
        raise Misconfigured("E102", f"cannot read the overrides {words!r}: {error}") from None
    for part in parts:
        key, equals, text = part.partition("=")
        if not equals or not key:
            raise Misconfigured("E102", f"'{part}' is not key=value", hint="write for example -c 'rounds=5'")
        if key.strip() in values:
            raise Misconfigured("E105", f"'{key.strip()}' is stated twice", place=key.strip(), hint="write it once")
        values[key.strip()] = _scalar(text.strip())
    return values


def nearest(key: str, known: Sequence[str]) -> str:
    """A hint for a mistyped key: the nearest valid one, by its whole name or by its last part, else all of them.

    >>> nearest("epsilom", ["rounds", "privacy.epsilon"])
    "did you mean 'privacy.epsilon'?"
    """
    last_parts = {name.rsplit(".", 1)[-1]: name for name in reversed(known)}
    near = difflib.get_close_matches(key, known, 1, 0.6) or [
        last_parts[part] for part in difflib.get_close_matches(key.rsplit(".", 1)[-1], last_parts, 1, 0.6)
    ]
    return f"did you mean '{near[0]}'?" if near else "the keys are " + ", ".join(known)


def _scalar(text: str) -> Scalar:
    if "\n" in text or "#" in text:  # TOML would read on, or leave out a comment
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool) else text


def _read_fields(cls: type) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field, hints[field.name]) for field in dataclasses.fields(cls))


# Reading type hints is slow, and a job is built for every message.
_fields: Callable[[type], tuple[tuple[dataclasses.Field[Any], Any], ...]] = functools.cache(_read_fields)


def _flatten(tree: Settings, prefix: str) -> Iterator[tuple[str, Scalar]]:
    for field, _ in _fields(type(tree)):
        value = getattr(tree, field.name)
        if isinstance(value, Settings):
            yield from _flatten(value, f"{prefix}{field.name}.")
        elif value is not None:
            yield f"{prefix}{field.name}", value


def _keys(cls: type, prefix: str) -> Iterator[str]:
    for field, kind in _fields(cls):
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from _keys(kind, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _build(cls: type[S], values: Mapping[str, Scalar], locate: Locate, prefix: str = "") -> S:
    if not prefix:
        _refuse_unknown(cls, values, locate)
    chosen: dict[str, Any] = {}
    for field, kind in _fields(cls):
        name = f"{prefix}{field.name}"
        if isinstance(kind, type) and issubclass(kind, Settings):
            chosen[field.name] = _build(kind, values, locate, f"{name}.")
        elif name in values:
            _check(field, kind, values[name], name, locate)
            chosen[field.name] = values[name]
        elif field.default is dataclasses.MISSING:
            hint = f"write {name} = {_examples(field)}"
            raise Misconfigured("E104", f"'{name}' is not stated", place=locate(name), hint=hint)
    try:
        return cls(**chosen)
    except Misconfigured as error:  # a contradiction: the tree knows its key, the file knows its line
        raise _moved(error, locate(error.place) or error.place) from None


def _refuse_unknown(cls: type, values: Mapping[str, Scalar], locate: Locate) -> None:
    known = list(_keys(cls, ""))
    for key in values:
        if key not in known:
            raise Misconfigured("E101", f"unknown key '{key}'", place=locate(key), hint=nearest(key, known))


def _wants_float(kind: Any) -> bool:
    return kind is float or (isinstance(kind, types.UnionType) and float in typing.get_args(kind))


def _check(field: dataclasses.Field[Any], kind: Any, value: Any, name: str, locate: Locate = lambda key: "") -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:  # what TOML and Flower can carry
        raise Misconfigured("E103", f"'{name}' does not fit into 64 bits", place=locate(name))
    if isinstance(kind, types.UnionType):
        if value is None:
            return
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
        raise Misconfigured("E102", f"'{name}' must be {wanted}, not {value!r}", place=locate(name))
    bounds = field.metadata
    if bounds.get("choices") and value not in bounds["choices"]:
        near = difflib.get_close_matches(str(value), bounds["choices"], 1, 0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        hint += "the choices are " + ", ".join(bounds["choices"])
        raise Misconfigured("E103", f"'{name}' cannot be {value!r}", place=locate(name), hint=hint)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(bounds, value, name, locate)


def _check_range(bounds: Mapping[str, Any], value: float, name: str, locate: Locate) -> None:
    low, high, above, below = (bounds.get(key) for key in ("low", "high", "above", "below"))
    limits = [
        text
        for limit, holds, text in (
            (low, low is not None and value >= low, f"at least {low}"),
            (high, high is not None and value <= high, f"at most {high}"),
            (above, above is not None and value > above, f"more than {above}"),
            (below, below is not None and value < below, f"less than {below}"),
        )
        if limit is not None and not holds
    ]
    if limits or not math.isfinite(value):
        wanted = " and ".join(limits) or "a finite number"
        raise Misconfigured("E103", f"'{name}' is {value}, but must be {wanted}", place=locate(name))


def _examples(field: dataclasses.Field[Any]) -> str:
    choices = field.metadata.get("choices", ())
    *most, last = [f'"{choice}"' for choice in choices] or ["…"]
    return f"{', '.join(most)} or {last}" if most else last


def _moved(error: Misconfigured, place: str) -> Misconfigured:
    return Misconfigured(error.code, error.message, place=place, hint=error.hint)


def _section(cls: type[Settings], source: Path) -> tuple[str, ...]:
    return cls.section if source.name == "pyproject.toml" else ()


def _place(cls: type[Settings], source: Path | None, key: str) -> str:
    return "" if source is None else line_of(source, _section(cls, source), key)
