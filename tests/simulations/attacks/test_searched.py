"""The searched strengths: never worse than the fixed ones, on each of the server's rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from hedgerow.aggregation import RULES, aggregate, make_rule, median
from hedgerow.errors import Exhausted
from hedgerow.job import Job
from hedgerow.simulations.attacks import Scene, alie, deviation, ipm, kind_of, largest_z, search
from hedgerow.simulations.attacks.reaching import server_rule

HONEST = np.random.default_rng(0).standard_normal((14, 25)) * 0.5 + np.random.default_rng(1).standard_normal(25)
COPIES = 3


def rule_of(name: str, before: str) -> Callable[[np.ndarray], np.ndarray]:
    rule = make_rule(name, byzantine=COPIES, before=before, strict=False)
    return lambda rows: aggregate(rows, rule).vector


@pytest.mark.parametrize("before", ["none", "nnm"])
@pytest.mark.parametrize("name", ["mean", "median", "trimmed-mean", "krum", "geometric-median"])
def test_a_searched_attack_moves_the_aggregate_at_least_as_far_as_the_fixed_one(
    name: str, before: str, scene_of: Callable[..., Scene]
) -> None:
    assert name in RULES
    rule = rule_of(name, before)
    z = largest_z(17, 3)
    fixed = (
        ("ipm-searched", (), ipm(HONEST)),
        ("alie-searched", (0.0,), -alie(-HONEST, z=z)),
        ("alie-searched", (1.0,), alie(HONEST, z=z)),
    )
    for attack, more, row in fixed:
        kind = kind_of(attack)
        assert kind.change is not None and kind.sees == "rule"
        strength = kind.parameters[0].default
        scene = scene_of(honest=HONEST, own=HONEST[:COPIES], rule=rule, strength=strength, more=more)
        searched = kind.change(scene)
        assert deviation(rule, HONEST, searched, COPIES) >= deviation(rule, HONEST, row, COPIES) * (1 - 1e-5)


def test_a_peak_between_the_grid_s_points_is_found() -> None:
    """A rule that takes the last row, unless it is longer than 7: the best strength is just below."""

    def rule(rows: np.ndarray) -> np.ndarray:
        last: np.ndarray = rows[-1]
        return last if np.linalg.norm(last) < 7 else np.zeros_like(last)

    direction = np.eye(4)[0]
    honest = np.zeros((5, 4))
    strength, row = search(honest, lambda value: value * direction, rule=rule, copies=2, between=(0.1, 100))
    assert 5 < strength < 7 and row[0] == strength


def test_rows_that_the_server_refuses_are_worth_nothing() -> None:
    def refusing(rows: np.ndarray) -> np.ndarray:
        if np.abs(rows[-1]).max() > 3:
            raise Exhausted("E502", "no")
        return median(rows)

    assert deviation(refusing, HONEST, np.full(25, 9.0), COPIES) == 0.0
    strength, _ = search(HONEST, partial(np.multiply, np.ones(25)), rule=refusing, copies=COPIES, between=(0.1, 100.0))
    assert strength <= 3


def test_a_search_is_repeated_to_the_bit() -> None:
    rule = rule_of("trimmed-mean", "nnm")
    found = [search(HONEST, lambda tau: ipm(HONEST, tau=tau), rule=rule, copies=3, between=(0.1, 100)) for _ in "ab"]
    assert found[0][0] == found[1][0] and found[0][1].tobytes() == found[1][1].tobytes()


@pytest.mark.parametrize("name", sorted(RULES))
def test_whatever_the_server_s_rule_is_there_is_an_answer(name: str, scene_of: Callable[..., Scene]) -> None:
    """Rules that draw, that remember, and one that the attacker cannot run, where the fixed strength is left."""
    settings: dict[str, str | int] = {"privacy.unit": "none", "secure.mode": "off"}
    job = Job.from_flat({**settings, "aggregate.rule": name, "aggregate.before": "none", "aggregate.byzantine": 2})
    change = kind_of("ipm-searched").change
    assert change is not None
    scene = scene_of(honest=HONEST, own=HONEST[:2], rule=server_rule(job), strength=10.0)
    row = change(scene)
    assert np.isfinite(row).all()
    assert row.tobytes() == change(scene).tobytes()
    if name == "fltrust":
        np.testing.assert_allclose(row, ipm(HONEST))
