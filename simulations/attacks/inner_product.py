"""Inner product manipulation: an update that points against the honest mean, small enough to be taken for honest."""

from __future__ import annotations

import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of, row_of
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["ipm"]

TAU = 0.5
SOURCE = "Xie, Koyejo and Gupta, UAI 2019, section 4"


def ipm(H: npt.ArrayLike, *, tau: float = TAU) -> Vector:
    """Minus `tau` times the mean of the honest updates (n, d) → (d,).

    Source: Xie, Koyejo and Gupta, "Fall of Empires: Breaking Byzantine-Tolerant SGD by Inner Product Manipulation", UAI
    2019, section 4 (their ε is τ). O(nd).

    >>> import numpy as np
    >>> ipm(np.array([[1.0, 2.0], [3.0, -2.0]]), tau=0.5).tolist()
    [-1.0, -0.0]
    """
    rows = as_rows(H)
    return row_of(-tau * mean_of(rows), rows)


@register_attack(
    "ipm",
    sees="honest",
    strength=Parameter(
        number=Number(name="TAU", high=1e9, above=True), default=TAU, meaning="times the honest mean, against it"
    ),
    source=SOURCE,
)
def _ipm(scene: Scene) -> Rows:
    """Answer with minus a share of the honest mean."""
    return ipm(scene.honest, tau=scene.strength)
