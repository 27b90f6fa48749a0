import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN  # type: ignore[import-untyped]

from hedgerow.aggregation import ClipNorms, Flame, aggregate, mean
from hedgerow.aggregation.arrays.gram import measure
from hedgerow.aggregation.defences.cosine import cosines
from hedgerow.aggregation.defences.flame import majority_cluster, noise_factor
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def by_sklearn(distances: Floats) -> npt.NDArray[np.bool_]:
    n = len(distances)
    found = HDBSCAN(
        metric="precomputed", min_cluster_size=n // 2 + 1, min_samples=1, allow_single_cluster=True, copy=True
    )
    return np.asarray(found.fit(distances).labels_ >= 0)


def directions(X: Floats) -> Floats:
    units = X / np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(units @ units.T)


@given(seed=seeds, n=st.integers(2, 25))
@settings(max_examples=60, deadline=None)
def test_the_cluster_is_the_one_that_hdbscan_finds(seed: int, n: int) -> None:
    X = np.random.default_rng(seed).standard_normal((n, 4))
    distances = np.clip(1.0 - directions(X), 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    assert np.array_equal(majority_cluster(distances), by_sklearn(distances))


@given(seed=seeds, n=st.integers(2, 25), values=st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_so_it_is_where_distances_tie(seed: int, n: int, values: int) -> None:
    line = np.random.default_rng(seed).integers(0, values, n).astype(float)
    distances = np.abs(line[:, None] - line)
    assert np.array_equal(majority_cluster(distances), by_sklearn(distances))


@given(seed=seeds, n=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_it_is_more_than_half_joined_by_steps_no_longer_than_needed(seed: int, n: int) -> None:
    X = np.random.default_rng(seed).standard_normal((n, 3))
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    for reach in np.unique(np.round(distances, 12)):
        joined = np.linalg.matrix_power((distances <= reach + 1e-11).astype(np.int64), n).astype(bool)
        if joined.sum(axis=1).max() > n // 2:
            break
    assert np.array_equal(majority_cluster(distances), joined[joined.sum(axis=1).argmax()])


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_without_noise_it_is_the_mean_of_the_cluster_shortened_to_the_median_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = (1.0 + rng.standard_normal((9, 6))) * rng.uniform(0.5, 3, (9, 1))
    inside, norms = by_sklearn(np.clip(1.0 - directions(X), 0, 2)), np.linalg.norm(X, axis=1)
    expected = (X * np.minimum(1.0, np.median(norms) / norms)[:, None])[inside].mean(axis=0)
    result = aggregate(X, Flame(epsilon=None))
    np.testing.assert_allclose(result.vector, expected, atol=1e-10)
    assert set(result.verdict.excluded) == set(np.flatnonzero(~inside))


def test_the_noise_is_in_units_of_the_median_length() -> None:
    X = np.full((5, 100_000), 2.0) * np.array([1.0, 1.0, 3.0, 3.0, 3.0])[:, None]
    quiet = aggregate(X, Flame(epsilon=None)).vector
    noise = aggregate(X, Flame(epsilon=50.0, delta=0.01), rng=np.random.default_rng(0)).vector - quiet
    expected = np.sqrt(2 * np.log(1.25 / 0.01)) / 50.0 * 6.0 * np.sqrt(100_000)
    assert noise.std() == pytest.approx(expected, rel=0.02) and abs(noise.mean()) < 0.02 * expected


@pytest.mark.parametrize("seed", range(5))
def test_scaled_and_reversed_rows_are_stopped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(300)
    X = truth + 0.7 * rng.standard_normal((11, 300))
    honest = X[5:].mean(axis=0)
    X[:3] *= -20.0
    X[3:5] = 50.0 * rng.standard_normal((2, 300))
    result = aggregate(X, Flame(), rng=rng)
    assert set(result.verdict.excluded) >= {0, 1, 2, 3, 4}
    assert np.linalg.norm(result.vector - honest) < 0.03 * np.linalg.norm(mean(X) - honest)


def test_it_fails_where_a_minority_of_honest_sites_points_elsewhere() -> None:
    rng = np.random.default_rng(6)
    groups = np.kron(np.eye(2), np.ones(50))
    X = groups[[0] * 7 + [1] * 4] + 0.3 * rng.standard_normal((11, 100))
    assert set(aggregate(X, Flame(epsilon=None)).verdict.excluded) >= {7, 8, 9, 10}


def test_equal_rows_stay_together_and_zero_rows_are_far_from_all() -> None:
    X = np.random.default_rng(7).standard_normal((1, 50)) * np.arange(1, 8)[:, None]
    assert aggregate(X, Flame(epsilon=None)).verdict.excluded == {}
    X[[0, 1]] = 0.0
    assert set(aggregate(X, Flame(epsilon=None)).verdict.excluded) == {0, 1}
    assert aggregate(np.zeros((5, 4)), Flame(epsilon=None)).verdict.excluded == {}


@given(seed=seeds, scaled=st.booleans())
@settings(max_examples=30, deadline=None)
def test_cosines_are_those_of_the_rows_after_the_steps(seed: int, scaled: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((6, 8)) * 10.0 ** rng.integers(-2, 3, (6, 1))
    np.testing.assert_allclose(cosines(measure(X)), directions(X), atol=1e-7)
    mixing = rng.dirichlet(np.ones(6), 6)
    similar = 1.0 + rng.standard_normal((6, 8))
    geometry = measure(similar).scaled(rng.uniform(0.1, 1.0, 6)) if scaled else measure(similar)
    factors = np.ones(6) if not scaled else geometry.factors
    assert factors is not None
    np.testing.assert_allclose(
        cosines(geometry.mixed(mixing)), directions(mixing @ (factors[:, None] * similar)), atol=1e-9
    )


def test_a_row_so_short_that_rounding_ate_its_direction_points_nowhere() -> None:
    X = np.random.default_rng(9).standard_normal((19, 8)) + 5.0
    X[::3] *= 1e-9
    expected = directions(X)
    expected[::3] = expected[:, ::3] = 0.0
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(cosines(measure(X)), expected, atol=1e-12)


def test_lengths_changed_before_it_change_no_direction() -> None:
    X = np.random.default_rng(8).standard_normal((9, 5)) * np.arange(1, 10)[:, None]
    plain, shortened = (aggregate(X, rule) for rule in (Flame(epsilon=None), ClipNorms() | Flame(epsilon=None)))
    np.testing.assert_allclose(shortened.vector, plain.vector, atol=1e-12)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.1), (-1.0, 0.1), (np.inf, 0.1), (1.0, 0.0), (1.0, 1.0)])
def test_numbers_that_set_no_noise_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        Flame(epsilon=epsilon, delta=delta)
    with pytest.raises(Misconfigured, match="E103"):
        noise_factor(epsilon, delta)
