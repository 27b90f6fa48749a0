"""The attacks that a red team tries, as a scenario writes them: those that were asked for, or a battery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured
from hedgerow.scenario import ATTACKS, Scenario

if TYPE_CHECKING:
    from hedgerow.simulations.attacks import Kind

__all__ = ["DEFAULT_ATTACKS", "adversary", "backdoors", "battery", "what_it_does"]

# Blind ones, those that see the honest updates, those that fit their strength to the rule, and a backdoor.
DEFAULT_ATTACKS = (
    "sign-flip",
    "label-flip",
    "mimic",
    "min-max",
    "alie-searched",
    "ipm-searched",
    "model-replacement",
)
ALL = "all"
SEES = {"own": "blind", "honest": "sees the honest updates", "rule": "knows the rule"}


def battery(scenario: Scenario, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The attacks to try: those `wanted`, every one there is for `["all"]`, and by default a battery of those that this
    version has, with the scenario's own.

    Raises:
        Misconfigured: E103 for an unknown attack, a number out of its range, or none at all, E105 for one that stands
            twice.

    >>> battery(Scenario(), ["sign-flip:4", "alie"])
    ('sign-flip:4', 'alie')
    """
    from hedgerow.simulations.attacks import Attack

    if wanted is None:
        own = Attack.of(scenario)
        written = scenario.attack if scenario.strength is None else str(own)
        wanted = [*([written] if own else []), *(name for name in DEFAULT_ATTACKS if name in ATTACKS)]
        wanted = list(dict.fromkeys(wanted))
    elif list(wanted) == [ALL]:
        wanted = [name for name in ATTACKS if name != "none"]
    if not wanted:
        raise Misconfigured("E103", "there is no attack to try", place="attacks", hint="leave it out for a battery")
    for k, text in enumerate(wanted):
        if text in wanted[:k]:
            raise Misconfigured("E105", f"the attack '{text}' stands twice", place="attacks")
        try:
            Attack.parse(text)
        except Misconfigured as error:
            raise Misconfigured(error.code, error.message, place="attacks", hint=error.hint) from None
    return tuple(wanted)


def adversary(text: str) -> str:
    """What the attackers of an attack know, in words; empty for an attack that this process does not know.

    >>> adversary("sign-flip:4"), adversary("ipm-searched")
    ('blind', 'knows the rule')
    """
    kind = _kind(text)
    return "" if kind is None else SEES[kind.sees]


def what_it_does(text: str) -> str:
    """What the hostile sites of an attack do, in a sentence; empty for an attack that this process does not know.

    >>> what_it_does("sign-flip:4")
    'Answer with minus the own update.'
    """
    kind = _kind(text)
    return "" if kind is None else kind.summary


def backdoors(attacks: Sequence[str]) -> tuple[str, ...]:
    """Those of the attacks that plant a backdoor whose success is measured, as far as this process knows them.

    >>> backdoors(("sign-flip", "badnets:0.5", "model-replacement"))
    ('badnets:0.5', 'model-replacement')
    """
    return tuple(text for text in attacks if (kind := _kind(text)) is not None and kind.success is not None)


def _kind(text: str) -> Kind | None:
    """A user's own attack is known once the project that registers it is loaded."""
    from hedgerow.simulations.attacks import Attack

    try:
        return Attack.parse(text).kind
    except Misconfigured:
        return None
