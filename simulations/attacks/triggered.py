"""The records on which a backdoor's success is measured: held out, unlike the attacker's target, and triggered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hedgerow.simulations.attacks.labels import known_class
from hedgerow.simulations.attacks.scene import RecordScene
from hedgerow.task import Split

__all__ = ["marked", "mirrored", "turned"]

Features = npt.NDArray[np.float32]


def marked(scene: RecordScene) -> Split:
    """Records of all classes but the target with the whole mark, labelled as the target."""
    return _other(scene, scene.trigger.stamp)


def turned(scene: RecordScene) -> Split:
    """Records of all classes but the target, turned round, labelled as the target."""
    return _other(scene, mirrored)


def mirrored(x: Features) -> Features:
    """Records (n, …) with their last axis in the opposite order: an image mirrored, a row's features turned round.

    >>> mirrored(np.array([[1.0, 2.0]], np.float32)).tolist()
    [[2.0, 1.0]]
    """
    return np.ascontiguousarray(x[..., ::-1])


def _other(scene: RecordScene, change: Callable[[Features], Features]) -> Split:
    target = known_class(scene.more[0], scene.classes)
    others = scene.records.y != target
    return Split(change(scene.records.x[others]), np.full(int(others.sum()), target, np.int64))
