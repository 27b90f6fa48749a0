"""What exists only in simulation: how many sites, their data, who attacks, who is there and how fast, and the seed.

A `Scenario` lives beside the job, never in it, so that a job has the same digest simulated, attacked and deployed.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Choice, Form, Grammar, Number
from hedgerow.job import project_file
from hedgerow.settings import Settings, option

__all__ = ["ATTACKS", "BUILT_IN", "GRAMMARS", "TOO_ALIKE", "Scenario"]

BUILT_IN = (
    "sign-flip",
    "gaussian",
    "scale",
    "free-rider",
    "drift",
    "ipm",
    "ipm-searched",
    "alie",
    "alie-searched",
    "mimic",
    "min-max",
    "min-max-sign",
    "min-max-unit",
    "min-sum",
    "min-sum-sign",
    "min-sum-unit",
    "fang-krum",
    "fang-trimmed-mean",
    "sybil",
    "label-flip",
    "label-flip-dynamic",
    "label-flip-targeted",
    "feature-noise",
    "clean-label",
    "badnets",
    "dba",
    "edge-case",
    "neurotoxin",
    "model-replacement",
    "model-replacement-capped",
)
"""The attacks of `hedgerow.simulations.attacks`, by name: a scenario is read without loading them."""

ATTACKS = ["none", *BUILT_IN]
"""What `attack` may name. Registering an attack of one's own adds its name."""

TOO_ALIKE = 0.75  # difflib's ratio from which an unknown name is taken for a mistyped one
_ATTACK = re.compile(r"(?P<name>[a-z][a-z0-9]*(-[a-z0-9]+)*)(:[0-9eE.,+\- ]+?)?(\+on-off:[1-9][0-9]{0,8})?")

# Within these bounds numpy's Dirichlet draw neither underflows nor overflows.
_ALPHA = Number(name="ALPHA", low=1e-6, high=1e6)
_SIGMA = Number(name="SIGMA", high=5)


def _rate(name: str, unit: str, free: str) -> Grammar:
    """Something per second that a site does not have, or has like every other, or drawn for each site."""
    most = 1e15
    return Grammar(
        name=name,
        forms=(
            Form(kind=free),
            Form(kind="constant", numbers=(Number(name=unit, high=most, above=True),), example="constant:1000"),
            Form(
                kind="lognormal",
                numbers=(Number(name="MEDIAN", high=most, above=True), _SIGMA),
                example="lognormal:1000,1",
            ),
        ),
    )


