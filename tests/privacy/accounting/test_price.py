import math
import subprocess
import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.privacy import SampledGaussian, calibrate, epsilon
from hedgerow.privacy.accounting import rdp_curve, rdp_epsilon

# (rate, noise, steps, delta, Opacus RDP, Opacus PRV), computed with Opacus 1.6.0's own accountants.
TABLE = [
    (0.01, 1.0, 1000, 1e-5, 2.101, 1.838),
    (0.01, 1.0, 10_000, 1e-5, 6.713, 6.198),
    (0.004, 1.1, 15_000, 1e-5, 2.503, 2.306),
    (0.1, 1.0, 100, 1e-4, 6.822, 5.976),
    (0.1, 2.0, 300, 1e-4, 3.992, 3.607),
    (0.02, 0.6, 2000, 1e-5, 22.156, 19.993),
    (0.5, 4.0, 200, 1e-5, 9.500, 8.830),
    (1.0, 5.0, 50, 1e-5, 7.077, 6.583),
    (1.0, 10.0, 100, 1e-6, 5.222, 4.897),
    (0.001, 0.5, 10_000, 1e-6, 7.570, 6.357),
    (0.05, 0.8, 500, 1e-5, 13.335, 12.046),
    (0.3, 1.5, 30, 1e-3, 4.973, 4.298),
    (0.01, 4.0, 10_000, 1e-5, 1.035, 0.957),
    (0.2, 8.0, 1000, 1e-4, 3.207, 2.921),
]


def event(noise: float, rate: float, steps: int) -> SampledGaussian:
    return SampledGaussian(q=rate, noise_multiplier=noise, steps=steps)


@pytest.mark.parametrize(("rate", "noise", "steps", "delta", "rdp", "prv"), TABLE)
def test_renyi_prices_agree_with_the_table(
    rate: float, noise: float, steps: int, delta: float, rdp: float, prv: float
) -> None:
    price = epsilon([event(noise, rate, steps)], delta, "rdp")
    assert price == pytest.approx(rdp, abs=6e-4)
    assert price > prv


@pytest.mark.parametrize(("rate", "noise", "steps", "delta", "rdp", "prv"), [TABLE[4], TABLE[7], TABLE[13]])
def test_numerical_prices_agree_with_the_table_and_are_tighter(
    rate: float, noise: float, steps: int, delta: float, rdp: float, prv: float
) -> None:
    assert epsilon([event(noise, rate, steps)], delta, "prv") == pytest.approx(prv, abs=6e-4)


def test_the_price_of_a_full_batch_agrees_with_the_gaussian_mechanisms_renyi_formula() -> None:
    noise, steps, delta = 5.0, 50, 1e-5
    by_hand = min(
        steps * a / (2 * noise**2) + math.log((a - 1) / a) - math.log(delta * a) / (a - 1)
        for a in (1 + x / 10 for x in range(1, 100))
    )
    assert epsilon([event(noise, 1.0, steps)], delta, "rdp") == pytest.approx(by_hand, rel=1e-9)


def test_the_order_and_grouping_of_events_does_not_matter() -> None:
    apart = [event(1.0, 0.1, 3), event(2.0, 0.05, 10), event(1.0, 0.1, 7)]
    together = [event(2.0, 0.05, 10), event(1.0, 0.1, 10)]
    assert epsilon(apart, 1e-5, "rdp") == epsilon(together, 1e-5, "rdp")
    composed = 10 * rdp_curve(1.0, 0.1) + 10 * rdp_curve(2.0, 0.05)
    assert rdp_epsilon(composed, 1e-5) == pytest.approx(epsilon(together, 1e-5, "rdp"), rel=1e-12)


def test_a_new_round_never_lowers_the_price() -> None:
    events: list[SampledGaussian] = []
    last = 0.0
    for noise in (3.0, 1.0, 8.0, 1.0):
        events.append(event(noise, 0.2, 5))
        price = epsilon(events, 1e-4, "rdp")
        assert price > last
        last = price


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon([], 1e-5, "rdp") == 0.0
    assert epsilon([event(1.0, 0.1, 0)], 1e-5, "rdp") == 0.0
    assert epsilon([event(0.0, 0.1, 1)], 1e-5, "rdp") == math.inf
    assert epsilon([event(0.0, 0.1, 1)], 1e-5, "prv") == math.inf


