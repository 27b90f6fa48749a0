import math

import pytest
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.privacy.conformance.probability import chi_square_tails, normal_two_sided


@pytest.mark.parametrize("freedom", [0.5, 1, 10, 99.5, 1e4, 1e6])
@pytest.mark.parametrize("sigmas", [-7, -4, -1, 0, 1, 4, 7])
def test_chi_square_tails_agree_with_scipys(freedom: float, sigmas: float) -> None:
    value = freedom + sigmas * math.sqrt(2 * freedom)
    lower, upper = chi_square_tails(value, freedom)
    assert lower == pytest.approx(stats.chi2.cdf(value, freedom), rel=1e-7, abs=1e-300)
    assert upper == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-7, abs=1e-300)


def test_nothing_is_below_zero_and_everything_above() -> None:
    assert chi_square_tails(0.0, 5) == (0.0, 1.0)


@pytest.mark.parametrize("z", [0.0, -1.5, 3.0, 8.0])
def test_normal_tails_agree_with_scipys(z: float) -> None:
    assert normal_two_sided(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)


def test_ten_million_numbers_do_not_cost_digits() -> None:
    # The value is the power series summed with forty digits; SciPy is a thousandth off here.
    lower, _ = chi_square_tails(1e7 - 7 * math.sqrt(2e7), 1e7)
    assert lower == pytest.approx(1.21594449244338e-12, rel=1e-8)
