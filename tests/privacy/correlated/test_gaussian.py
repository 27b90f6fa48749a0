import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated import gaussian_delta, gaussian_noise


@pytest.mark.parametrize(("noise", "epsilon"), [(1.0, 0.0), (1.0, 1.0), (0.3, 8.0), (5.0, 0.1), (2.0, 3.0)])
def test_delta_is_the_hockey_stick_divergence(noise: float, epsilon: float) -> None:
    def excess(x: float) -> float:
        return float(stats.norm.pdf(x, 1, noise) - math.exp(epsilon) * stats.norm.pdf(x, 0, noise))

    first = 0.5 + epsilon * noise**2  # where the ratio of the two densities passes exp(ε)
    expected, _ = integrate.quad(excess, first, 1 + 40 * noise + first, points=[first + noise], epsabs=1e-14)
    assert gaussian_delta(noise, epsilon) == pytest.approx(expected, rel=1e-7)


@given(st.floats(1e-3, 900), st.floats(-14, -0.1))
def test_the_noise_meets_its_price_and_hardly_less_would(epsilon: float, log_delta: float) -> None:
    delta = 10**log_delta
    noise = gaussian_noise(epsilon, delta)
    assert gaussian_delta(noise, epsilon) <= delta
    assert gaussian_delta(noise * (1 - 1e-7), epsilon) > delta


@pytest.mark.parametrize(
    ("epsilon", "delta", "noise"),
    [(0.1, 1e-6, 36.30469), (1.0, 1e-5, 3.730632), (3.0, 1e-9, 1.943724), (8.0, 1e-5, 0.600229)],
)
def test_the_noise_is_that_of_dp_accounting(epsilon: float, delta: float, noise: float) -> None:
    """Recorded from dp_accounting 0.6.0, get_sigma_gaussian."""
    assert gaussian_noise(epsilon, delta) == pytest.approx(noise, rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-4, 1e4, float("nan")])
def test_an_epsilon_out_of_range_is_refused(epsilon: float) -> None:
    with pytest.raises(Misconfigured) as caught:
        gaussian_noise(epsilon, 1e-5)
    assert (caught.value.code, caught.value.place) == ("E103", "epsilon")


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, 1e-16, float("nan")])
def test_a_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(Misconfigured) as caught:
        gaussian_noise(1.0, delta)
    assert (caught.value.code, caught.value.place) == ("E103", "delta")
