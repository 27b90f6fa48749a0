from dataclasses import replace

import numpy as np
import pytest

from hedgerow.aggregation.gram import measure


def test_distances_and_norms_are_those_of_the_rows() -> None:
    X = np.random.default_rng(0).standard_normal((12, 30_000)).astype(np.float32)
    exact = ((X[:, None, :].astype(np.float64) - X) ** 2).sum(axis=2)
    geometry = measure(X)
    np.testing.assert_allclose(geometry.squared_distances(), exact, rtol=1e-12)
    np.testing.assert_allclose(geometry.norms(), np.linalg.norm(X.astype(np.float64), axis=1), rtol=1e-12)


@pytest.mark.parametrize("far", [1e2, 1e6, 1e12, 1e30])
def test_a_row_that_looks_central_where_the_sample_looks_does_not_spoil_the_rest(far: float) -> None:
    X = np.random.default_rng(1).standard_normal((9, 5000))
    X[4] = X.mean(axis=0)
    X[4, 1:5000:9] = far  # the sample reads every ninth column, from the first
    honest = np.delete(X, 4, axis=0)
    exact = ((honest[:, None, :] - honest) ** 2).sum(axis=2)
    got = np.delete(np.delete(measure(X).squared_distances(), 4, axis=0), 4, axis=1)
    np.testing.assert_allclose(got, exact, rtol=1e-8)


def test_mixing_and_scaling_follow_the_rows() -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((6, 40))
    weights = rng.dirichlet(np.ones(6), 6)
    factors = rng.uniform(0.1, 1.0, 6)
    Y = weights @ (factors[:, None] * X)
    geometry = measure(X).scaled(factors).mixed(weights)
    np.testing.assert_allclose(geometry.squared_distances(), ((Y[:, None] - Y) ** 2).sum(axis=2), atol=1e-10)
    np.testing.assert_allclose(geometry.norms(), np.linalg.norm(Y, axis=1), atol=1e-10)
    np.testing.assert_allclose(geometry.shares, weights)


def test_no_distance_is_negative_and_none_to_itself() -> None:
    X = np.repeat(np.random.default_rng(3).standard_normal((3, 1000)), 3, axis=0) + 1e4
    distances = measure(X).squared_distances()
    assert (distances >= 0).all() and not np.diagonal(distances).any()


def test_nearly_equal_rows_far_from_zero_keep_their_distances() -> None:
    X = 1e6 + 1e-4 * np.random.default_rng(4).standard_normal((7, 2000))
    exact = ((X[:, None, :] - X) ** 2).sum(axis=2)
    np.testing.assert_allclose(measure(X).squared_distances(), exact, rtol=1e-10)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_rows_that_were_only_scaled_give_what_dense_mixing_gives(times: int) -> None:
    rng = np.random.default_rng(5)
    geometry = measure(rng.standard_normal((8, 300)))
    for _ in range(times):
        geometry = geometry.scaled(rng.uniform(0.2, 1.0, 8))
    dense = replace(geometry, factors=None)
    np.testing.assert_allclose(geometry.gram(), dense.gram(), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(geometry.norms(), dense.norms(), rtol=1e-10)
    weights = rng.dirichlet(np.ones(8), 8)
    np.testing.assert_allclose(geometry.mixed(weights).mixing, dense.mixed(weights).mixing, atol=1e-12)
    np.testing.assert_allclose(geometry.mixed(weights).shares, dense.mixed(weights).shares, atol=1e-12)
