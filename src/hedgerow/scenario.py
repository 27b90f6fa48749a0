"""What exists only in simulation: how many sites, how the data is split, who attacks, and the seed.

A `Scenario` lives beside the job, never in it, so that a job has the same digest simulated, attacked and deployed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hedgerow.errors import Misconfigured
from hedgerow.job import project_file
from hedgerow.settings import Settings, option

__all__ = ["ATTACKS", "Scenario"]

ATTACKS = ("none", "sign-flip", "label-flip", "gaussian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Settings):
    """A simulated federation.

    `split` is `iid`, `dirichlet:ALPHA`, `labels:PER_SITE`, `quantity:ALPHA` or `column` (a table's own site column).
    `attackers` sites, drawn by the seed, run `attack`; `strength` scales it (each attack documents its unit).

    >>> Scenario(sites=5, attack="sign-flip", attackers=1).split
    'dirichlet:0.5'
    """

    section: ClassVar[tuple[str, ...]] = ("tool", "hedgerow", "scenario")
    sites: int = option(10, low=1)
    split: str = option("dirichlet:0.5")
    attack: str = option("none", choices=ATTACKS)
    attackers: int = option(0, low=0)
    strength: float | None = option(None, above=0)
    seed: int = option(0, low=0, high=2**63 - 1)

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if self.attackers > self.sites:
            raise Misconfigured("E105", f"{self.attackers} attackers among {self.sites} sites", place="attackers")
        if (self.attack == "none") != (self.attackers == 0):
            raise Misconfigured(
                "E105",
                f"attack = '{self.attack}' with attackers = {self.attackers}",
                place="attack",
                hint="an attack needs attackers, and attackers need an attack",
            )

    @classmethod
    def load(cls, path: str | Path) -> "Scenario":
        """Read `[tool.hedgerow.scenario]` of a project's `pyproject.toml`; the defaults where it has none.

        Raises:
            Misconfigured: E110 no such file, E111 not TOML, E101–E105 with the line.
        """
        return cls.from_toml(project_file(Path(path)))
