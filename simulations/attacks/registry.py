"""Every attack by the name that a scenario uses: the built-in ones, and those that a user registers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, cast, overload

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Number
from hedgerow.scenario import ATTACKS, BUILT_IN, TOO_ALIKE
from hedgerow.simulations.attacks.scene import RecordScene, Rows, Scene, Sees
from hedgerow.task import Split

__all__ = ["KINDS", "Change", "Kind", "Parameter", "Poison", "kind_of", "register_attack", "register_poison"]

Change = Callable[[Scene], Rows]
Poison = Callable[[RecordScene], Split]
F = TypeVar("F", bound=Callable[..., object])

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LARGEST = 1e9  # strength of an attack that states no range of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that may follow an attack's name: its range, what it is without a word, and what it means."""

    number: Number
    default: float
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """What is known about an attack.

    `change` turns a round's `Scene` into the hostile sites' rows, `poison` a hostile site's records into those that it
    trains on; an attack has one of them or both. `success` turns held-out records into those on which a backdoor is
    tried, labelled as the attacker wants them. `adapts`: whether the poison depends on the model that the site is sent.
    `keeps_features`: whether it touches labels alone.
    """

    name: str
    sees: Sees
    summary: str
    source: str
    parameters: tuple[Parameter, ...]
    change: Change | None = None
    poison: Poison | None = None
    success: Poison | None = None
    adapts: bool = False
    keeps_features: bool = False

    @property
    def collude(self) -> bool:
        """Whether the hostile sites must know more than each its own, so that real sites cannot run it."""
        return self.sees != "own"


_KINDS: dict[str, Kind] = {}
KINDS: Mapping[str, Kind] = MappingProxyType(_KINDS)
"""Every attack by name."""


def kind_of(name: str) -> Kind:
    """The attack of that name.

    Raises:
        Misconfigured: E103 with the nearest name.

    >>> from hedgerow.simulations.attacks import kind_of
    >>> kind_of("alie").sees
    'honest'
    """
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, 1, 0.5)
        hint = (f"did you mean '{near[0]}'? " if near else "") + "the attacks are " + ", ".join(KINDS)
        raise Misconfigured("E103", f"unknown attack '{name}'", place="attack", hint=hint)
    return KINDS[name]


def register_attack(
    name: str,
    *,
    sees: Sees,
    strength: float | Parameter = 1.0,
    more: tuple[Parameter, ...] = (),
    source: str = "",
    records: str = "",
) -> Callable[[F], F]:
    """Make a function from a `Scene` to the hostile rows, (b, d) or one (d,) for all, an attack of that name.

    `sees` states the adversary. `strength` is its default, or its range and meaning as well; `more` are further
    numbers. `records` names an attack on data that the hostile sites train by first. The first line of the docstring
    describes it. The name is known to scenarios from then on, in this process: register it in a module that the task's
    imports. A function of the same name in its place (a notebook's cell run again) replaces it.

    Raises:
        Misconfigured: E103 for a name that is not in kebab case or reads like a built-in one, E105 if it is taken.

    >>> @register_attack("echo", sees="honest", strength=2.0)
    ... def echo(scene: Scene) -> Rows:
    ...     '''Say what the first honest site said, louder.'''
    ...     return scene.strength * scene.honest[0]
    >>> kind_of("echo").summary
    'Say what the first honest site said, louder.'
    """
    base = kind_of(records) if records else None

    def register(function: F) -> F:
        kind = Kind(
            name=name,
            sees=sees,
            summary=_summary(function),
            source=source,
            parameters=(_strength(strength), *(base.parameters if base is not None else ()), *more),
            change=cast(Change, function),
            poison=None if base is None else base.poison,
            success=None if base is None else base.success,
            adapts=base is not None and base.adapts,
            keeps_features=base is None or base.keeps_features,
        )
        return _kept(kind, function)

    return register


def register_poison(
    name: str,
    *,
    strength: float | Parameter = 1.0,
    more: tuple[Parameter, ...] = (),
    source: str = "",
    success: Poison | None = None,
    adapts: bool = False,
    keeps_features: bool = False,
) -> Callable[[F], F]:
    """Make a function from a `RecordScene` to the records that a hostile site trains on an attack of that name.

    As many records must come out as went in. The adversary is blind. The rest is as in `register_attack` and `Kind`.

    Raises:
        Misconfigured: as `register_attack`.
    """

    def register(function: F) -> F:
        kind = Kind(
            name=name,
            sees="own",
            summary=_summary(function),
            source=source,
            parameters=(_strength(strength), *more),
            poison=cast(Poison, function),
            success=success,
            adapts=adapts,
            keeps_features=keeps_features,
        )
        return _kept(kind, function)

    return register


def _kept(kind: Kind, function: F) -> F:
    name = kind.name
    if name in KINDS and function.__qualname__ != _qualname(KINDS[name]):
        raise Misconfigured("E105", f"there is an attack '{name}' already", place="attack", hint="choose another name")
    if not NAME.fullmatch(name):
        raise Misconfigured("E103", f"'{name}' cannot name an attack", place="attack", hint="write it like my-attack")
    if name not in ATTACKS:
        if near := difflib.get_close_matches(name, BUILT_IN, 1, TOO_ALIKE):
            raise Misconfigured("E103", f"'{name}' reads like '{near[0]}'", place="attack", hint="choose another name")
        ATTACKS.append(name)
    _KINDS[name] = kind
    return function


@overload
def _strength(given: Parameter) -> Parameter: ...
@overload
def _strength(given: float) -> Parameter: ...
def _strength(given: float | Parameter) -> Parameter:
    if isinstance(given, Parameter):
        return given
    return Parameter(number=Number(name="STRENGTH", high=LARGEST, above=True), default=given, meaning="strength")


def _qualname(kind: Kind) -> str:
    return str(getattr(kind.change or kind.poison, "__qualname__", ""))


def _summary(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]
