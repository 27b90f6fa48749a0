import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import GeometricMedian, aggregate, geometric_median


def unbalanced_pull(X: npt.NDArray[np.float64], z: npt.NDArray[np.float64]) -> float:
    """Zero exactly at a geometric median: the unit pulls of the rows cancel, up to the rows that lie on it."""
    distances = np.linalg.norm(X - z, axis=1)
    away = distances > 1e-7
    pull = ((X[away] - z) / distances[away, None]).sum(axis=0)
    return max(float(np.linalg.norm(pull)) - int((~away).sum()), 0.0)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), d=st.integers(1, 12), kind=st.integers(0, 3))
@settings(max_examples=120, deadline=None)
def test_the_pulls_of_the_rows_cancel(seed: int, n: int, d: int, kind: int) -> None:
    X = np.random.default_rng(seed).standard_normal((n, d))
    if kind == 1:
        X = np.round(X)  # many equal rows, and medians that are rows
    elif kind == 2:
        X[: n // 3] *= 1e6
    elif kind == 3:
        X[: n // 2] = X[0]
    assert unbalanced_pull(X, geometric_median(X)) < 1e-6


def test_a_known_triangle_has_its_fermat_point() -> None:
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    np.testing.assert_allclose(geometric_median(X), [0.5, np.sqrt(3) / 6], atol=1e-9)


def test_a_row_that_is_the_median_comes_back_bit_for_bit() -> None:
    X = np.array([[0.1, 0.2], [5.0, 0.2], [-5.0, 0.2], [0.1, 7.0], [0.1, -7.0]])
    assert np.array_equal(geometric_median(X), X[0])


def test_a_start_on_a_row_that_is_not_the_median_gets_away() -> None:
    # The first row is the most central one, but the others' pulls sum to 1.02 > 1 there.
    X = np.array([[0.0, 0.0], [1.0, 0.3], [1.0, -0.3], [-1.0, 1.0], [-1.0, -1.0], [9.0, 0.0]])
    z = geometric_median(X)
    assert np.linalg.norm(z - X[0]) > 1e-3
    assert unbalanced_pull(X, z) < 1e-8


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_in_one_dimension_it_is_the_median_with_its_midpoint(n: int) -> None:
    X = np.random.default_rng(n).standard_normal((n, 1))
    np.testing.assert_allclose(geometric_median(X), np.median(X, axis=0), atol=1e-12)


def test_it_is_converged_and_not_three_steps_from_zero() -> None:
    X = np.array([[3.0], [3.5], [4.0], [4.5], [5.0]])
    assert geometric_median(X).tolist() == [4.0]


def test_scores_are_the_distances_to_the_vector() -> None:
    X = np.random.default_rng(2).standard_normal((9, 4))
    result = aggregate(X, GeometricMedian())
    assert result.verdict.scores is not None
    np.testing.assert_allclose(result.verdict.scores, np.linalg.norm(X - result.vector, axis=1), atol=1e-9)


def test_a_far_row_is_weakened_and_reported_when_nothing_is_left_of_it() -> None:
    X = np.random.default_rng(3).standard_normal((9, 4))
    X[4] = 1e4
    assert aggregate(X, GeometricMedian()).verdict.excluded == {4: GeometricMedian.reason}
    X[4] = 5.0
    assert aggregate(X, GeometricMedian()).verdict.excluded == {}
