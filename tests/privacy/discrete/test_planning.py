import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness
from hedgerow.privacy.accounting import DiscreteGaussian, Skellam, epsilon
from hedgerow.privacy.discrete import Grid, Noise, overflow_bound, plan_grid, rotate, skellam
from hedgerow.privacy.discrete.planning import renyi_price

JOB: dict[str, Any] = {
    "dimension": 5000,
    "clients": 60,
    "honest": 45,
    "clip": 0.7,
    "epsilon": 8.0,
    "delta": 1e-5,
    "steps": 10,
}


def plan(**changes: Any) -> Grid:
    return plan_grid(**(JOB | changes))


@pytest.mark.parametrize("law", ["skellam", "discrete_gaussian"])
@pytest.mark.parametrize("changes", [{}, {"epsilon": 1.0, "groups": 200}, {"epsilon": 50.0, "steps": 1}])
def test_a_plan_keeps_its_price_its_overflow_and_nearly_the_gaussians_noise(law: str, changes: dict[str, Any]) -> None:
    grid = plan(law=law, **changes)
    assert epsilon([grid.event], grid.delta) == grid.epsilon <= (JOB | changes)["epsilon"]
    assert isinstance(grid.event, Skellam if law == "skellam" else DiscreteGaussian)
    assert grid.overflow <= 1e-6
    orders = np.concatenate([np.arange(5, 48) / 4, np.arange(12, 2000)])
    z = grid.noise_multiplier / 1.011  # with this little less noise, a central Gaussian would be over the budget
    rdp = grid.steps * orders / (2 * z**2)
    eps = rdp + np.log1p(-1 / orders) - (math.log(1e-5) + np.log(orders)) / (orders - 1)
    assert eps.min() > (JOB | changes)["epsilon"] * 0.985
    assert 0.99 <= grid.input_clip / grid.clip < 1


def test_sensitivities_are_those_of_the_vector_as_sent() -> None:
    grid = plan()
    assert grid.l2 == grid.clip * grid.scale
    assert grid.l1 == grid.l2 * math.sqrt(grid.size)
    assert grid.linf == math.floor(grid.l2)
    event = grid.event
    assert (event.l1, event.l2, event.steps) == (grid.l1, grid.l2, 10)
    assert event.variance == grid.variance(grid.honest) == pytest.approx((grid.noise_multiplier * grid.l2) ** 2)


def test_every_site_that_stays_adds_a_share_and_too_few_release_nothing() -> None:
    grid = plan()
    assert grid.variance(45) == pytest.approx((grid.noise_multiplier * grid.l2) ** 2)
    assert grid.variance(60) == pytest.approx(grid.variance(45) * 60 / 45)
    assert grid.std(45) == pytest.approx(grid.noise_multiplier * grid.clip)
    assert grid.releasable(45) and not grid.releasable(44)


def test_fewer_honest_sites_mean_larger_shares_never_less_noise() -> None:
    few, many = plan(honest=10), plan(honest=60)
    assert few.noise_multiplier == pytest.approx(many.noise_multiplier, rel=1e-2)
    assert few.share / few.scale**2 == pytest.approx(6 * many.share / many.scale**2, rel=1e-2)


def test_the_grid_scales_with_the_clip() -> None:
    small, large = plan(clip=1e-6), plan(clip=1e6)
    assert small.l2 == pytest.approx(large.l2) and small.share == pytest.approx(large.share)


def test_the_overflow_bound_holds_for_draws() -> None:
    grid = plan(dimension=64, clients=2, honest=2, epsilon=8.0, steps=1)
    size, source = 400_000, OsRandomness()
    noise = skellam(grid.share, size, source) + skellam(grid.share, size, source)
    for bits in (9, 10, 11, 12):
        narrow = replace(grid, bits=bits)
        wrapped = (np.abs(noise) >= 1 << (bits - 1)).mean()
        assert wrapped <= overflow_bound(narrow) + 1e-5
    assert overflow_bound(grid, 10) == pytest.approx(10 * overflow_bound(grid))


@pytest.mark.parametrize("dimension", [1024, 1100])
def test_the_overflow_bound_holds_for_sites_that_all_send_the_same(dimension: int) -> None:
    grid = plan(dimension=dimension, clients=2, honest=2, steps=1)
    update = np.ones(dimension) * grid.clip / math.sqrt(dimension)
    sums = np.abs([2 * grid.scale * rotate(update, bytes([seed])) for seed in range(200)])
    for bits in range(6, 10):
        narrow = replace(grid, bits=bits, share=1e-9)
        wraps = (sums >= (1 << (bits - 1)) + 2).any(axis=1).mean()
        assert wraps <= overflow_bound(narrow) + 3 * math.sqrt(overflow_bound(narrow) / 200)
    assert (sums >= 1 << 6).any()


def test_given_bits_are_kept_and_used_to_the_full() -> None:
    grid = plan(bits=20)
    assert grid.bits == 20 and grid.modulus == 1 << 20 and grid.dtype == np.uint32
    narrow = plan(bits=13)
    assert narrow.bits == 13 and narrow.dtype == np.uint16 and narrow.overflow <= 1e-6
    assert narrow.scale < grid.scale
    assert any("rounding costs" in warning for warning in narrow.warnings)


def test_bits_that_cannot_hold_the_sum_are_refused() -> None:
    for bits in (2, 8):
        with pytest.raises(Misconfigured) as refused:
            plan(bits=bits)
        assert refused.value.code == "E105"


def test_sums_beyond_32_bits_are_refused() -> None:
    with pytest.raises(Misconfigured) as refused:
        plan(dimension=10**8, clients=10**6, honest=1, epsilon=0.01, groups=10**9)
    assert refused.value.code == "E105"


def test_hopeless_noise_is_refused_and_much_noise_is_warned_about() -> None:
    with pytest.raises(Misconfigured, match="times as long") as refused:
        plan(dimension=1_000_000, clients=10, honest=8)
    assert refused.value.code == "E131"
    assert "little will be learnt" in plan(dimension=50_000).warnings[0]
    assert plan(dimension=500).warnings == ()


def test_no_noise_meets_an_epsilon_that_delta_rules_out() -> None:
    with pytest.raises(Misconfigured) as refused:
        plan(epsilon=1e-7)
    assert refused.value.code == "E131"


def test_another_accountant_prices_the_noise() -> None:
    seen: list[Noise] = []

    def half(event: Noise, delta: float) -> float:
        seen.append(event)
        return renyi_price(event, delta) / 2

    grid = plan(price=half)
    assert grid.epsilon <= 8.0 and grid.noise_multiplier < plan().noise_multiplier
    assert len(seen) < 40


def test_an_accountant_that_asks_for_more_than_fits_is_refused() -> None:
    with pytest.raises(Misconfigured) as refused:
        plan(bits=14, price=lambda event, delta: 3 * renyi_price(event, delta))
    assert refused.value.code == "E105"


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": 0},
        {"clients": 0},
        {"honest": 0},
        {"honest": 61},
        {"clip": 0.0},
        {"clip": math.inf},
        {"epsilon": 0.0},
        {"epsilon": math.nan},
        {"delta": 0.0},
        {"delta": 1.0},
        {"steps": 0},
        {"groups": 0},
        {"bits": 33},
        {"bits": 1},
        {"tolerance": 0.0},
        {"overflow": 0.0},
    ],
)
def test_a_value_out_of_range_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match=next(iter(changes))) as refused:
        plan(**changes)
    assert refused.value.code == "E103"
