import math

import numpy as np
import pytest

from hedgerow.privacy.correlated.series import correlation, product, reciprocal, square_root

LENGTHS = (1, 2, 7, 256, 257, 1000)


def toeplitz(column: np.ndarray, n: int) -> np.ndarray:
    return sum((np.diag(np.full(n - k, value), -k) for k, value in enumerate(column[:n])), np.zeros((n, n)))


@pytest.mark.parametrize("n", LENGTHS)
def test_products_reciprocals_and_correlations_are_those_of_the_matrices(n: int) -> None:
    rng = np.random.default_rng(n)
    a = np.concatenate(([1.0], rng.normal(size=n - 1) / n))
    b = rng.normal(size=n)
    matrix = toeplitz(a, n)
    np.testing.assert_allclose(product(a, b, n), matrix @ b, atol=1e-12)
    np.testing.assert_allclose(correlation(a, b), matrix.T @ b, atol=1e-12)
    np.testing.assert_allclose(matrix @ reciprocal(a, n), np.eye(n)[0], atol=1e-12)


def test_short_series_have_zeros_understood() -> None:
    assert product(np.array([2.0]), np.array([3.0, 4.0]), 4).tolist() == [6.0, 8.0, 0.0, 0.0]
    assert reciprocal(np.array([2.0]), 3).tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("n", (1, 2, 400))
def test_the_square_root_of_prefix_sums_has_the_published_coefficients(n: int) -> None:
    """Fichtenberger, Henzinger and Upadhyay: binom(2k, k) / 4^k, and B = C."""
    root = square_root(np.ones(n))
    np.testing.assert_allclose(root, [math.comb(2 * k, k) / 4**k for k in range(n)], rtol=1e-12)
    np.testing.assert_allclose(product(root, root, n), np.ones(n), atol=1e-10)


def test_a_long_reciprocal_is_right_to_the_last_terms() -> None:
    n = 20_000
    twice = 2.0 * np.arange(1, n)
    root = np.concatenate(([1.0], np.cumprod((twice - 1) / twice)))
    inverse = reciprocal(root, n)
    expected = -root / (2 * np.arange(n) - 1)  # (1 - x)^½ by the binomial theorem
    np.testing.assert_allclose(inverse, expected, atol=1e-13)
