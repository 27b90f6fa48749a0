"""An attack as a scenario writes it, who runs it, and from which random streams."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.grammar import NUMBER
from hedgerow.scenario import Scenario
from hedgerow.simulations.attacks.registry import Kind, kind_of

__all__ = ["Attack", "Attacker", "attacker_indices", "attackers_of", "own_stream", "site_stream", "together_stream"]

ATTACKERS_STREAM, ATTACK_STREAM = 2, 5  # parts of a simulation's seed
TOGETHER, FIXED = 2**31, 2**31 + 1  # in the place of a site: all of them, and all of them in every round
ON_OFF = re.compile(r"on-off:([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """An attack and its numbers, written `sign-flip:4.0`; `badnets:0.5,7+on-off:3` runs it in every third round only.

    >>> Attack.parse("sign-flip:4")
    Attack(name='sign-flip', strength=4.0, more=(), every=1)
    """

    name: str
    strength: float
    more: tuple[float, ...] = ()
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> Attack:
        """Read `NAME`, `NAME:STRENGTH` or `NAME:STRENGTH,NUMBER,…`, each perhaps followed by `+on-off:ROUNDS`.

        Raises:
            Misconfigured: E103 for an unknown name, or a number that is not one or out of the attack's range.
        """
        written, plus, schedule = text.partition("+")
        every = ON_OFF.fullmatch(schedule.strip())
        if plus and every is None:
            raise Misconfigured("E103", f"'{text}': '{schedule}' is no schedule", hint="write for example +on-off:3")
        name, colon, rest = (part.strip() for part in written.partition(":"))
        kind = kind_of(name)
        words = [word.strip() for word in rest.split(",")] if colon else []
        if len(words) > len(kind.parameters) or not all(NUMBER.fullmatch(word) for word in words):
            raise _refused(text, kind)
        numbers = [float(word) for word in words] + [one.default for one in kind.parameters[len(words) :]]
        for number, parameter in zip(numbers[: len(words)], kind.parameters, strict=False):
            if not parameter.number.admits(number):
                raise _refused(text, kind)
        return cls(
            name=name, strength=numbers[0], more=tuple(numbers[1:]), every=int(every[1]) if every is not None else 1
        )

    @classmethod
    def of(cls, scenario: Scenario) -> Attack | None:
        """The scenario's attack with the scenario's strength; None without one.

        Raises:
            Misconfigured: as `parse`, and E105 if the strength is stated twice.
        """
        if scenario.attack == "none":
            return None
        attack = cls.parse(scenario.attack)
        if scenario.strength is None:
            return attack
        if ":" in scenario.attack.partition("+")[0]:
            raise Misconfigured(
                "E105",
                f"attack '{scenario.attack}' and strength {scenario.strength:g}",
                place="strength",
                hint="state the strength once",
            )
        kind = kind_of(attack.name)
        if not kind.parameters[0].number.admits(scenario.strength):
            raise _refused(f"{attack.name}:{scenario.strength:g}", kind)
        return replace(attack, strength=scenario.strength)

    @property
    def kind(self) -> Kind:
        """What is known about the attack of that name."""
        return kind_of(self.name)

    @property
    def of_records(self) -> tuple[float, tuple[float, ...]]:
        """The strength of what it does to records, and the numbers after it.

        >>> Attack.parse("model-replacement:2,0.25,7").of_records
        (0.25, (7.0,))
        """
        numbers = (self.strength, *self.more) if self.kind.change is None else self.more
        return numbers[0], numbers[1:]

    def acts(self, round: int) -> bool:
        """Whether the hostile sites attack in that round (1, 2, …) or behave.

        >>> [Attack.parse("alie+on-off:3").acts(round) for round in range(1, 7)]
        [False, False, True, False, False, True]
        """
        return round % self.every == 0

    def __str__(self) -> str:
        numbers = ",".join(f"{number!r}" for number in (self.strength, *self.more))
        return f"{self.name}:{numbers}" + (f"+on-off:{self.every}" if self.every > 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacker:
    """One hostile site's part: its attack, and that it is number `rank` of `attackers` among `sites`.

    Written `dba:0.5,0.0@1/2/10`, so that a site's own command can be told.

    >>> Attacker.parse("sign-flip:4@1/2/10")
    Attacker(attack=Attack(name='sign-flip', strength=4.0, more=(), every=1), rank=1, attackers=2, sites=10)
    """

    attack: Attack
    rank: int = 0
    attackers: int = 1
    sites: int = 1

    @classmethod
    def parse(cls, text: str) -> Attacker:
        """Read `ATTACK` or `ATTACK@RANK/ATTACKERS/SITES`.

        Raises:
            Misconfigured: as `Attack.parse`; E103 if the place is not one.
        """
        words, at, place = text.partition("@")
        attack = Attack.parse(words)
        if not at:
            return cls(attack=attack)
        numbers = [int(word) for word in place.split("/") if word.isdecimal()]
        if len(numbers) != 3 or not numbers[0] < numbers[1] <= numbers[2]:
            raise Misconfigured("E103", f"'{place}' is no RANK/ATTACKERS/SITES", place="attack")
        return cls(attack=attack, rank=numbers[0], attackers=numbers[1], sites=numbers[2])

    def __str__(self) -> str:
        return f"{self.attack}@{self.rank}/{self.attackers}/{self.sites}"


def attacker_indices(scenario: Scenario) -> frozenset[int]:
    """Which sites attack: drawn by the scenario's seed."""
    rng = np.random.default_rng(np.random.SeedSequence(scenario.seed, spawn_key=(ATTACKERS_STREAM,)))
    return frozenset(int(index) for index in rng.choice(scenario.sites, scenario.attackers, replace=False))


def attackers_of(scenario: Scenario) -> dict[int, Attacker]:
    """Each hostile site's part, by its index.

    Raises:
        Misconfigured: as `Attack.of`.
    """
    attack = Attack.of(scenario)
    if attack is None:
        return {}
    hostile = sorted(attacker_indices(scenario))
    return {
        index: Attacker(attack=attack, rank=rank, attackers=len(hostile), sites=scenario.sites)
        for rank, index in enumerate(hostile)
    }


def own_stream(seed: int, site: int, round: int) -> np.random.Generator:
    """What a blind attacker draws from in a round."""
    return _stream(seed, site, round)


def site_stream(seed: int, site: int) -> np.random.Generator:
    """What a hostile site draws from to poison its records: the same in every round."""
    return _stream(seed, site)


def together_stream(seed: int, round: int | None) -> np.random.Generator:
    """What attackers in collusion draw from in a round; without one, the same in every round and for blind ones too."""
    return _stream(seed, FIXED) if round is None else _stream(seed, TOGETHER, round)


def _stream(seed: int, *place: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ATTACK_STREAM, *place)))


def _refused(text: str, kind: Kind) -> Misconfigured:
    numbers = "; ".join(f"{one.number} ({one.meaning}, {one.default:g} unless stated)" for one in kind.parameters)
    return Misconfigured("E103", f"'{text}' is not within what {kind.name} takes", place="attack", hint=numbers)
