from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hedgerow.errors import Misconfigured
from hedgerow.privacy import (
    SampledGaussian,
    SimulatedRandomness,
    SiteLevelPlan,
    clipped_sum,
    epsilon,
    next_clip,
    noised_mean,
    plan_site_dp,
)


def plan_of(**changes: object) -> SiteLevelPlan:
    stated: dict[str, object] = {"sites": 1000, "q": 0.2, "rounds": 20, "epsilon": 4.0, "delta": 1e-5, "clip": 1.0}
    return plan_site_dp(**{**stated, **changes})  # type: ignore[arg-type]


def test_the_plan_costs_what_its_rounds_cost() -> None:
    plan = plan_of()
    event = SampledGaussian(noise_multiplier=plan.noise_multiplier, q=0.2, steps=20)
    assert plan.planned_epsilon == epsilon([event], delta=1e-5, accountant=plan.accountant) <= 4.0
    assert plan.planned_epsilon > 3.9  # and no noise is given away
    assert plan.sum_multiplier == plan.noise_multiplier and plan.count_noise == 0


@given(clip=st.floats(1e-3, 1e3), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_one_site_more_changes_the_sum_by_its_update_or_by_the_clip(clip: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.standard_normal((6, 40)) * scale).astype(np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    whole, factors = clipped_sum(rows, norms, clip)
    without, _ = clipped_sum(rows[:-1], norms[:-1], clip)
    moved = np.linalg.norm(whole - without)
    assert moved <= clip * (1 + 1e-9)
    assert moved == pytest.approx(min(norms[-1], clip), rel=1e-6)
    assert (factors <= 1).all()


@given(rows=arrays(np.float32, (3, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
@settings(max_examples=50, deadline=None)
def test_no_finite_update_is_longer_than_the_clip_in_the_sum(rows: np.ndarray) -> None:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    for row, norm in zip(rows, norms, strict=True):
        total, _ = clipped_sum(row[None], np.array([norm]), 0.5)
        assert np.linalg.norm(total) <= 0.5 * (1 + 1e-6)


def test_the_noise_is_that_of_the_plan_and_the_denominator_does_not_know_who_was_there() -> None:
    plan = plan_of(clip=0.5)
    size = 20_000
    for answered in (0, 3, 200):
        total = np.full(size, answered * 0.01)
        mean = noised_mean(total, clip=0.5, plan=plan, randomness=SimulatedRandomness(answered))
        std = plan.sum_multiplier * 0.5 / 200  # q n = 200
        residual = (mean - total / 200) / std
        assert abs(residual.mean()) < 4 / math.sqrt(size)
        assert abs((residual**2).mean() - 1) < 4 * math.sqrt(2 / size)


@pytest.mark.parametrize("start", [0.1, 10.0])
@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_an_adaptive_clip_finds_its_quantile_from_below_and_from_above(start: float, quantile: float) -> None:
    """Flower's has the sign the wrong way round: from 0.1 it falls, from 10 it grows."""
    plan = plan_of(q=1.0, rounds=300, epsilon=50.0, clip=start, quantile=quantile)
    norms = np.random.default_rng(0).lognormal(0.0, 0.5, 1000)
    clip, randomness = start, SimulatedRandomness(1)
    for _ in range(60):
        clip, share = next_clip(
            clip=clip,
            within=int((norms <= clip).sum()),
            answered=1000,
            plan=plan,
            randomness=randomness,
        )
        assert share is not None
    assert clip == pytest.approx(np.quantile(norms, quantile), rel=0.15)


def test_the_count_is_paid_for_by_the_sum() -> None:
    """The sum and the count together are one Gaussian mechanism of multiplier z: their information adds up."""
    plan = plan_of(quantile=0.5)
    assert plan.sum_multiplier > plan.noise_multiplier
    together = plan.sum_multiplier**-2 + (0.5 / plan.count_noise) ** 2
    assert together**-0.5 == pytest.approx(plan.noise_multiplier)


def test_a_fixed_clip_stays_and_tells_nothing() -> None:
    assert next_clip(clip=0.7, within=1, answered=9, plan=plan_of(), randomness=SimulatedRandomness(0)) == (0.7, None)


def test_a_clip_stays_a_number_whatever_the_noise_says() -> None:
    plan = plan_of(quantile=0.5)
    clip = 1e-29
    for seed in range(50):
        clip, _ = next_clip(clip=clip, within=500, answered=500, plan=plan, randomness=SimulatedRandomness(seed))
    assert 0 < clip < math.inf


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sites": 0}, "E103"),
        ({"q": 0.0}, "E103"),
        ({"q": 1.1}, "E103"),
        ({"rounds": 0}, "E103"),
        ({"clip": 0.0}, "E103"),
        ({"clip": math.nan}, "E103"),
        ({"clip": math.inf}, "E103"),
        ({"quantile": 1.0}, "E103"),
        ({"epsilon": 0.0}, "E103"),
        ({"delta": 1e-3}, "E132"),
        ({"sites": 20, "q": 1.0, "delta": 1e-3, "epsilon": 0.5, "quantile": 0.5}, "E131"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(Misconfigured, match=code):
        plan_of(**changes)