def test_tiny_and_full_rates_have_a_price_and_a_noise() -> None:
    for rate in (1e-9, 1.0):
        noise = calibrate(epsilon=1.0, delta=1e-5, q=rate, steps=10, accountant="rdp")
        assert 0.0 < epsilon([event(noise, rate, 10)], 1e-5, "rdp") <= 1.0


@settings(max_examples=8, deadline=None)
@given(
    limit=st.floats(0.2, 20.0),
    rate=st.sampled_from([1e-4, 0.01, 0.1, 0.18, 1.0]),
    steps=st.integers(1, 3000),
    delta=st.sampled_from([1e-6, 1e-5, 1e-3]),
)
def test_calibrated_noise_keeps_the_limit_and_is_nearly_the_least(
    limit: float, rate: float, steps: int, delta: float
) -> None:
    noise = calibrate(epsilon=limit, delta=delta, q=rate, steps=steps, accountant="rdp")
    assert epsilon([event(noise, rate, steps)], delta, "rdp") <= limit
    assert epsilon([event(noise / 1.0011, rate, steps)], delta, "rdp") > limit


@settings(max_examples=4, deadline=None)
@given(limit=st.floats(0.3, 10.0), factor=st.floats(1.01, 3.0), steps=st.integers(10, 500))
def test_a_larger_budget_or_fewer_steps_never_need_more_noise(limit: float, factor: float, steps: int) -> None:
    def noise(limit: float, steps: int) -> float:
        return calibrate(epsilon=limit, delta=1e-5, q=0.05, steps=steps, accountant="rdp")

    slack = 1.001  # each answer lies within 0.1 % of the least noise
    assert noise(limit * factor, steps) <= noise(limit, steps) * slack
    assert noise(limit, steps) <= noise(limit, 2 * steps) * slack


def test_the_numerical_accountant_needs_less_noise_for_the_same_limit() -> None:
    least = {name: calibrate(epsilon=3.0, delta=1e-4, q=1.0, steps=20, accountant=name) for name in ("rdp", "prv")}
    assert least["prv"] < least["rdp"]
    assert epsilon([event(least["prv"], 1.0, 20)], 1e-4, "prv") <= 3.0


def test_a_budget_that_no_noise_meets_is_refused() -> None:
    with pytest.raises(Misconfigured, match="E131"):
        calibrate(epsilon=1e-6, delta=1e-9, q=0.5, steps=10, accountant="rdp")


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"epsilon": math.nan}, {"delta": 1.0}, {"q": 0.0}, {"steps": 0}])
def test_values_out_of_range_are_named(bad: dict[str, float]) -> None:
    good = {"epsilon": 1.0, "delta": 1e-5, "q": 0.1, "steps": 10}
    with pytest.raises(Misconfigured, match=next(iter(bad))):
        calibrate(**{**good, **bad}, accountant="rdp")


def test_the_central_limit_accountant_is_not_offered() -> None:
    with pytest.raises(Misconfigured, match="E104"):
        epsilon([event(1.0, 0.1, 1)], 1e-5, "gdp")  # type: ignore[arg-type]  # wrong on purpose


def test_pricing_warns_about_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epsilon([event(0.4, 0.7, 100)], 1e-5, "rdp")
        epsilon([event(50.0, 0.001, 3)], 1e-5, "rdp")
        calibrate(epsilon=0.4, delta=1e-5, q=0.03, steps=17, accountant="rdp")


def test_pricing_a_job_loads_neither_torch_nor_opacus() -> None:
    code = (
        "import sys; from hedgerow.privacy import calibrate; "
        "calibrate(epsilon=1.0, delta=1e-5, q=1.0, steps=3, accountant='rdp'); "
        "print([name for name in ('torch', 'opacus', 'flwr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
