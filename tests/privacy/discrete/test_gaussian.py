import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.discrete import discrete_gaussian, discrete_gaussian_exact, discrete_gaussian_table

Fit = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], float]
VARIANCES = (0.05, 0.7, 9.0, 1234.5)


def law(variance: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    reach = math.ceil(14 * math.sqrt(variance)) + 2
    integers = np.arange(-reach, reach + 1)
    weights = np.exp(-(integers.astype(np.float64) ** 2) / (2 * variance))
    return integers, weights / weights.sum()


@pytest.mark.parametrize("variance", [*VARIANCES, 1e6])
def test_the_table_holds_the_law(variance: float) -> None:
    integers, probabilities = discrete_gaussian_table(variance).pmf()
    wide, expected = law(variance)
    inside = np.isin(wide, integers)
    assert np.allclose(probabilities[np.isin(integers, wide)], expected[inside], rtol=1e-11, atol=1e-300)
    assert expected[~inside].sum() < 1e-35


@pytest.mark.parametrize("variance", VARIANCES)
def test_draws_follow_the_law(variance: float, fit: Fit) -> None:
    assert fit(discrete_gaussian(variance, 200_000, SimulatedRandomness(21)), *law(variance)) > 1e-3


@pytest.mark.parametrize("variance", [Fraction(1, 5), Fraction(7, 10), Fraction(9)])
def test_the_papers_rejection_sampler_follows_the_same_law(variance: Fraction, fit: Fit) -> None:
    drawn = np.array(discrete_gaussian_exact(variance, 1000, SimulatedRandomness(22)))
    assert fit(drawn, *law(float(variance))) > 1e-3


def test_the_rejection_sampler_draws_far_beyond_64_bits() -> None:
    variance = Fraction(10**50)
    drawn = discrete_gaussian_exact(variance, 300, SimulatedRandomness(23))
    relative = np.array([float(x / 10**25) for x in drawn])
    assert abs(relative.mean()) < 5 / math.sqrt(300) and abs((relative**2).mean() - 1) < 5 * math.sqrt(2 / 300)
    assert len({x % 7 for x in drawn}) == 7


@pytest.mark.parametrize("variance", [1.0, 9.0, 1e6, 2.0**28])
def test_mean_and_variance_are_the_gaussians(variance: float) -> None:
    x = discrete_gaussian(variance, 200_000, OsRandomness()).astype(np.float64)
    assert abs(x.mean()) < 7 * math.sqrt(variance / len(x))
    assert abs((x**2).mean() / variance - 1) < 7 * math.sqrt(2 / len(x))


def test_tails_are_neither_cut_nor_heavy() -> None:
    drawn = np.abs(discrete_gaussian(100.0, 2_000_000, SimulatedRandomness(24)))
    integers, probabilities = law(100.0)
    for edge in (30, 40, 46):
        expected = probabilities[np.abs(integers) >= edge].sum() * len(drawn)
        assert abs((drawn >= edge).sum() - expected) < 5 * math.sqrt(expected) + 1


@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf, 2.0**28 + 1])
def test_an_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(Misconfigured, match="variance"):
        discrete_gaussian(variance, 1, OsRandomness())


def test_the_rejection_sampler_needs_a_positive_variance() -> None:
    with pytest.raises(Misconfigured, match="variance"):
        discrete_gaussian_exact(Fraction(0), 1, OsRandomness())
