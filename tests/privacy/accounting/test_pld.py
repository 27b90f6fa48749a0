"""Tests of hedgerow.privacy.accounting.pld: an upper bound everywhere, and hardly more than the truth."""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.privacy.accounting.gaussian import gaussian_epsilon, gaussian_log_delta
from hedgerow.privacy.accounting.losses import GaussianLoss, LaplaceLoss, Loss, SampledGaussianLoss
from hedgerow.privacy.accounting.pld import composed_delta, composed_epsilon

Floats = NDArray[np.float64]
Density = Callable[[Any], Any]  # of mpmath's numbers
Way = Literal["remove", "add", "replace"]
DELTAS = (0.3, 1e-2, 1e-5, 1e-9, 1e-14, 1e-30, 1e-100)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize(
    ("effect", "steps"), [(1.0, 1), (0.2, 50), (0.05, 10_000), (0.01, 10), (5.0, 3), (3e-4, 100), (0.002, 10**6)]
)
def test_many_gaussian_steps_cost_at_least_their_exact_price_and_hardly_more(
    effect: float, steps: int, delta: float
) -> None:
    exact = gaussian_epsilon(effect * math.sqrt(steps), delta)
    price = composed_epsilon(((GaussianLoss(effect), steps),), delta)
    assert exact <= price <= exact * 1.002 + 1e-6


@pytest.mark.parametrize("wanted", [0.1, 1e-3, 1e-6, 1e-12, 1e-40])
@pytest.mark.parametrize(("effect", "steps"), [(1.0, 1), (0.2, 50), (0.05, 1000), (0.01, 10), (5.0, 3)])
def test_the_delta_of_many_gaussian_steps_is_at_least_the_exact_one_and_hardly_more(
    effect: float, steps: int, wanted: float
) -> None:
    epsilon = gaussian_epsilon(effect * math.sqrt(steps), wanted)
    exact = math.exp(gaussian_log_delta(effect * math.sqrt(steps), epsilon))
    assert exact <= composed_delta(((GaussianLoss(effect), steps),), epsilon) <= exact * 1.02


def by_rounding(q: float, noise: float, way: Way, steps: int, epsilon: float, *, up: bool) -> float:
    """δ at ε from losses on a line of outputs, rounded up or down to a grid and convolved one by one."""
    places = np.linspace(-1 - 9 * noise, 1 + 9 * noise, 40_001)
    with np.errstate(over="ignore"):
        p, p_other = ((1 - q) * ndtr(places / noise) + q * ndtr((places - c) / noise) for c in (1.0, -1.0))
    none = ndtr(places / noise)
    first, second = {"remove": (p, none), "add": (none, p), "replace": (p, p_other)}[way]
    one, other = np.diff(first), np.diff(second)
    kept = (one > 1e-18) & (other > 0)
    losses, mass, mesh = np.log(one[kept] / other[kept]), one[kept], 2.0**-9 / steps
    cells = (np.ceil if up else np.floor)(losses / mesh).astype(int)
    single: Floats = np.bincount(cells - cells.min(), weights=mass).astype(np.float64)
    whole: Floats = single
    for _ in range(steps - 1):
        whole = np.fft.irfft(*_padded(whole, single))[: len(whole) + len(single) - 1]
    values = (np.arange(len(whole)) + steps * cells.min()) * mesh
    return float((whole * -np.expm1(np.minimum(epsilon - values, 0.0))).sum())


def _padded(one: Floats, other: Floats) -> tuple[NDArray[np.complex128], int]:
    size = 1 << (len(one) + len(other)).bit_length()
    return np.fft.rfft(one, size) * np.fft.rfft(other, size), size


@settings(max_examples=25, deadline=None)
@given(
    q=st.floats(0.01, 0.99),
    noise=st.floats(0.6, 4.0),
    steps=st.integers(1, 6),
    epsilon=st.floats(0.05, 3.0),
    way=st.sampled_from(["remove", "add", "replace"]),
)
@example(q=0.5, noise=1.0, steps=1, epsilon=1.0, way="remove")
@example(q=0.01, noise=0.6, steps=6, epsilon=0.1, way="replace")
def test_sampled_steps_lie_between_losses_rounded_down_and_rounded_up(
    q: float, noise: float, steps: int, epsilon: float, way: Way
) -> None:
    composed = ((SampledGaussianLoss(q, noise, way), steps),)
    low, high = (by_rounding(q, noise, way, steps, epsilon, up=up) for up in (False, True))
    dust = 1e-13  # what the reference's own transforms lose
    assert low - dust <= composed_delta(composed, epsilon) <= high * 1.02 + dust
    if 1e-9 < low < 0.5:
        assert composed_delta(composed, composed_epsilon(composed, low)) <= low * 1.02
        assert composed_epsilon(composed, low * 0.999) >= epsilon * (1 - 2e-3) - 1e-3


