"""Attacks on labels: the records are the site's own, what they are called is not true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Number
from hedgerow.simulations.attacks.attack import site_stream
from hedgerow.simulations.attacks.registry import Parameter, register_poison
from hedgerow.simulations.attacks.scene import RecordScene
from hedgerow.task import Split

__all__ = ["flipped_labels", "least_probable", "renamed"]

Labels = npt.NDArray[np.int64]


def flipped_labels(y: Labels, *, classes: int, share: float, seed: int, site: int) -> Labels:
    """Labels (n,) of which a `share`, drawn for the site, says k-1-y."""
    return _flipped(y, classes, share, site_stream(seed, site))


def least_probable(logits: npt.NDArray[np.floating]) -> Labels:
    """For records' logits (n, k) the class that the model holds least probable, the lowest of equal ones → (n,).

    Source: Shejwalkar et al., "Back to the Drawing Board", IEEE S&P 2022 (dynamic label flipping), with
    the global model in the place of a surrogate.

    >>> least_probable(np.array([[0.5, -1.0, 2.0]])).tolist()
    [1]
    """
    lowest: Labels = np.asarray(logits).argmin(axis=1).astype(np.int64)
    return lowest


def renamed(y: Labels, *, source: int, target: int) -> Labels:
    """Labels (n,) with one class called another.

    Source: Tolpegin et al., "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020, section 3.

    >>> renamed(np.array([0, 1, 2, 0]), source=0, target=2).tolist()
    [2, 1, 2, 2]
    """
    return np.where(y == source, target, y)


def _flipped(y: Labels, classes: int, share: float, rng: np.random.Generator) -> Labels:
    flipped: Labels = np.where(rng.random(len(y)) < share, classes - 1 - y, y)
    return flipped


def _share(default: float = 1.0) -> Parameter:
    return Parameter(
        number=Number(name="SHARE", high=1, above=True), default=default, meaning="share of the records that lie"
    )


def class_parameter(name: str, default: int, meaning: str) -> Parameter:
    """A number that names a class, counted from 0."""
    return Parameter(number=Number(name=name, high=2**31, whole=True), default=default, meaning=meaning)


def known_class(number: float, classes: int) -> int:
    """The class of that number.

    Raises:
        Misconfigured: E103 if the task has fewer.
    """
    if number >= classes:
        raise Misconfigured(
            "E103", f"class {number:g} of {classes}", place="attack", hint=f"classes are 0 to {classes - 1}"
        )
    return int(number)


@register_poison(
    "label-flip", strength=_share(), source="Fang et al., USENIX Security 2020, section 4", keeps_features=True
)
def _label_flip(scene: RecordScene) -> Split:
    """Train on labels k-1-y."""
    y = _flipped(scene.records.y, scene.classes, scene.strength, scene.rng)
    return Split(scene.records.x, y)


@register_poison(
    "label-flip-dynamic",
    strength=_share(),
    source="Shejwalkar et al., IEEE S&P 2022 (dynamic label flipping)",
    adapts=True,
    keeps_features=True,
)
def _label_flip_dynamic(scene: RecordScene) -> Split:
    """Train on the labels that the model of the round holds least probable."""
    assert scene.logits is not None
    lies = scene.rng.random(len(scene.records)) < scene.strength
    return Split(scene.records.x, np.where(lies, least_probable(scene.logits(scene.records.x)), scene.records.y))


@register_poison(
    "label-flip-targeted",
    strength=_share(),
    more=(
        class_parameter("FROM", 0, "the class that is called another"),
        class_parameter("TO", 1, "what it is called"),
    ),
    source="Tolpegin et al., ESORICS 2020, section 3",
    keeps_features=True,
)
def _label_flip_targeted(scene: RecordScene) -> Split:
    """Train on one class called another."""
    source, target = (known_class(number, scene.classes) for number in scene.more[:2])
    lies = scene.rng.random(len(scene.records)) < scene.strength
    y = scene.records.y
    return Split(scene.records.x, np.where(lies, renamed(y, source=source, target=target), y))
