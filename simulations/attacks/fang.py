"""Directed deviation: the model is pushed against where it would go, as far as one named rule lets it be."""

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
    squared_distances,
)
from hedgerow.simulations.attacks.registry import Parameter, register_attack
from hedgerow.simulations.attacks.scene import Rows, Scene, Vector

__all__ = ["Against", "fang"]

Against = Literal["krum", "trimmed-mean"]
SMALLEST = 1e-5  # of λ, section 3.2
WIDEN = 2.0  # b, section 3.3


def fang(
    H: npt.ArrayLike, *, against: Against = "trimmed-mean", f: int = 1, rng: np.random.Generator | None = None
) -> Vector:
    """An update against the sign s of the honest mean (n, d) → (d,), made for Krum, or for trimmed mean and median.

    `krum`: -λ s with the largest λ, halved from the paper's bound, at which Krum (n - f - 2 neighbours) picks one of
    `f` such updates beside the honest ones; λ ends at 1e-5 where it never does.
    `trimmed-mean`: beyond the honest extreme on the wrong side of each coordinate, at random between it and twice or
    half of it, so further out; without an `rng` in the middle of that interval.
    Source: Fang et al., "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", USENIX Security 2020,
    sections 3.2 and 3.3, both with full knowledge, with updates in the place of models. O(n² d) and O(nd).

    >>> fang(np.array([[1.0, -4.0], [2.0, -2.0]])).tolist()
    [0.75, -1.5]

    Raises:
        Misconfigured: E103 for another rule, or `f` below 1.
    """
    if f < 1:
        raise Misconfigured("E103", f"{f} updates cannot attack", place="f")
    if against == "krum":
        return _against_krum(H, f)
    if against == "trimmed-mean":
        return _against_extremes(H, rng)
    raise Misconfigured("E103", f"unknown rule '{against}'", hint="it is krum or trimmed-mean")


def _against_extremes(H: npt.ArrayLike, rng: np.random.Generator | None) -> Vector:
    rows = as_rows(H)
    rising = mean_of(rows) > 0
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    edge = np.where(rising, low, high)
    # Beyond the edge is away from zero on the edge's own side, and towards zero on the other.
    outward = np.where(rising, edge < 0, edge > 0)
    end = np.where(outward, WIDEN * edge, edge / WIDEN)
    share = np.full(rows.shape[1], 0.5) if rng is None else rng.random(rows.shape[1])
    return row_of(edge + share * (end - edge), rows)


def _against_krum(H: npt.ArrayLike, f: int) -> Vector:
    rows = as_rows(H)
    mean = mean_of(rows)
    signs = np.sign(mean)
    products = inner_products(rows, np.zeros_like(mean))
    distances = np.sort(squared_distances(products), axis=1)[:, 1:]  # without the distance to itself
    squares = np.diagonal(products)
    along = np.zeros(len(rows))
    for start in range(0, rows.shape[1], 1 << 14):
        along += rows[:, start : start + (1 << 14)] @ signs[start : start + (1 << 14)]
    honest, ones = len(rows), max(float(np.count_nonzero(signs)), 1.0)
    neighbours = max(honest - 2, 1)  # n - f - 2 of n = honest + f
    closest = distances[:, :neighbours].sum(axis=1).min()
    bound = closest / (max(honest - f - 1, 1) * ones)
    strength = float(np.sqrt(bound) + np.sqrt(squares.max() / ones))
    while strength > SMALLEST:
        away = strength**2 * ones + 2.0 * strength * along + squares  # of each honest row to -λ s
        if _picked(away, distances, neighbours, f):
            break
        strength /= 2.0
    return row_of(-max(strength, SMALLEST) * signs, rows)


def _picked(away: Floats, distances: Floats, neighbours: int, f: int) -> bool:
    """Whether Krum's score of one of f equal rows is below every honest row's."""
    own = np.sort(away)[: max(neighbours - (f - 1), 0)].sum()
    with_copies = np.sort(np.hstack([distances, np.repeat(away[:, None], f, axis=1)]), axis=1)
    return bool(own < with_copies[:, :neighbours].sum(axis=1).min())


def _strength() -> Parameter:
    return Parameter(number=Number(name="FACTOR", high=1e9, above=True), default=1.0, meaning="times the update")


SOURCE = "Fang et al., USENIX Security 2020, section"


@register_attack("fang-krum", sees="honest", strength=_strength(), source=f"{SOURCE} 3.2")
def _fang_krum(scene: Scene) -> Rows:
    """Go against the signs of the honest mean as far as Krum still picks it."""
    return scene.strength * fang(scene.honest, against="krum", f=len(scene.own))


@register_attack("fang-trimmed-mean", sees="honest", strength=_strength(), source=f"{SOURCE} 3.3")
def _fang_trimmed_mean(scene: Scene) -> Rows:
    """Answer beyond the honest extreme of each coordinate, on the side where the model should not go."""
    rows = [fang(scene.honest, against="trimmed-mean", rng=scene.rng) for _ in scene.own]
    return scene.strength * np.stack(rows)
