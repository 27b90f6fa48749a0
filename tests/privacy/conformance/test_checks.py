"""Each check's p is what it says: small no more often than its value, and exactly so often where it is exact."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.privacy import SimulatedRandomness
from hedgerow.privacy.conformance import Claim, gaussian_noise, integer_noise
from hedgerow.privacy.conformance.independence import aligned, shifted
from hedgerow.privacy.conformance.participation import batch_mean, batch_spread
from hedgerow.privacy.conformance.shape import shape
from hedgerow.privacy.conformance.size import block_sizes, denominator_trend, release_sizes, total_size
from hedgerow.privacy.discrete import skellam_table

Check = Callable[[NDArray[np.float64], Claim], tuple[float, float]]

RUNS, LEVEL = 600, 0.05
MOST = stats.binom.isf(1e-5, RUNS, LEVEL)
CAME = np.arange(20, 50)
CHECKS: dict[str, Check] = {
    "total": total_size,
    "release": release_sizes,
    "block": block_sizes,
    "denominator": lambda rows, claim: denominator_trend(rows, CAME, claim),
    "shape": shape,
    "aligned": lambda rows, claim: aligned(rows),
    "shifted": lambda rows, claim: shifted(rows),
}
EXACT = ("total", "denominator")


@pytest.mark.parametrize("name", CHECKS)
def test_correct_noise_looks_bad_no_more_often_than_p_says(name: str) -> None:
    rng, claim = np.random.default_rng(1), gaussian_noise(2.0)
    low = sum(CHECKS[name](rng.normal(0, 2, (30, 64)), claim)[1] < LEVEL for _ in range(RUNS))
    assert low <= MOST
    if name in EXACT:
        assert low >= stats.binom.ppf(1e-5, RUNS, LEVEL)


@pytest.mark.parametrize("name", ["total", "denominator", "shape"])
def test_rough_integer_noise_is_judged_by_its_own_fourth_moment(name: str) -> None:
    table = skellam_table(0.3)  # of kurtosis 6.3: its size varies 1.6 times as much as a Gaussian's
    claim, source = integer_noise(*table.pmf()), SimulatedRandomness(2)
    low = sum(
        CHECKS[name](table.draw(30 * 64, source).reshape(30, 64).astype(np.float64), claim)[1] < LEVEL
        for _ in range(RUNS)
    )
    assert low <= MOST
    if name in EXACT:
        assert low >= stats.binom.ppf(1e-5, RUNS, LEVEL)


@pytest.mark.parametrize("check", [batch_mean, batch_spread])
@pytest.mark.parametrize(("records", "rate", "batches"), [(300, 0.15, 40), (20, 0.05, 60), (1000, 0.5, 1)])
def test_independent_draws_look_bad_no_more_often_than_p_says(
    check: Callable[..., tuple[float, float]], records: int, rate: float, batches: int
) -> None:
    rng = np.random.default_rng(3)
    low = sum(check(rng.binomial(records, rate, batches), records, rate)[1] < LEVEL for _ in range(RUNS))
    assert low <= MOST


def test_a_few_batches_of_exactly_the_mean_are_no_fixed_batches_yet() -> None:
    assert batch_spread(np.array([500]), 1000, 0.5)[1] > 0.01
    assert batch_spread(np.array([500, 500, 500]), 1000, 0.5)[1] > 1e-6
    assert batch_spread(np.full(20, 500), 1000, 0.5)[1] < 1e-20


def test_sizes_are_found_where_they_are() -> None:
    rows = np.ones((4, 1000))
    rows[2] = 0.5
    rows[:, 640:704] = 3.0
    claim = gaussian_noise(1.0)
    assert total_size(rows, claim)[0] == pytest.approx(np.sqrt((rows**2).mean()))
    assert release_sizes(rows, claim)[0] == pytest.approx(np.sqrt((rows**2).mean(axis=1).max()))
    assert block_sizes(rows, claim)[0] == pytest.approx(3.0)


def test_the_last_coordinates_are_in_a_block_too() -> None:
    rows = np.random.default_rng(5).normal(size=(1, 1000))
    rows[0, -30:] = 30.0
    assert block_sizes(rows, gaussian_noise(1.0))[1] == 0.0


def test_the_exponent_of_the_denominator_is_found() -> None:
    rows = np.random.default_rng(6).normal(size=(30, 4000)) / CAME[:, None]
    assert denominator_trend(rows, CAME, gaussian_noise(1.0))[0] == pytest.approx(-1.0, abs=0.1)
