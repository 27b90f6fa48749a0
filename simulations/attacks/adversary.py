"""The hostile sites of a run in a round: from the updates that arrived to the rows that they answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.simulations.attacks.attack import Attack, Attacker, own_stream, together_stream
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["Adversary", "poisoned_update"]


class Adversary:
    """All hostile sites of a simulated run, by their index, behind one attack.

    The same `seed` gives the same rows on every engine. A blind site's row depends on its own update, its index and the
    round alone. Where the attack sees honest updates, the hostile sites are one adversary that answers after them.
    `rule` is the server's own, for an attack that knows it.

    An update under record-level privacy reaches an attack with its noise, an honest one's and the own. What a hostile
    site then answers holds whatever the attack makes of it: no noise is added, whatever its ledger says.
    """

    def __init__(
        self,
        attackers: Mapping[int, Attacker],
        *,
        seed: int,
        rounds: int,
        rule: Callable[[Rows], Vector] | None = None,
    ) -> None:
        self._attackers = attackers
        self._seed = seed
        self._rounds = rounds
        self._rule = rule
        self._state: dict[int, dict[str, npt.NDArray[np.generic]]] = {}

    @property
    def sites(self) -> frozenset[int]:
        """The indices of the hostile sites."""
        return frozenset(self._attackers)

    def answers(self, *, round: int, sites: Sequence[int], own: Rows, honest: Rows, last: Vector | None = None) -> Rows:
        """The rows (b, d) of the hostile `sites` that would have answered with `own`, beside `honest` ones (h, d).

        Without an honest update to see, or in a round without attack, they are what they were.

        Raises:
            Misconfigured: E126 if a registered attack returns something else than rows.
        """
        if not len(sites):
            return own
        some = self._attackers[sites[0]]
        kind = some.attack.kind
        if kind.change is None or not some.attack.acts(round) or (kind.collude and not len(honest)):
            return own

        def scene(attacker: Attacker, own: Rows, honest: Rows, rng: np.random.Generator, key: int) -> Scene:
            return Scene(
                honest=honest,
                own=own,
                rule=self._rule if kind.sees == "rule" else None,
                last=last,
                rng=rng,
                fixed=together_stream(self._seed, None),
                round=round,
                rounds=self._rounds,
                strength=attacker.attack.strength,
                more=attacker.attack.more,
                state=self._state.setdefault(key, {}),
                attackers=attacker.attackers,
                sites=attacker.sites,
            )

        if kind.collude:
            return self._run(scene(some, own, honest, together_stream(self._seed, round), -1), some.attack)
        rows = []
        for at, site in enumerate(sites):
            rng = own_stream(self._seed, site, round)
            alone = scene(self._attackers[site], own[at : at + 1], own[:0], rng, site)
            rows.append(self._run(alone, some.attack))
        return np.concatenate(rows)

    def _run(self, scene: Scene, attack: Attack) -> Rows:
        change = attack.kind.change
        assert change is not None
        with np.errstate(over="ignore", invalid="ignore"):  # honest updates of a model that diverges are not finite
            found = np.asarray(change(scene))
            if found.shape not in (scene.own.shape, scene.own.shape[1:]):
                raise Misconfigured(
                    "E126",
                    f"the attack '{attack.name}' returned {found.shape} for {len(scene.own)} hostile sites",
                    hint=f"return rows {scene.own.shape}, or one {scene.own.shape[1:]} for all",
                )
            rows: Rows = np.broadcast_to(found, scene.own.shape).astype(scene.own.dtype)
        return rows


def poisoned_update(
    update: Vector, attack: Attack | Attacker, *, seed: int, site: int, round: int, last: Vector | None = None
) -> Vector:
    """What a blind hostile site answers in place of its honest update (d,)."""
    attacker = attack if isinstance(attack, Attacker) else Attacker(attack=attack)
    adversary = Adversary({site: attacker}, seed=seed, rounds=round)
    row: Vector = adversary.answers(round=round, sites=[site], own=update[None], honest=update[None][:0], last=last)[0]
    return row
