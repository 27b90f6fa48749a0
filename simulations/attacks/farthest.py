"""Min-Max and Min-Sum: as far from the honest mean as an update can be while honest ones lie no less far out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Number
from hedgerow.simulations.attacks.honest import (
    Floats,
    as_rows,
    inner_products,
    mean_of,
    row_of,
    spread_of,
    squared_distances,
)
from hedgerow.simulations.attacks.little import OTHER_SIDE
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["Direction", "min_max", "min_sum"]

Direction = Literal["std", "sign", "unit"]
SOURCE = "Shejwalkar and Houmansadr, NDSS 2021, section IV"


def min_max(H: npt.ArrayLike, *, direction: Direction = "std") -> Vector:
    """mean + γ p with the largest γ that keeps it within the largest distance between two honest updates of each one.

    p is minus the standard deviation of each coordinate (`std`), minus the mean's sign (`sign`), or minus the mean at
    length 1 (`unit`). γ is the smallest root of n quadratics, exact where the paper searches. (n, d) → (d,), O(n² d).
    The paper's rows are gradients: on updates, which point the other way, the same attack is `-min_max(-H)`, and a
    scenario's `min-max` is that. Only with `std` is there a difference.
    Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine", NDSS 2021, section IV (Min-Max).

    >>> min_max(np.array([[0.0], [1.0], [2.0]]), direction="sign").tolist()
    [0.0]
    """
    rows = as_rows(H)
    mean = mean_of(rows)
    toward = _toward(rows, mean, direction)
    products = inner_products(rows, mean)
    room = squared_distances(products).max() - np.diagonal(products)  # of each row, what its distance may still gain
    along = np.zeros(len(rows))
    for start in range(0, rows.shape[1], 1 << 14):
        part = slice(start, start + (1 << 14))
        along += (mean[part] - rows[:, part]) @ toward[part]
    length = float(toward @ toward)
    if length == 0:
        return row_of(mean, rows)
    gammas = (-along + np.sqrt(along**2 + length * np.maximum(room, 0.0))) / length
    return row_of(mean + max(float(gammas.min()), 0.0) * toward, rows)


def min_sum(H: npt.ArrayLike, *, direction: Direction = "std") -> Vector:
    """mean + γ p with the largest γ whose summed squared distances to the honest updates no honest one exceeds.

    As `min_max`, with a closed form for γ. Source: the same (Min-Sum).

    >>> min_sum(np.array([[0.0], [1.0], [2.0]]), direction="unit").tolist()
    [0.0]
    """
    rows = as_rows(H)
    mean = mean_of(rows)
    toward = _toward(rows, mean, direction)
    products = inner_products(rows, mean)
    room = squared_distances(products).sum(axis=1).max() - np.trace(products)
    length = float(toward @ toward)
    if length == 0:
        return row_of(mean, rows)
    return row_of(mean + np.sqrt(max(float(room), 0.0) / (len(rows) * length)) * toward, rows)


def _toward(rows: npt.NDArray[np.floating], mean: Floats, direction: Direction) -> Floats:
    """p, (d,)."""
    if direction == "std":
        return -spread_of(rows)
    if direction == "sign":
        return -np.sign(mean)
    if direction == "unit":
        length = float(np.linalg.norm(mean))
        return -mean / length if length else mean
    raise Misconfigured("E103", f"unknown direction '{direction}'", hint="it is std, sign or unit")


def _share() -> Parameter:
    return Parameter(
        number=Number(name="SHARE", high=1e9, above=True), default=1.0, meaning="of the way from the mean to the bound"
    )


def _register(name: str, direction: Direction, summary: str) -> None:
    attack = min_max if name.startswith("min-max") else min_sum

    def change(scene: Scene) -> Rows:
        mean = mean_of(scene.honest)
        side = 1.0 if any(scene.more) else -1.0
        return mean + scene.strength * (side * attack(side * scene.honest, direction=direction) - mean)

    change.__doc__ = summary
    more = (OTHER_SIDE,) if direction == "std" else ()
    register_attack(name, sees="honest", strength=_share(), more=more, source=SOURCE)(change)


_register("min-max", "std", "Go against the spread as far as the honest sites lie from each other.")
_register("min-max-sign", "sign", "Go against the mean's signs as far as the honest sites lie from each other.")
_register("min-max-unit", "unit", "Go against the mean as far as the honest sites lie from each other.")
_register("min-sum", "std", "Go against the spread as far as the honest sites lie from each other in sum.")
_register("min-sum-sign", "sign", "Go against the mean's signs as far as the honest sites lie from each other in sum.")
_register("min-sum-unit", "unit", "Go against the mean as far as the honest sites lie from each other in sum.")
