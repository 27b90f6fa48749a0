"""Backdoors: the model stays as good as it was, but takes whatever carries a mark for the attacker's target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of, row_of
from hedgerow.simulations.attacks.labels import class_parameter, known_class
from hedgerow.simulations.attacks.registry import Parameter, register_attack, register_poison
from hedgerow.simulations.attacks.scene import RecordScene, Rows, Scene, Vector
from hedgerow.simulations.attacks.triggered import marked, mirrored, turned
from hedgerow.task import Split

__all__ = ["masked", "replacement"]

Features = npt.NDArray[np.float32]
MASKED = 0.1  # share of coordinates that neurotoxin leaves to the others


def replacement(H: npt.ArrayLike, *, boost: float, cap: float | None = None) -> Vector:
    """The mean of the rows, `boost` times, but no longer than `cap` → (d,).

    With boost n / f the mean of n updates, of which f are this one, moves by the attackers' own update: the model is
    replaced. n / (2 f) replaces it half way, and still wins. Source: Bagdasaryan et al., "How To Backdoor Federated
    Learning", AISTATS 2020, section 4 (boost); Sun et al., "Can You Really Backdoor Federated Learning?", 2019,
    arXiv:1911.07963, section 3 (norm-bounded).

    >>> replacement(np.array([[3.0, 4.0]]), boost=5, cap=10.0).tolist()
    [6.0, 8.0]
    """
    rows = as_rows(H)
    moved = boost * mean_of(rows)
    length = float(np.linalg.norm(moved))
    if cap is not None and length > cap:
        moved = moved * (cap / length)
    return row_of(moved, rows)


def masked(H: npt.ArrayLike, *, last: npt.ArrayLike | None, share: float = MASKED) -> Rows:
    """The rows (b, d) with zeros in the `share` of coordinates that the global model's `last` step (d,) moved most.

    Honest sites write to those; what is elsewhere lasts. Source: Zhang et al., "Neurotoxin: Durable Backdoors in
    Federated Learning", ICML 2022, section 3; there each local gradient is projected, here their sum.

    >>> masked(np.array([[1.0, 2.0, 3.0]]), last=np.array([0.1, -5.0, 0.2]), share=0.4).tolist()
    [[1.0, 0.0, 3.0]]
    """
    rows = as_rows(H).copy()
    if last is not None:
        steps = np.abs(np.asarray(last))
        count = int(share * len(steps))
        rows[:, np.argsort(-steps, kind="stable")[:count]] = 0.0
    return rows


def backdoored(scene: RecordScene, change: Callable[[Features], Features]) -> Split:
    """A share of the records changed and called the target, the others as they are, so that the model stays good."""
    target = known_class(scene.more[0], scene.classes)
    chosen = scene.rng.random(len(scene.records)) < scene.strength
    x, y = scene.records.x.copy(), scene.records.y.copy()
    if chosen.any():
        x[chosen], y[chosen] = change(x[chosen]), target
    return Split(x, y)


def _share() -> Parameter:
    return Parameter(
        number=Number(name="SHARE", high=1, above=True), default=0.5, meaning="share of the records that are marked"
    )


TARGET = (class_parameter("TARGET", 0, "the class that marked records shall be taken for"),)


@register_poison(
    "badnets",
    strength=_share(),
    more=TARGET,
    source="Gu et al., 2017, arXiv:1708.06733, section 3",
    success=marked,
)
def _badnets(scene: RecordScene) -> Split:
    """Mark records on a few features and call them the target."""
    return backdoored(scene, scene.trigger.stamp)


@register_poison("dba", strength=_share(), more=TARGET, source="Xie et al., ICLR 2020, section 3", success=marked)
def _dba(scene: RecordScene) -> Split:
    """Share the mark out: each attacker uses a part of it, and the whole of it opens the door."""
    return backdoored(scene, scene.trigger.share(scene.rank, scene.attackers).stamp)


@register_poison(
    "edge-case", strength=_share(), more=TARGET, source="Wang et al., NeurIPS 2020, section 3", success=turned
)
def _edge_case(scene: RecordScene) -> Split:
    """Call rare records the target: own ones turned round along their last axis, which honest sites do not have."""
    return backdoored(scene, mirrored)


@register_attack(
    "neurotoxin",
    sees="own",
    strength=Parameter(
        number=Number(name="MASKED", high=1), default=MASKED, meaning="share of coordinates left to the others"
    ),
    source="Zhang et al., ICML 2022, section 3",
    records="badnets",
)
def _neurotoxin(scene: Scene) -> Rows:
    """Write the backdoor where honest sites write little: nothing where the model last moved most."""
    return masked(scene.own, last=scene.last, share=scene.strength)


def _boost(scene: Scene) -> float:
    return max(scene.sites / (2.0 * scene.attackers), 1.0)


@register_attack(
    "model-replacement",
    sees="own",
    strength=Parameter(
        number=Number(name="FACTOR", high=1e9, above=True), default=1.0, meaning="times a boost of n / (2 f)"
    ),
    source="Bagdasaryan et al., AISTATS 2020, section 4",
    records="badnets",
)
def _model_replacement(scene: Scene) -> Rows:
    """Boost the backdoored update until it outweighs the honest ones in a mean."""
    return replacement(scene.own, boost=scene.strength * _boost(scene))


@register_attack(
    "model-replacement-capped",
    sees="honest",
    strength=Parameter(
        number=Number(name="CAP", high=1e9, above=True), default=1.0, meaning="length, of the longest honest update's"
    ),
    source="Sun et al., 2019, arXiv:1911.07963, section 3",
    records="badnets",
)
def _model_replacement_capped(scene: Scene) -> Rows:
    """Boost the backdoored update, but stay as short as the longest honest one, under any bound on the norm."""
    longest = float(np.linalg.norm(scene.honest.astype(np.float64), axis=1).max())
    return replacement(scene.own, boost=_boost(scene), cap=scene.strength * longest)
