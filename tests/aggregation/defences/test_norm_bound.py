import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NormBound, aggregate
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def clipped(X: Floats, tau: float) -> Floats:
    return np.array([x * min(1.0, tau / np.linalg.norm(x)) for x in X])


@given(seed=seeds, n=st.integers(1, 15), tau=st.floats(0.1, 20))
@settings(max_examples=40, deadline=None)
def test_without_noise_it_is_the_mean_of_the_shortened_rows(seed: int, n: int, tau: float) -> None:
    X = np.random.default_rng(seed).standard_normal((n, 6)) * 3
    result = aggregate(X, NormBound(tau=tau))
    np.testing.assert_allclose(result.vector, clipped(X, tau).mean(axis=0), atol=1e-12)
    assert result.verdict.scores is not None and result.verdict.excluded == {}
    np.testing.assert_allclose(result.verdict.scores, np.linalg.norm(X, axis=1) / tau)


@given(seed=seeds, weighted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_replacing_a_row_moves_the_vector_by_no_more_than_the_stated_sensitivity(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    X, tau = rng.standard_normal((8, 5)) * 10, 1.5
    weights = rng.uniform(0.5, 1, 8) if weighted else None
    largest = 1 / 8 if weights is None else weights.max() / weights.sum()
    other, without = X.copy(), X.copy()
    other[3], without[3] = -1e6 * X[3], 0.0
    full, replaced, zeroed = (
        aggregate(rows, NormBound(tau=tau), weights=weights).vector for rows in (X, other, without)
    )
    assert np.linalg.norm(full - zeroed) <= tau * largest * (1 + 1e-9)
    assert np.linalg.norm(full - replaced) <= 2 * tau * largest * (1 + 1e-9)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 1.0, 1.0, 7.0])])
def test_the_noise_has_the_stated_deviation_and_no_mean(weights: Floats | None) -> None:
    X = np.zeros((4, 200_000))
    result = aggregate(X, NormBound(tau=3.0, noise_multiplier=2.0), weights=weights, rng=np.random.default_rng(0))
    expected = 2.0 * 3.0 * (0.25 if weights is None else 0.7)
    assert result.vector.std() == pytest.approx(expected, rel=0.01)
    assert abs(result.vector.mean()) < 5 * expected / np.sqrt(200_000)


def test_the_noise_is_the_generators_in_the_order_of_the_coordinates() -> None:
    X = np.zeros((4, 40_000))  # several blocks
    got = aggregate(X, NormBound(tau=4.0, noise_multiplier=1.0), rng=np.random.default_rng(1)).vector
    np.testing.assert_allclose(got, np.random.default_rng(1).standard_normal(40_000))


def test_the_noise_changes_nothing_in_the_verdict() -> None:
    X = np.random.default_rng(3).standard_normal((6, 9))
    quiet = aggregate(X, NormBound(tau=2.0)).verdict
    noisy = aggregate(X, NormBound(tau=2.0, noise_multiplier=1.0), rng=np.random.default_rng(4)).verdict
    for one, other in ((quiet.scores, noisy.scores), (quiet.weights, noisy.weights)):
        assert one is not None and other is not None and np.array_equal(one, other)


def test_a_huge_row_pulls_no_harder_than_the_bound_and_many_pull_all_the_way() -> None:
    rng = np.random.default_rng(2)
    X = 0.1 * rng.standard_normal((10, 50))
    one = X.copy()
    one[0] = 1e12
    assert np.linalg.norm(aggregate(one, NormBound(tau=1.0)).vector - X.mean(axis=0)) <= 2 / 10
    many = X.copy()
    many[:9] = 1e12
    assert np.linalg.norm(aggregate(many, NormBound(tau=1.0)).vector) > 0.8


@pytest.mark.parametrize(("tau", "noise"), [(0.0, 1.0), (np.nan, 1.0), (np.inf, 1.0), (1.0, -1.0), (1.0, np.inf)])
def test_numbers_that_bound_nothing_are_refused(tau: float, noise: float) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        NormBound(tau=tau, noise_multiplier=noise)