GRAMMARS: Mapping[str, Grammar] = {
    grammar.name: grammar
    for grammar in (
        Grammar(
            name="split",
            forms=(
                Form(kind="iid"),
                Form(kind="dirichlet", numbers=(_ALPHA,), example="dirichlet:0.5"),
                Form(
                    kind="labels",
                    numbers=(Number(name="PER_SITE", low=1, high=2**31, whole=True),),
                    example="labels:2",
                ),
                Form(kind="quantity", numbers=(_ALPHA,), example="quantity:0.5"),
                Form(kind="column"),
            ),
        ),
        Grammar(
            name="shift",
            forms=(
                Form(kind="none"),
                Form(kind="affine", numbers=(Number(name="S", high=10),), example="affine:0.3"),
            ),
        ),
        Grammar(
            name="drift",
            forms=(
                Form(kind="none"),
                Form(kind="labels", numbers=(Number(name="SHARE", high=1, above=True),), example="labels:0.4"),
            ),
        ),
        Grammar(
            name="availability",
            forms=(
                Form(kind="always"),
                Form(kind="random", numbers=(Number(name="P", high=1, above=True),), example="random:0.3"),
                Form(
                    kind="diurnal",
                    numbers=(Number(name="LOW", high=1), Number(name="HIGH", high=1, above=True)),
                    example="diurnal:0.1,0.4",
                ),
                Form(kind="trace", text="FILE.csv", example="trace:sites.csv"),
            ),
        ),
        Grammar(
            name="join",
            forms=(
                Form(kind="all"),
                Form(kind="uniform", numbers=(Number(name="SECONDS", high=1e9),), example="uniform:3600"),
            ),
        ),
        Grammar(
            name="latency",
            forms=(
                Form(kind="none"),
                Form(kind="constant", numbers=(Number(name="SECONDS", high=1e9),), example="constant:0.1"),
                Form(
                    kind="lognormal",
                    numbers=(Number(name="MEDIAN", high=1e9, above=True), _SIGMA),
                    example="lognormal:0.1,0.5",
                ),
            ),
        ),
        _rate("bandwidth", "BYTES_PER_SECOND", "none"),
        _rate("speed", "RECORDS_PER_SECOND", "instant"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Settings):
    """A simulated federation.

    `split` is `iid`, `dirichlet:ALPHA`, `labels:PER_SITE`, `quantity:ALPHA` or `column` (a table's own site column);
    `shift` moves each site's features, `drift` its labels over the rounds. `availability`, `join`, `latency`,
    `bandwidth`, `speed` and `dropout` say on a simulated clock who is there and how long an answer takes; their
    defaults are a federation where everybody always is and nothing takes time. docs/conditions.md has their forms.
    `root` records, drawn before the split, are the server's own, for rules that need some (FLTrust).
    `attackers` sites, drawn by the seed, run `attack`: a name, perhaps with its numbers behind it (`sign-flip:4`, and
    `+on-off:3` to attack in every third round only; docs/attacks.md has them all). `strength` is the first of those
    numbers, stated by itself. A name that is like none here may be one of the user's own: it is looked up when the
    run starts.

    Raises:
        Misconfigured: E102 and E103 for a value out of its range or grammar, E105 for two that contradict each other.

    >>> Scenario(sites=5, attack="sign-flip", attackers=1).split
    'dirichlet:0.5'
    """

    section: ClassVar[tuple[str, ...]] = ("tool", "hedgerow", "scenario")
    sites: int = option(10, low=1)
    split: str = option("dirichlet:0.5")
    shift: str = option("none")
    drift: str = option("none")
    availability: str = option("always")
    join: str = option("all")
    latency: str = option("none")
    bandwidth: str = option("none")
    speed: str = option("instant")
    dropout: float = option(0.0, low=0, high=1)
    attack: str = option("none")
    attackers: int = option(0, low=0)
    strength: float | None = option(None, above=0)
    root: int = option(0, low=0)
    seed: int = option(0, low=0, high=2**63 - 1)

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        choices = {key: self.choice(key) for key in GRAMMARS}
        swing = choices["availability"]
        if swing.kind == "diurnal" and swing.numbers[0] > swing.numbers[1]:
            raise Misconfigured(
                "E103",
                f"availability '{self.availability}' states a LOW above its HIGH",
                place="availability",
                hint=f"write diurnal:{swing.numbers[1]:g},{swing.numbers[0]:g}",
            )
        _check_attack(self.attack)
        if self.attackers > self.sites:
            raise Misconfigured("E105", f"{self.attackers} attackers among {self.sites} sites", place="attackers")
        if (self.attack == "none") != (self.attackers == 0):
            raise Misconfigured(
                "E105",
                f"attack = '{self.attack}' with attackers = {self.attackers}",
                place="attack",
                hint="an attack needs attackers, and attackers need an attack",
            )

    def choice(self, key: str) -> Choice:
        """The setting `key` of one of `GRAMMARS`, read.

        >>> Scenario(availability="diurnal:0.1,0.4").choice("availability").numbers
        (0.1, 0.4)
        """
        return GRAMMARS[key].parse(getattr(self, key))

    @classmethod
    def load(cls, path: str | Path) -> "Scenario":
        """Read `[tool.hedgerow.scenario]` of a project's `pyproject.toml`; the defaults where it has none.

        Raises:
            Misconfigured: E110 no such file, E111 not TOML, E101–E105 with the line.
        """
        return cls.from_toml(project_file(Path(path)))


def _check_attack(written: str) -> None:
    """Refuse what is not in the grammar, and what is nearly the name of an attack.

    Raises:
        Misconfigured: E103.
    """
    read = _ATTACK.fullmatch(written)
    if read is not None and read["name"] in ATTACKS and (read["name"] != "none" or written == "none"):
        return
    near = difflib.get_close_matches(written.partition(":")[0].partition("+")[0], ATTACKS, 1, TOO_ALIKE)
    if read is None or read["name"] == "none" or near:
        hint = f"did you mean '{near[0]}'? " if near else ""
        hint += "write NAME, NAME:STRENGTH or NAME:STRENGTH+on-off:ROUNDS; the names are " + ", ".join(ATTACKS)
        raise Misconfigured("E103", f"'attack' cannot be {written!r}", place="attack", hint=hint)