@pytest.mark.parametrize(("scale", "steps"), [(0.5, 1), (2.0, 4), (20.0, 300)])
def test_laplace_steps_never_cost_more_than_their_sum_and_one_is_known(scale: float, steps: int) -> None:
    composed = ((LaplaceLoss(scale), steps),)
    assert composed_epsilon(composed, 1e-12) <= steps / scale * 1.001
    if steps == 1:
        for epsilon in (0.0, 0.5, 1.9):
            exact = 1 - math.exp((epsilon - 1 / scale) / 2)
            assert exact <= composed_delta(composed, epsilon) <= exact * 1.02
    else:
        assert composed_epsilon(composed, 1e-3) < steps / scale


@pytest.mark.parametrize("epsilon", [0.0, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("loss", [SampledGaussianLoss(0.2, 0.7, "remove"), SampledGaussianLoss(0.2, 0.7, "add")])
def test_one_step_agrees_with_its_integral_in_fifty_digits(loss: Loss, epsilon: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    assert isinstance(loss, SampledGaussianLoss)
    with mpmath.workdps(50):
        none: Density = lambda x: mpmath.npdf(x, 0, loss.noise)  # noqa: E731
        some: Density = lambda x: (1 - loss.q) * none(x) + loss.q * mpmath.npdf(x, 1, loss.noise)  # noqa: E731
        p, q = (some, none) if loss.direction == "remove" else (none, some)
        ends = [-12, *(k / 4 for k in range(-12, 17)), 13]
        exact = mpmath.quad(lambda x: max(p(x) - mpmath.exp(epsilon) * q(x), 0), ends)
    assert float(exact) * (1 - 1e-4) - 1e-12 <= composed_delta(((loss, 1),), epsilon)  # the kink costs quad digits
    assert composed_delta(((loss, 1),), epsilon) <= float(exact) * 1.01 + 1e-9


def test_different_losses_are_added_up_together() -> None:
    half, whole = GaussianLoss(0.5), GaussianLoss(1.0)
    apart = composed_epsilon(((half, 4), (whole, 2)), 1e-6)
    exact = gaussian_epsilon(math.sqrt(4 * 0.25 + 2), 1e-6)
    assert exact <= apart <= exact * 1.002


def test_what_lies_far_away_is_still_a_bound_and_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for q, noise, steps in (
            (1e-9, 1.0, 10),
            (0.5, 0.01, 3),
            (1 - 1e-12, 2.0, 10),
            (0.3, 1e5, 7),
            (0.5, 1.0, 10**6),
        ):
            for way in ("remove", "add", "replace"):
                composed = ((SampledGaussianLoss(q, noise, way), steps),)
                # Without sampling the steps are one Gaussian mechanism, and sampling never harms.
                most = gaussian_epsilon((2 if way == "replace" else 1) * math.sqrt(steps) / noise, 1e-5)
                assert 0.0 <= composed_epsilon(composed, 1e-5) <= most * 1.06 + 1e-6
                assert 0.0 < composed_delta(composed, 2 * most + 1) <= 1e-5


def test_rare_large_losses_are_not_drowned_by_what_wraps_around_the_window() -> None:
    """One or two steps at a small rate: nearly nothing is lost, rarely much."""
    for steps, epsilon in ((1, 0.3), (2, 1.0)):
        low = by_rounding(0.001, 0.5, "remove", steps, epsilon, up=False)
        composed = ((SampledGaussianLoss(0.001, 0.5, "remove"), steps),)
        assert epsilon * (1 - 1e-3) - 1e-3 <= composed_epsilon(composed, low) <= epsilon * 1.005 + 2e-3


def test_a_loss_with_an_atom_at_its_top_is_not_rounded_away() -> None:
    """Tilted without end, where everything below the atom is out of floating point's reach."""
    for delta in (1e-3, 1e-12, 1e-100):
        exact = 0.5 + 2 * math.log1p(-delta)
        assert exact * (1 - 1e-12) <= composed_epsilon(((LaplaceLoss(2.0), 1),), delta) <= exact * 1.002
