"""Mimic: all attackers say what one honest site said, so that it counts many times and the others too little."""

from __future__ import annotations

import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["mimic"]


def mimic(H: npt.ArrayLike, *, who: int = 0) -> Vector:
    """A copy of the honest update number `who` of (n, d) → (d,).

    No rule can tell it from honesty; it costs where the sites' data differ. Source: Karimireddy, He and Jaggi,
    "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022, section 4.

    >>> import numpy as np
    >>> mimic(np.array([[1.0, 2.0], [3.0, 4.0]]), who=1).tolist()
    [3.0, 4.0]
    """
    copy: Vector = as_rows(H, least=who + 1)[who].copy()
    return copy


@register_attack(
    "mimic",
    sees="honest",
    strength=Parameter(
        number=Number(name="WHO", high=1e9, whole=True),
        default=0,
        meaning="the honest site to copy, counted from 0 among those that answered; beyond the last, the last",
    ),
    source="Karimireddy, He and Jaggi, ICLR 2022, section 4",
)
def _mimic(scene: Scene) -> Rows:
    """Answer with what one honest site said."""
    return mimic(scene.honest, who=min(int(scene.strength), len(scene.honest) - 1))
