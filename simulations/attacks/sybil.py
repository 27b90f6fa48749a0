"""Sybils: one adversary behind many sites, whose updates agree without being equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import as_rows, mean_of
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene

__all__ = ["sybil"]

NOISE = 0.05


def sybil(H: npt.ArrayLike, *, noise: float = NOISE, rng: np.random.Generator) -> Rows:
    """What the sybils (b, d) would say, made one: each answers with their mean plus noise that sums to zero over them.

    `noise` is the length of each one's noise as a share of the mean's. The aggregate is moved as by b equal rows.
    Source: Fung, Yoon and Beschastnikh, "The Limitations of Federated Learning in Sybil Settings", RAID 2020 (sybils
    with one goal, and perturbations that cancel).

    >>> both = sybil(np.array([[1.0, 0.0], [0.0, 1.0]]), rng=np.random.default_rng(0))
    >>> both.mean(axis=0).round(12).tolist()
    [0.5, 0.5]
    """
    rows = as_rows(H)
    mean = mean_of(rows)
    draws = rng.standard_normal(rows.shape)
    draws -= draws.mean(axis=0)
    lengths = np.linalg.norm(draws, axis=1, keepdims=True)
    longest = float(lengths.max())  # one factor for all, so that they still cancel
    if longest > 0:
        draws *= noise * float(np.linalg.norm(mean)) / longest
    alike: Rows = (mean + draws).astype(rows.dtype)
    return alike


@register_attack(
    "sybil",
    sees="honest",
    strength=Parameter(
        number=Number(name="NOISE", high=1e9), default=NOISE, meaning="length of what tells them apart, of the update's"
    ),
    source="Fung, Yoon and Beschastnikh, RAID 2020",
    records="label-flip-targeted",
)
def _sybil(scene: Scene) -> Rows:
    """Be one adversary at many sites: train on one class called another, and agree on nearly the same update."""
    return sybil(scene.own, noise=scene.strength, rng=scene.rng)
