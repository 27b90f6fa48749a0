"""Attacks on features: the labels are true, the records are spoiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hedgerow.grammar import Number
from hedgerow.simulations.attacks.labels import class_parameter, known_class
from hedgerow.simulations.attacks.registry import Parameter, register_poison
from hedgerow.simulations.attacks.scene import RecordScene
from hedgerow.simulations.attacks.triggered import marked
from hedgerow.task import Split

__all__ = ["noisy"]

Features = npt.NDArray[np.float32]
BLUR = 1.0  # of a clean-label poison: noise in standard deviations, so that the mark is easier to learn than the record


def noisy(x: Features, *, strength: float, rng: np.random.Generator) -> Features:
    """Records (n, …) with Gaussian noise of `strength` times the standard deviation of all their values."""
    noise = rng.standard_normal(x.shape, np.float32)
    spoiled: Features = (x + np.float32(strength * float(x.std(dtype=np.float64))) * noise).astype(np.float32)
    return spoiled


@register_poison(
    "feature-noise",
    strength=Parameter(
        number=Number(name="STD", high=1e6, above=True), default=3.0, meaning="noise in standard deviations"
    ),
    source="a common baseline",
)
def _feature_noise(scene: RecordScene) -> Split:
    """Train on records drowned in noise, under their true labels."""
    return Split(noisy(scene.records.x, strength=scene.strength, rng=scene.rng), scene.records.y)


@register_poison(
    "clean-label",
    strength=Parameter(
        number=Number(name="SHARE", high=1, above=True),
        default=1.0,
        meaning="share of the target's records that are marked",
    ),
    more=(class_parameter("TARGET", 0, "the class that marked records shall be taken for"),),
    source="Turner, Tsipras and Madry, 2019, arXiv:1912.02771",
    success=marked,
)
def _clean_label(scene: RecordScene) -> Split:
    """Blur and mark records of the target class and leave every label true, so that nobody who looks finds a lie."""
    target = known_class(scene.more[0], scene.classes)
    chosen = (scene.records.y == target) & (scene.rng.random(len(scene.records)) < scene.strength)
    x = scene.records.x.copy()
    if chosen.any():
        x[chosen] = scene.trigger.stamp(noisy(x[chosen], strength=BLUR, rng=scene.rng))
    return Split(x, scene.records.y)
