import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift, estimate_bandwidth  # type: ignore[import-untyped]

from hedgerow.aggregation import SignGuard, aggregate, mean, trimmed_mean
from hedgerow.aggregation.defences.sign_guard import largest_cluster
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def by_sklearn(points: Floats) -> npt.NDArray[np.bool_]:
    bandwidth = estimate_bandwidth(points, quantile=0.5)
    labels = MeanShift(bandwidth=bandwidth, cluster_all=True).fit(points).labels_
    return np.asarray(labels == np.bincount(labels).argmax())


def signs(X: Floats) -> Floats:
    return np.column_stack([(X > 0).mean(axis=1), (X == 0).mean(axis=1), (X < 0).mean(axis=1)])


@pytest.mark.parametrize("seed", range(20))
def test_the_cluster_is_the_one_that_mean_shift_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([60, 5, 35], 14)
    shares[:5] = rng.dirichlet([35, 5, 60], 5)
    assert np.array_equal(largest_cluster(shares), by_sklearn(shares))


def test_equal_points_are_one_cluster_and_a_single_point_is_its_own() -> None:
    assert largest_cluster(np.full((6, 3), 1 / 3)).all() and largest_cluster(np.zeros((1, 3))).all()
    pair = np.array([[0.0], [0.0], [0.0], [1.0], [1.0]])
    assert largest_cluster(pair).tolist() == [True, True, True, False, False]


def skewed(rng: np.random.Generator, n: int, d: int = 400) -> Floats:
    """Rows with more positive than negative numbers, as updates have that pull many weights one way."""
    return rng.standard_normal((n, d)) + 0.6


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_it_is_the_mean_of_the_rows_that_pass_both_filters_shortened_to_the_median_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = skewed(rng, 11) * rng.choice([0.05, 1.0, 1.0, 1.0, 5.0], (11, 1))
    X[:3] *= -1.0
    norms = np.linalg.norm(X, axis=1)
    middle = np.median(norms)
    good = largest_cluster(signs(X)) & (norms >= 0.1 * middle) & (norms <= 3.0 * middle)
    result = aggregate(X, SignGuard(fraction=1.0))
    expected = (X * np.minimum(1.0, middle / norms)[:, None])[good]
    np.testing.assert_allclose(result.vector, expected.mean(axis=0) if good.any() else 0.0, atol=1e-12)
    assert set(result.verdict.excluded) == set(np.flatnonzero(~good))


def test_it_counts_on_the_coordinates_that_the_generator_draws() -> None:
    X = np.random.default_rng(0).standard_normal((9, 30_000))  # several blocks
    X[:, :15_000] += np.arange(9)[:, None] / 20
    drawn = np.random.default_rng(1).choice(30_000, 3_000, replace=False, shuffle=False)
    expected = largest_cluster(signs(X[:, drawn]))
    verdict = aggregate(X, SignGuard(), rng=np.random.default_rng(1)).verdict
    assert 0 < len(verdict.excluded) < 9 and set(verdict.excluded) == set(np.flatnonzero(~expected))


@pytest.mark.parametrize("seed", range(5))
def test_reversed_and_random_and_huge_rows_are_stopped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = skewed(rng, 20, 2000)
    honest = X[6:].mean(axis=0)
    X[:3], X[3:5], X[5] = -X[:3], 1.1 * rng.standard_normal((2, 2000)), 100.0 * X[5]
    result = aggregate(X, SignGuard(), rng=rng)
    assert set(result.verdict.excluded) >= set(range(6))
    assert np.linalg.norm(result.vector - honest) < 0.5 * np.linalg.norm(trimmed_mean(X, f=6) - honest)
    assert result.verdict.excluded[5] == "its length is far from the median length"
    assert result.verdict.excluded[0] == "its share of positive and negative numbers is unlike most others'"


def test_it_fails_where_hostile_rows_keep_length_and_sign_shares() -> None:
    rng = np.random.default_rng(2)
    X = skewed(rng, 10)
    X[:4] = rng.permuted(np.tile(X[9], (4, 1)), axis=1)  # the same numbers elsewhere
    for row in range(1, 4):
        X[row] = X[0]
    result = aggregate(X, SignGuard(fraction=1.0))
    balanced = rng.standard_normal((10, 400))
    balanced[:4] *= -1.0
    assert not set(result.verdict.excluded) & {0, 1, 2, 3}
    assert not {0, 1, 2, 3} <= set(aggregate(balanced, SignGuard(fraction=1.0)).verdict.excluded)


def test_where_no_row_passes_both_filters_the_model_stays() -> None:
    X = skewed(np.random.default_rng(3), 1) * np.array([[1.0], [2.0], [3.0], [4.0]])
    result = aggregate(X, SignGuard(fraction=1.0, low=1.0, high=1.0))
    assert not result.vector.any() and set(result.verdict.excluded) == {0, 1, 2, 3}


def test_mostly_zero_rows_have_a_median_length_of_zero() -> None:
    X = np.zeros((5, 6))
    X[4] = 1.0
    result = aggregate(X, SignGuard(fraction=1.0))
    assert not result.vector.any() and 4 in result.verdict.excluded
    assert np.linalg.norm(mean(X)) > 0


@pytest.mark.parametrize("wrong", [{"low": 1.5}, {"low": -0.1}, {"high": 0.5}, {"fraction": 0.0}, {"fraction": 1.1}])
def test_numbers_that_filter_everything_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        SignGuard(**wrong)
