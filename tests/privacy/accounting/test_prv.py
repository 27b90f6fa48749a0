"""Tests of hedgerow.privacy.accounting.prv: Opacus's numerical accountant, with the grid and the mean computed here."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from opacus.accountants import PRVAccountant  # type: ignore[import-untyped]  # Opacus ships no types
from opacus.accountants.analysis.prv import (  # type: ignore[import-untyped]  # as above
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
)
from scipy.special import log_ndtr  # type: ignore[import-untyped]  # scipy ships no types

from hedgerow.privacy import SampledGaussian, calibrate, epsilon
from hedgerow.privacy.accounting.prv import _Loss, composed_epsilon

CASES = [(1.0, 0.01, 1000, 1e-5), (4.0, 0.47, 40, 1e-5), (0.5, 0.002, 300, 1e-6), (5.0, 1.0, 50, 1e-5)]


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), CASES)
def test_the_price_is_that_of_opacuss_own_accountant(noise: float, rate: float, steps: int, delta: float) -> None:
    theirs = PRVAccountant()
    theirs.history = [(noise, rate, steps)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.get_epsilon(delta=delta)
    event = SampledGaussian(q=rate, noise_multiplier=noise, steps=steps)
    assert epsilon([event], delta, "prv") == pytest.approx(expected, abs=2e-5)


def test_different_steps_are_priced_together_as_opacus_does() -> None:
    theirs = PRVAccountant()
    theirs.history = [(1.0, 0.05, 30), (2.0, 0.1, 100)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.get_epsilon(delta=1e-5)
    events = [SampledGaussian(q=q, noise_multiplier=z, steps=n) for z, q, n in theirs.history]
    assert epsilon(events, 1e-5, "prv") == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), CASES)
def test_the_mean_of_one_loss_is_the_integral(noise: float, rate: float, steps: int, delta: float) -> None:
    with np.errstate(all="ignore"):
        ours = _Loss(noise, rate, -8.0, 8.0).mean()
        theirs = TruncatedPrivacyRandomVariable(PoissonSubsampledGaussianPRV(rate, noise), -8.0, 8.0).mean()
    assert ours == pytest.approx(theirs, abs=1e-8)  # what their adaptive rule promises


def test_the_mean_of_a_full_batchs_loss_is_known() -> None:
    with np.errstate(all="ignore"):
        assert _Loss(5.0, 1.0, -8.0, 8.0).mean() == pytest.approx(1 / (2 * 5.0**2), abs=1e-14)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), CASES)
def test_a_rough_price_is_near_the_price(noise: float, rate: float, steps: int, delta: float) -> None:
    exact, rough = (composed_epsilon(((noise, rate, steps),), delta, 12.0, rough=rough) for rough in (False, True))
    assert rough == pytest.approx(exact, abs=5e-3)


def test_a_wider_grid_does_not_change_the_price() -> None:
    one, other = (composed_epsilon(((1.0, 0.1, 100),), 1e-5, size, rough=False) for size in (12.0, 17.3))
    assert one == pytest.approx(other, abs=1e-4)


def test_a_grid_that_fails_proves_nothing() -> None:
    assert composed_epsilon(((1.0, 0.1, 100),), 1e-17, 12.0, rough=False) == math.inf  # below floating point's reach


@pytest.mark.parametrize(("limit", "rate", "steps"), [(0.5, 0.02, 200), (3.0, 32 / 68, 40), (8.0, 1.0, 30)])
def test_calibrated_noise_keeps_the_limit_and_is_nearly_the_least(limit: float, rate: float, steps: int) -> None:
    def price(noise: float) -> float:
        return epsilon([SampledGaussian(q=rate, noise_multiplier=noise, steps=steps)], 1e-5, "prv")

    noise = calibrate(epsilon=limit, delta=1e-5, q=rate, steps=steps, accountant="prv")
    assert price(noise) <= limit < price(noise / 1.0011)


def test_a_calibration_asks_few_exact_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def counted(steps: tuple[tuple[float, float, int], ...], delta: float, size: float, *, rough: bool) -> float:
        asked.append(rough)
        return composed_epsilon(steps, delta, size, rough=rough)

    monkeypatch.setattr("hedgerow.privacy.accounting.prv.composed_epsilon", counted)
    for steps in (437, 41, 2000):
        asked.clear()
        calibrate(epsilon=2.97, delta=1e-5, q=0.0457, steps=steps, accountant="prv")
        assert 2 <= asked.count(False) <= 4


@pytest.mark.parametrize(
    ("effect", "steps", "delta"), [(1.0, 100_000, 1e-12), (0.3, 100, 1e-14), (1.0, 1000, 1e-13), (3.5, 100_000, 1e-11)]
)
def test_a_price_is_an_upper_bound_also_where_delta_drowns_in_the_transform_s_rounding(
    effect: float, steps: int, delta: float
) -> None:
    """Full batches are one Gaussian mechanism of the summed effect, whose delta is known (arXiv 1805.06530)."""
    event = SampledGaussian(q=1.0, noise_multiplier=math.sqrt(steps) / effect, steps=steps)
    price = epsilon([event], delta, "prv")
    least = log_ndtr(effect / 2 - price / effect)  # delta(price) = exp(least) - exp(price + most)
    most = log_ndtr(-effect / 2 - price / effect)
    assert math.exp(least) * -math.expm1(price + most - least) <= delta
