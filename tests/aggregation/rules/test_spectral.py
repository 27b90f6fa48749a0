import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import Spectral, aggregate, spectral

Floats = npt.NDArray[np.float64]


def reference(X: Floats, f: int) -> Floats:
    """The filter in the space of coordinates, with the whole covariance matrix."""
    n = len(X)
    shares, best, least = np.ones(n), X.mean(axis=0), np.inf
    while True:
        mean = shares @ X / shares.sum()
        about = X - mean
        values, vectors = np.linalg.eigh((shares[:, None] * about).T @ about / shares.sum())
        if values[-1] < least:
            best, least = mean, values[-1]
        along = (shares > 0) * (about @ vectors[:, -1]) ** 2
        shares = shares * (1 - along / along.max())
        if f == 0 or shares.sum() <= n - 2 * f:
            return np.asarray(best)


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 4), spare=st.integers(2, 8), d=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_the_filter_in_the_space_of_coordinates(seed: int, f: int, spare: int, d: int) -> None:
    X = np.random.default_rng(seed).standard_normal((2 * f + spare, d)) * np.linspace(1, 3, d)
    np.testing.assert_allclose(spectral(X, f=f), reference(X, f), atol=1e-7)


def test_equal_rows_and_no_hostile_rows_give_the_mean() -> None:
    X = np.random.default_rng(0).standard_normal((7, 5))
    np.testing.assert_allclose(spectral(X, f=0), X.mean(axis=0), atol=1e-12)
    same = np.repeat(X[:1], 7, axis=0)
    np.testing.assert_allclose(spectral(same, f=2), X[0], atol=1e-12)


def test_rows_that_lie_in_no_particular_direction_are_treated_alike() -> None:
    np.testing.assert_allclose(spectral(np.eye(6), f=1), np.full(6, 1 / 6), atol=1e-9)


def test_colluding_rows_that_no_coordinate_gives_away_are_found() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((25, 400))
    X[:5] = 0.9 + 0.1 * rng.standard_normal((5, 400))  # within one deviation of the mean in each coordinate
    result = aggregate(X, Spectral(f=5))
    assert {row for row in range(25) if result.verdict.scores is not None and result.verdict.scores[row] > 0.9} == set(
        range(5)
    )
    assert set(result.verdict.excluded) == set(range(5))
    honest = X[5:].mean(axis=0)
    assert np.linalg.norm(result.vector - honest) < 0.1 * np.linalg.norm(X.mean(axis=0) - honest)


@pytest.mark.parametrize("length", [1e3, 1e12, 1e30])
def test_a_row_of_any_length_is_out(length: float) -> None:
    X = np.random.default_rng(2).standard_normal((11, 6))
    X[4] = length
    result = aggregate(X, Spectral(f=2))
    assert result.verdict.weights is not None and result.verdict.weights[4] == 0.0
    assert result.verdict.scores is not None and result.verdict.scores[4] == 1.0
    assert np.abs(result.vector).max() < 2


@pytest.mark.parametrize("exponent", [-400, 330, 490])
def test_rows_of_any_length_are_filtered_alike(exponent: int) -> None:
    X = np.random.default_rng(0).standard_normal((9, 4))
    X[:2] += 20
    scaled = np.ldexp(X, exponent)
    assert np.array_equal(spectral(scaled, f=2), np.ldexp(spectral(X, f=2), exponent))
