"""Honest updates, and scenes to attack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hedgerow.simulations.attacks import Scene


def honest_rows(n: int = 9, d: int = 40, *, seed: int = 0, dtype: type = np.float64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(d) + rng.standard_normal((n, d)) * rng.uniform(0.1, 2, d)).astype(dtype)


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request: pytest.FixtureRequest) -> type:
    found: type = request.param
    return found


@pytest.fixture
def scene_of() -> Callable[..., Scene]:
    """A scene of nine honest and two hostile sites, some of it replaced."""

    def make(**changes: object) -> Scene:
        rows = honest_rows(11)
        given: dict[str, object] = {
            "honest": rows[:9],
            "own": rows[9:],
            "rule": None,
            "last": rows[:9].mean(axis=0) / 2,
            "rng": np.random.default_rng(1),
            "fixed": np.random.default_rng(2),
            "round": 3,
            "rounds": 5,
            "strength": 1.0,
            "more": (),
            "state": {},
            "attackers": 2,
            "sites": 11,
        }
        return Scene(**{**given, **changes})  # type: ignore[arg-type]

    return make
