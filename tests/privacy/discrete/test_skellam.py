import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.errors import Misconfigured
from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.discrete import skellam, skellam_table

Fit = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], float]
VARIANCES = (0.02, 0.5, 3.7, 100.0, 12_345.6)
DRAWS = 200_000


@pytest.mark.parametrize("variance", [*VARIANCES, 1e6])
def test_the_table_holds_the_difference_of_two_poisson_numbers(variance: float) -> None:
    integers, probabilities = skellam_table(variance).pmf()
    expected = special.ive(np.abs(integers), variance)  # exp(-v) I_k(v)
    middle = expected > 1e-250
    assert np.allclose(probabilities[middle], expected[middle], rtol=1e-10, atol=0)
    assert probabilities[0] < 1e-37 and probabilities.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("variance", VARIANCES)
def test_draws_follow_the_law(variance: float, fit: Fit) -> None:
    drawn = skellam(variance, DRAWS, SimulatedRandomness(11))
    reach = math.ceil(12 * math.sqrt(variance)) + 12
    integers = np.arange(-reach, reach + 1)
    assert fit(drawn, integers, stats.skellam.pmf(integers, variance / 2, variance / 2)) > 1e-3


@pytest.mark.parametrize("variance", [*VARIANCES, 1e6, 2.0**28])
def test_mean_variance_and_fourth_moment_are_the_laws(variance: float) -> None:
    x = skellam(variance, DRAWS, OsRandomness()).astype(np.float64)
    fourth = variance + 3 * variance**2
    assert abs(x.mean()) < 7 * math.sqrt(variance / DRAWS)
    assert abs((x**2).mean() - variance) < 7 * math.sqrt((fourth - variance**2) / DRAWS)
    eighth = 105 * variance**4 + 210 * variance**3 + 63 * variance**2 * 2 + variance  # an upper bound is enough
    assert abs((x**4).mean() - fourth) < 7 * math.sqrt(eighth / DRAWS)


@pytest.mark.parametrize("variance", [3.7, 100.0, 1e6])
def test_tails_are_neither_cut_nor_heavy(variance: float) -> None:
    drawn = np.abs(skellam(variance, 2_000_000, SimulatedRandomness(12)))
    for sigmas in (3.0, 4.0, 4.6):
        edge = math.ceil(sigmas * math.sqrt(variance))
        expected = 2 * stats.skellam.sf(edge - 1, variance / 2, variance / 2) * len(drawn)
        assert abs((drawn >= edge).sum() - expected) < 5 * math.sqrt(expected) + 1


def test_sums_of_shares_are_skellam_with_the_variances_added(fit: Fit) -> None:
    source = SimulatedRandomness(13)
    total = sum(skellam(variance, DRAWS, source) for variance in (0.5, 1.5, 6.0))
    assert isinstance(total, np.ndarray)
    assert fit(total, *skellam_table(8.0).pmf()) > 1e-3


def test_twice_the_variance_does_not_pass_for_the_claimed_one(fit: Fit) -> None:
    assert fit(skellam(6.4, DRAWS, SimulatedRandomness(11)), *skellam_table(6.0).pmf()) < 1e-6


def test_no_variance_is_no_noise() -> None:
    assert not skellam(0.0, 100, OsRandomness()).any()
    assert skellam(5.0, 0, OsRandomness()).shape == (0,)


@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf, 2.0**28 + 1])
def test_an_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(Misconfigured, match="variance"):
        skellam(variance, 1, OsRandomness())
