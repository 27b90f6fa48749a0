"""What an attacker is given: the updates that it sees, or the records that it holds, and what it knows beside them."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hedgerow.simulations.attacks.trigger import Trigger
from hedgerow.task import Split

__all__ = ["RecordScene", "Rows", "Scene", "Sees", "Vector"]

Rows = npt.NDArray[np.floating]
Vector = npt.NDArray[np.floating]

Sees = Literal["own", "honest", "rule"]
"""The adversary: `own` is blind (its own data, the models it is sent), `honest` are hostile sites in collusion that see
every honest update of the round before they answer, `rule` can also run the server's own rule on what it likes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One round as an attack on updates sees it.

    `honest` (h, d): the honest updates that arrived, in the order of their sites; empty for one that sees its `own`.
    `own` (b, d): what the hostile sites would have answered, trained on their (perhaps poisoned) records: one row for
    an attacker that is blind, all of them in collusion. `rule`: rows (n, d) → (d,) as the server will aggregate; None
    unless the attack sees it. `last`: (d,), by how much the global model moved before this round; None in the first.
    `rng` is the round's own generator, `fixed` starts anew the same in every round and at every attacker. `strength`
    and `more` are the numbers of the scenario. `state` starts empty and is kept while this process runs the rounds: a
    run that goes on after a stop is the same as without it only if the attack keeps nothing there.
    `attackers` of `sites` are hostile in the whole federation.
    """

    honest: Rows
    own: Rows
    rule: Callable[[Rows], Vector] | None
    last: Vector | None
    rng: np.random.Generator
    fixed: np.random.Generator
    round: int
    rounds: int
    strength: float
    more: tuple[float, ...]
    state: MutableMapping[str, npt.NDArray[np.generic]]
    attackers: int
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordScene:
    """A hostile site's training records as an attack on data sees them, before the site's own view of its features.

    `records` (n, …) with labels among `classes`. The site is number `rank` of `attackers`. `rng` is the site's own and
    the same in every round. `trigger` is what all attackers agreed on. `logits`: records' x → (n, classes) by the model
    that the site was sent; None for an attack that does not ask for it.
    """

    records: Split
    classes: int
    rank: int
    attackers: int
    strength: float
    more: tuple[float, ...]
    rng: np.random.Generator
    trigger: Trigger
    logits: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]] | None = None
