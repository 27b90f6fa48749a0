"""Attacks that know the rule: their strength is searched in each round for what moves the server's aggregate most."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from hedgerow.errors import HedgerowError
from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of, row_of, spread_of
from hedgerow.simulations.attacks.inner_product import TAU
from hedgerow.simulations.attacks.little import OTHER_SIDE, largest_z
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["deviation", "search"]

GRID = 8  # strengths that are tried first, in equal ratios
REFINED = 3  # times that the two neighbours of the best one are halved
ALIKE = 1e-5  # of the largest deviation: nearer ones differ by rounding
TAUS, ZS = (0.1, 10.0), (0.1, 10.0)

Rule = Callable[[Rows], Vector]


def deviation(rule: Rule, honest: npt.NDArray[np.floating], row: Vector, copies: int) -> float:
    """|rule(honest and `copies` of `row`) - mean(honest)|: what the attack is worth; 0 where the rule refuses."""
    rows = np.concatenate([honest, np.broadcast_to(row, (copies, honest.shape[1]))])
    return _moved(rule, rows, mean_of(honest))


def _moved(rule: Rule, rows: Rows, mean: npt.NDArray[np.float64]) -> float:
    try:
        moved = np.asarray(rule(rows), np.float64)
    except HedgerowError:  # a void round is no success: the server sees it
        return 0.0
    found = float(np.linalg.norm(moved - mean))
    return found if np.isfinite(found) else 0.0


def search(
    honest: npt.ArrayLike,
    make: Callable[[float], Vector],
    *,
    rule: Rule,
    copies: int,
    between: tuple[float, float],
    also: tuple[float, ...] = (),
) -> tuple[float, Vector]:
    """The strength whose `copies` of `make(strength)` move the aggregate most, and the row (d,).

    Eight strengths `between` two in equal ratios and those in `also` are tried, then three times the middles towards
    the two neighbours of the best. It is the smallest of the best of all that were tried; the deviation need not
    have one peak, so a better one may exist. Costs some 15 calls of the rule.

    Source: Shejwalkar and Houmansadr, NDSS 2021, section IV (the rule known); Allouah et al., AISTATS 2023 (ALIE and
    IPM with a line search).
    """
    rows = as_rows(honest)
    mean, all_rows = mean_of(rows), np.concatenate([rows, np.zeros((copies, rows.shape[1]), rows.dtype)])
    worth: dict[float, float] = {}

    def tried(strength: float) -> None:
        if strength not in worth:
            all_rows[len(rows) :] = make(strength)
            worth[strength] = _moved(rule, all_rows, mean)

    for strength in (*np.geomspace(*between, GRID).tolist(), *also):
        tried(strength)
    for _ in range(REFINED if max(worth.values()) else 0):
        best = _best(worth)
        order = sorted(worth)
        place = order.index(best)
        for neighbour in order[max(place - 1, 0) : place] + order[place + 1 : place + 2]:
            tried(float(np.sqrt(best * neighbour)))
    best = _best(worth)
    return best, make(best)


def _best(worth: Mapping[float, float]) -> float:
    """The smallest strength that is worth as much as any: the same one whatever the last bits of the updates are.

    Where nothing is worth anything, as under a rule that refuses the attacker, the last one: a fixed one if there is.
    """
    most = max(worth.values())
    if not most:
        return list(worth)[-1]
    return min(strength for strength, value in worth.items() if value >= (1 - ALIKE) * most)


def _most(default: float, name: str) -> Parameter:
    return Parameter(
        number=Number(name=name, high=1e9, above=True), default=default, meaning="the largest strength to try"
    )


@register_attack(
    "ipm-searched",
    sees="rule",
    strength=_most(TAUS[1], "TAU"),
    source="Xie et al., UAI 2019; searched as in Shejwalkar and Houmansadr, NDSS 2021, section IV",
)
def _ipm_searched(scene: Scene) -> Rows:
    """Answer with minus the honest mean, times what moves the server's aggregate most."""
    assert scene.rule is not None
    mean = mean_of(scene.honest)
    most = scene.strength
    return search(
        scene.honest,
        lambda tau: row_of(-tau * mean, scene.honest),
        rule=scene.rule,
        copies=len(scene.own),
        between=(min(TAUS[0], most), most),
        also=(min(TAU, most),),
    )[1]


@register_attack(
    "alie-searched",
    sees="rule",
    strength=_most(ZS[1], "Z"),
    more=(OTHER_SIDE,),
    source="Baruch et al., NeurIPS 2019; searched as in Shejwalkar and Houmansadr, NDSS 2021, section IV",
)
def _alie_searched(scene: Scene) -> Rows:
    """Answer with the honest mean and as many standard deviations on top as move the aggregate most."""
    assert scene.rule is not None
    mean, spread = mean_of(scene.honest), spread_of(scene.honest)
    most, fixed = scene.strength, largest_z(len(scene.honest) + len(scene.own), len(scene.own))
    side = -1.0 if scene.more[0] else 1.0
    return search(
        scene.honest,
        lambda z: row_of(mean + side * z * spread, scene.honest),
        rule=scene.rule,
        copies=len(scene.own),
        between=(min(ZS[0], most), most),
        also=(min(fixed or 1.0, most),),
    )[1]
