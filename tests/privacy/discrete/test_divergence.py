import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hedgerow.privacy.discrete import discrete_gaussian_rdp, renyi_to_epsilon, skellam_rdp, skellam_table
from hedgerow.privacy.discrete.divergence import ORDERS, summing_loss


def exact(probabilities: NDArray[np.float64], shift: int, order: float) -> float:
    """The Rényi divergence of a law on the integers from itself moved by `shift`, summed up."""
    p, q = probabilities[shift:], probabilities[:-shift]
    kept = (p > 0) & (q > 0)
    logs = order * np.log(p[kept]) + (1 - order) * np.log(q[kept])
    return float(np.logaddexp.reduce(logs)) / (order - 1)


def several(variance: float, parties: int) -> NDArray[np.float64]:
    """The law of a sum of discrete Gaussians, by convolution."""
    share = variance / parties
    reach = math.ceil(30 * math.sqrt(share))
    weights = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * share))
    one = weights / weights.sum()
    total: NDArray[np.float64] = one
    for _ in range(parties - 1):
        total = np.convolve(total, one)
    return total


@pytest.mark.parametrize("variance", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("order", [1.5, 2.0, 3.3, 8.0])
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_the_bound_for_skellam_is_never_below_the_divergence_and_close_to_it(
    variance: float, order: float, shift: int
) -> None:
    bound = skellam_rdp(order, variance=variance, l1=shift, l2=shift)
    _, probabilities = skellam_table(variance).pmf()
    true = exact(probabilities, shift, order)
    assert true <= bound * (1 + 1e-12)
    if order == int(order) and shift * order <= variance / 10:
        assert bound <= true * 1.05


@pytest.mark.parametrize(
    ("order", "variance", "l1", "l2"), [(2, 100.0, 900.0, 30.0), (7, 0.8, 4.0, 2.0), (40, 1e4, 5.0, 2.0)]
)
def test_the_bound_for_skellam_is_the_papers_corollary(order: int, variance: float, l1: float, l2: float) -> None:
    first = ((2 * order - 1) * l2**2 + 6 * l1) / (4 * variance**2)
    second = 3 * l1 / (2 * variance)
    expected = order * l2**2 / (2 * variance) + min(first, second)
    assert skellam_rdp(order, variance=variance, l1=l1, l2=l2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("parties", [1, 2, 5])
@pytest.mark.parametrize("share", [0.3, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("order", [1.5, 2.0, 6.0])
def test_the_bound_for_summed_discrete_gaussians_is_never_below_the_divergence(
    parties: int, share: float, order: float
) -> None:
    variance = share * parties
    for shift in (1, 2):
        bound = discrete_gaussian_rdp(order, variance=variance, parties=parties, dimension=1, l1=shift, l2=shift)
        assert exact(several(variance, parties), shift, order) <= bound * (1 + 1e-9)


def test_one_discrete_gaussian_costs_what_a_gaussian_does() -> None:
    assert summing_loss(1.0, 1) == 0.0
    assert discrete_gaussian_rdp(3, variance=50.0, parties=1, dimension=9, l1=9.0, l2=5.0) == pytest.approx(0.75)


def test_the_summing_loss_is_the_papers_sum() -> None:
    expected = 10 * sum(math.exp(-2 * math.pi**2 * 0.3 * k / (k + 1)) for k in range(1, 7))
    assert summing_loss(0.3, 7) == pytest.approx(expected, rel=1e-12)


def test_shares_too_small_for_the_bound_cost_everything() -> None:
    assert discrete_gaussian_rdp(2, variance=0.9, parties=4, dimension=1, l1=1, l2=1) == math.inf


@settings(max_examples=80, deadline=None)
@given(order=st.floats(1.01, 64), variance=st.floats(0.5, 1e9), l2=st.floats(0.1, 1e4))
def test_skellam_is_never_cheaper_than_a_gaussian_and_no_dearer_when_the_grid_is_fine(
    order: float, variance: float, l2: float
) -> None:
    gaussian = order * l2**2 / (2 * variance)
    bound = skellam_rdp(order, variance=variance, l1=l2 * min(l2, 1000.0), l2=l2)
    assert bound >= gaussian * (1 - 1e-9)
    assert skellam_rdp(order, variance=variance * 1e16, l1=l2 * 1e8 * 1000, l2=l2 * 1e8) <= max(
        gaussian * 1.001, math.ceil(order) * l2**2 / (2 * variance) * 1.001
    )


def test_conversion_gives_the_gaussian_mechanisms_known_price() -> None:
    assert renyi_to_epsilon([order / 2 for order in ORDERS], 1e-5) == pytest.approx(4.73, abs=0.005)
    assert renyi_to_epsilon([0.0] * len(ORDERS), 0.9) == 0.0
    assert renyi_to_epsilon([math.inf] * len(ORDERS), 1e-5) == math.inf
