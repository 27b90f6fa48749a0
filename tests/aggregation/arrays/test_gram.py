import tracemalloc
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from hedgerow.aggregation import Mean, aggregate
from hedgerow.aggregation.arrays.gram import measure


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


def exact_distances(X: npt.NDArray[np.floating], rows: int) -> npt.NDArray[np.float64]:
    """From the first rows to all, by differences in float64."""
    return np.array([(np.subtract(X, row, dtype=np.float64) ** 2).sum(axis=1) for row in X[:rows]])


def relative_error(X: npt.NDArray[np.floating]) -> float:
    exact = exact_distances(X, 4)
    apart = exact > 0
    return float(np.abs(measure(X).squared_distances()[:4][apart] / exact[apart] - 1).max())


LARGE = [(12, 400_000), (130, 66_000)]  # one for each way of multiplying, both beyond what is done in float64 at once


@pytest.mark.parametrize(("n", "d"), LARGE)
@pytest.mark.parametrize(("size", "step"), [(0.0, 1.0), (0.05, 1e-3), (0.05, 1e-4), (1.0, 1e-3)])
def test_distances_of_many_float32_numbers_hold_to_3e_7_even_between_parameters(
    n: int, d: int, size: float, step: float
) -> None:
    rng = np.random.default_rng(5)
    X = (size * rng.standard_normal(d) + step * rng.standard_normal((n, d))).astype(np.float32)
    assert relative_error(X) <= 3e-7


@pytest.mark.parametrize(("n", "d"), LARGE)
def test_large_rows_that_float32_would_confuse_are_measured_in_float64(n: int, d: int) -> None:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X[1] *= 100
    X[2] = X[1] + X[2] / 10  # far out, and a thousandth of that apart
    assert relative_error(X) <= 1e-8
    X[3] = X[1]
    assert measure(X).squared_distances()[1, 3] <= 1e-12 * (X[1].astype(np.float64) ** 2).sum()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e22, 1e33])
def test_large_rows_whose_squares_leave_float32_are_measured_in_float64(scale: float) -> None:
    X = (np.random.default_rng(7).standard_normal((12, 400_000)) * scale).astype(np.float32)
    assert relative_error(X) <= 1e-9


def test_one_huge_row_does_not_spoil_the_distances_of_many_float32_numbers() -> None:
    X = np.random.default_rng(8).standard_normal((12, 400_000), dtype=np.float32)
    X[5] *= 1e25
    assert relative_error(X) <= 3e-7


@pytest.mark.parametrize("width", [1, 63, 2047, 2048, 2049, 6000])
@pytest.mark.parametrize("n", [1, 2, 8, 9, 21, 60, 61, 62, 121, 122, 140])
def test_no_row_or_column_is_missed_where_products_are_cut(n: int, width: int) -> None:
    X = np.random.default_rng(n).standard_normal((n, width))
    np.testing.assert_allclose(measure(X).squared_distances(), exact_distances(X, n), rtol=1e-10, atol=1e-12)


def test_the_mean_of_thousands_of_sites_takes_no_memory_of_their_number_squared() -> None:
    X = np.ones((4000, 10), np.float32)
    tracemalloc.start()
    try:
        aggregate(X, Mean(), weights=np.arange(1.0, 4001.0))
        assert tracemalloc.get_traced_memory()[1] < 8e6  # a table of 4000² numbers has 128 MB
    finally:
        tracemalloc.stop()
