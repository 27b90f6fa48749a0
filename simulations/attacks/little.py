"""A little is enough: an update within the honest spread, off to the same side in every coordinate."""

from __future__ import annotations

from statistics import NormalDist

import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of, row_of, spread_of
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["OTHER_SIDE", "alie", "largest_z"]

OTHER_SIDE = Parameter(
    number=Number(name="OTHER", high=1, whole=True), default=0.0, meaning="1 goes to the other side of the mean"
)
SOURCE = "Baruch, Baruch and Goldberg, NeurIPS 2019, section 3"


def largest_z(n: int, f: int) -> float:
    """How many standard deviations the attackers may be off and still have a majority on their side.

    Of `n` workers `f` are hostile; s = ⌊n/2 + 1⌋ - f honest ones must lie farther out. z is the largest one with
    Φ(z) < (n - f - s) / (n - f); never below 0, where s honest ones are more than half of all honest ones.
    Source: Baruch et al., NeurIPS 2019, section 3.

    >>> round(largest_z(50, 24), 2)
    1.43

    Raises:
        Misconfigured: E103 unless 0 < f < n.
    """
    if not 0 < f < n:
        raise Misconfigured("E103", f"of {n} updates {f} cannot be hostile", place="f")
    supporters = max(n // 2 + 1 - f, 1)  # with a majority of their own the attackers need nobody; one keeps z finite
    share = (n - f - supporters) / (n - f)
    return max(NormalDist().inv_cdf(share), 0.0) if share > 0 else 0.0


def alie(H: npt.ArrayLike, *, z: float | None = None, f: int | None = None) -> Vector:
    """The mean of the honest updates (n, d) minus `z` standard deviations (with n - 1), by coordinate → (d,).

    Without `z` it is `largest_z` for these rows and `f` hostile ones beside them. The sign is the paper's, whose rows
    are gradients: on updates, which point the other way, it is `-alie(-H)`, and a scenario's `alie` is that.
    Source: Baruch, Baruch and Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed Learning", NeurIPS
    2019, section 3. O(nd).

    >>> import numpy as np
    >>> alie(np.array([[1.0], [2.0], [3.0]]), z=1.5).tolist()
    [0.5]

    Raises:
        Misconfigured: E104 without `z` and `f`, E103 for an impossible `f`.
    """
    rows = as_rows(H)
    if z is None:
        if f is None:
            raise Misconfigured("E104", "z follows from how many are hostile", place="f", hint="give z or f")
        z = largest_z(len(rows) + f, f)
    return row_of(mean_of(rows) - z * spread_of(rows), rows)


@register_attack(
    "alie",
    sees="honest",
    strength=Parameter(
        number=Number(name="Z", high=1e9), default=0.0, meaning="standard deviations; 0 is the paper's z for n and f"
    ),
    more=(OTHER_SIDE,),
    source=SOURCE,
)
def _alie(scene: Scene) -> Rows:
    """Answer with the honest mean and some standard deviations on top (on gradients: less them)."""
    side = 1.0 if scene.more[0] else -1.0
    return side * alie(side * scene.honest, z=scene.strength or None, f=len(scene.own))
