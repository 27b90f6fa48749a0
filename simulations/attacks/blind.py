"""Attacks of a site that sees nothing but its own update and the models it was sent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of, row_of
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["drift", "free_rider", "gaussian", "scale", "sign_flip"]

DISGUISE = 0.1  # of a free rider: noise as a share of the mean size of a coordinate


def sign_flip(H: npt.ArrayLike, *, strength: float = 1.0) -> Vector:
    """Minus `strength` times the mean of the rows (n, d) → (d,); a blind attacker has one row, its own.

    Source: Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods", AAAI 2019, section 5.

    >>> sign_flip(np.array([[1.0, -2.0]]), strength=4).tolist()
    [-4.0, 8.0]
    """
    rows = as_rows(H)
    return row_of(-strength * mean_of(rows), rows)


def gaussian(H: npt.ArrayLike, *, std: float = 1.0, rng: np.random.Generator) -> Vector:
    """Noise of standard deviation `std` in the shape and dtype of one row; nothing of the rows is in it.

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 5.
    """
    rows = as_rows(H)
    return row_of(std * rng.standard_normal(rows.shape[1:]), rows)


def scale(H: npt.ArrayLike, *, factor: float = 10.0) -> Vector:
    """`factor` times the mean of the rows: the honest direction, shouted.

    Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, section 4 (there on a backdoor).

    >>> scale(np.array([[1.0, -2.0]]), factor=3).tolist()
    [3.0, -6.0]
    """
    rows = as_rows(H)
    return row_of(factor * mean_of(rows), rows)


def free_rider(
    H: npt.ArrayLike,
    *,
    last: npt.ArrayLike | None = None,
    strength: float = 1.0,
    rng: np.random.Generator | None = None,
) -> Vector:
    """An update without work: `strength` times what the global model last moved by, or nothing in the first round.

    The rows give only the shape. With an `rng` it is disguised by noise, a tenth of the mean size of a coordinate.
    Source: Lin, Du and Liu, "Free-riders in Federated Learning: Attacks and Defenses", 2019, arXiv:1911.12560 (delta
    weights); Fraboni, Vidal and Lorenzi, AISTATS 2021 (the noise).

    >>> free_rider(np.array([[5.0, 5.0]]), last=np.array([0.5, -1.0])).tolist()
    [0.5, -1.0]
    """
    rows = as_rows(H)
    moved = np.zeros(rows.shape[1]) if last is None else strength * np.asarray(last, np.float64)
    if rng is not None:
        moved = moved + DISGUISE * np.abs(moved).mean() * rng.standard_normal(rows.shape[1])
    return row_of(moved, rows)


def drift(H: npt.ArrayLike, *, direction: npt.ArrayLike, strength: float = 0.5) -> Vector:
    """The mean of the rows, pushed by `strength` times its own length along a direction that is always the same.

    A small bias that no round shows and every round adds to. Source: Baruch et al., "A Little Is Enough", NeurIPS 2019,
    section 3 (that small changes of many add up); the fixed direction is ours.

    >>> drift(np.array([[3.0, 4.0]]), direction=[0.0, 2.0], strength=0.2).tolist()
    [3.0, 5.0]
    """
    rows = as_rows(H)
    mean, toward = mean_of(rows), np.asarray(direction, np.float64)
    return row_of(mean + strength * np.linalg.norm(mean) / np.linalg.norm(toward) * toward, rows)


def _factor(default: float) -> Parameter:
    return Parameter(
        number=Number(name="FACTOR", high=1e9, above=True), default=default, meaning="times the honest update"
    )


@register_attack("sign-flip", sees="own", strength=_factor(1.0), source="Li et al., AAAI 2019, section 5")
def _sign_flip(scene: Scene) -> Rows:
    """Answer with minus the own update."""
    return sign_flip(scene.own, strength=scene.strength)


@register_attack(
    "gaussian",
    sees="own",
    strength=Parameter(
        number=Number(name="STD", high=1e9, above=True), default=1.0, meaning="standard deviation of a coordinate"
    ),
    source="Blanchard et al., NeurIPS 2017, section 5",
)
def _gaussian(scene: Scene) -> Rows:
    """Answer with noise."""
    return gaussian(scene.own, std=scene.strength, rng=scene.rng)


@register_attack("scale", sees="own", strength=_factor(10.0), source="Bagdasaryan et al., AISTATS 2020, section 4")
def _scale(scene: Scene) -> Rows:
    """Answer with the own update many times over."""
    return scale(scene.own, factor=scene.strength)


@register_attack(
    "free-rider",
    sees="own",
    strength=Parameter(
        number=Number(name="FACTOR", high=1e9, above=True), default=1.0, meaning="times the model's last step"
    ),
    source="Lin, Du and Liu, 2019, arXiv:1911.12560 (delta weights)",
)
def _free_rider(scene: Scene) -> Rows:
    """Send back what the global model last moved by, with some noise, and train nothing."""
    return free_rider(scene.own, last=scene.last, strength=scene.strength, rng=scene.rng)


@register_attack(
    "drift",
    sees="own",
    strength=Parameter(
        number=Number(name="SHARE", high=1e9, above=True), default=0.5, meaning="bias as a share of the own update"
    ),
    source="ours, after Baruch et al., NeurIPS 2019, section 3",
)
def _drift(scene: Scene) -> Rows:
    """Push the own update a little, in the same direction in every round and at every attacker."""
    direction = scene.fixed.choice([-1.0, 1.0], scene.own.shape[1])
    return drift(scene.own, direction=direction, strength=scene.strength)
