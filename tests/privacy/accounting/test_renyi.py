"""Tests of hedgerow.privacy.accounting.renyi: all orders at once give what Opacus gives one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis.rdp import compute_rdp  # type: ignore[import-untyped]  # Opacus ships no types

from hedgerow.privacy.accounting.renyi import sampled_gaussian_rdp

ORDERS = (1.1, 1.5, 2.0, 2.7, 5.0, 7.9, 10.9, 12.0, 33.0, 128.0, 1024.0)


def by_opacus(noise: float, rate: float, order: float) -> float:
    with np.errstate(all="ignore"):
        return float(compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=order))


@settings(max_examples=60, deadline=None)
@given(log_noise=st.floats(-1.2, 2.0), rate=st.one_of(st.floats(1e-5, 0.3), st.floats(0.7, 1.0)))
def test_every_order_agrees_with_opacus(log_noise: float, rate: float) -> None:
    noise = 10**log_noise
    curve = sampled_gaussian_rdp(noise, rate, ORDERS)
    for order, value in zip(ORDERS, curve.tolist(), strict=True):
        # Opacus subtracts nearly equal numbers where the divergence is tiny: 1e-12 of what it takes the logarithm of.
        assert value == pytest.approx(by_opacus(noise, rate, order), rel=1e-9, abs=1e-12 / (order - 1) + 1e-12)


@pytest.mark.parametrize("rate", [0.4, 0.5, 0.6])
def test_rates_near_one_half_agree_although_their_series_are_long(rate: float) -> None:
    for noise in (0.5, 3.0):
        for order, value in zip((1.1, 1.4, 3.5), sampled_gaussian_rdp(noise, rate, (1.1, 1.4, 3.5)), strict=True):
            assert value == pytest.approx(by_opacus(noise, rate, order), rel=1e-9, abs=1e-11)


def test_tiny_rates_keep_their_digits_at_whole_orders() -> None:
    rate, noise, order = 1e-9, 1.0, 4
    exact = sum(
        math.comb(order, i) * rate**i * (1 - rate) ** (order - i) * math.expm1((i * i - i) / 2)
        for i in range(2, order + 1)
    )
    assert sampled_gaussian_rdp(noise, rate, (4.0,))[0] == pytest.approx(exact / (order - 1), rel=1e-12)


def test_no_noise_costs_everything_and_a_full_batch_is_the_gaussian_mechanism() -> None:
    assert np.isinf(sampled_gaussian_rdp(0.0, 0.5, ORDERS)).all()
    assert sampled_gaussian_rdp(2.0, 1.0, (3.0, 1.5)).tolist() == [3 / 8, 1.5 / 8]


@pytest.mark.parametrize("rate", [1e-12, 1e-3, 0.5, 1 - 1e-12])
@pytest.mark.parametrize("noise", [1e-3, 0.1, 1e5])
def test_extremes_are_bounds_and_never_nan(noise: float, rate: float) -> None:
    orders = (1.5, 2.0, 7.3, 64.0)
    curve = sampled_gaussian_rdp(noise, rate, orders)
    assert not np.isnan(curve).any() and (curve >= 0).all()
    assert (curve <= np.array(orders) / (2 * noise**2) * (1 + 1e-9) + 1e-12).all()  # sampling never costs more
    assert (np.diff(curve) >= -1e-12).all()  # the divergence grows with its order


def test_what_cannot_be_computed_is_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hedgerow.privacy.accounting.renyi._MOST_TERMS", 1)
    curve = sampled_gaussian_rdp(50.0, 0.5, (1.1, 2.0))
    assert math.isinf(curve[0]) and math.isfinite(curve[1])
