import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import ARC, NNM, Mean, TrimmedMean, aggregate, arc
from hedgerow.errors import Misconfigured, Rejected

Floats = npt.NDArray[np.float64]


def reference(X: Floats, f: int) -> Floats:
    n = len(X)
    clipped = int(2 * f / n * (n - f) + 1e-9)
    norms = np.linalg.norm(X, axis=1)
    limit = np.sort(norms)[n - clipped - 1]
    return np.asarray(X * np.minimum(1, limit / np.maximum(norms, 1e-300))[:, None])


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 6), spare=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_it_agrees_with_its_definition(seed: int, f: int, spare: int) -> None:
    X = np.random.default_rng(seed).standard_normal((2 * f + spare, 6)) ** 3
    before = X.copy()
    np.testing.assert_allclose(arc(X, f=f), reference(X, f), atol=1e-12)
    assert np.array_equal(X, before)


@given(seed=st.integers(0, 2**32 - 1), length=st.floats(1, 1e30))
@settings(max_examples=30, deadline=None)
def test_no_row_comes_out_longer_than_the_longest_honest_one(seed: int, length: float) -> None:
    X = np.random.default_rng(seed).standard_normal((11, 5))
    X[:2] = length
    assert np.linalg.norm(arc(X, f=2), axis=1).max() <= np.linalg.norm(X[2:], axis=1).max() * (1 + 1e-9)


def test_without_hostile_rows_nothing_is_clipped() -> None:
    X = np.random.default_rng(0).standard_normal((7, 4))
    np.testing.assert_allclose(arc(X, f=0), X, atol=1e-15)


def test_rows_of_length_zero_are_no_trouble() -> None:
    X = np.zeros((5, 3))
    X[0] = 4.0
    assert not arc(X, f=1).any()


def test_very_uneven_rows_keep_a_bounded_mean_where_mixing_alone_is_led_astray() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((25, 40)) * np.exp(1.5 * rng.standard_normal((25, 1)))
    X[:5] = 3 * np.linalg.norm(X[5:], axis=1).max() / np.sqrt(40)
    plain = aggregate(X, NNM(f=5) | Mean()).vector
    clipped = aggregate(X, ARC(f=5) | NNM(f=5) | Mean()).vector
    honest = X[5:].mean(axis=0)
    assert np.linalg.norm(clipped - honest) < 0.5 * np.linalg.norm(plain - honest)


def test_what_it_is_told_is_counted_on_what_arrived() -> None:
    X = np.random.default_rng(2).standard_normal((11, 4))
    X[3] = np.nan
    rule = ARC(f=2) | TrimmedMean(f=2)
    expected = aggregate(np.delete(X, 3, axis=0), ARC(f=1) | TrimmedMean(f=1)).vector
    np.testing.assert_allclose(aggregate(X, rule).vector, expected, atol=1e-12)


def test_its_coefficient_adds_the_least_possible_one_twice() -> None:
    inner = TrimmedMean(f=2).kappa(11)
    assert inner is not None
    assert (ARC(f=2) | TrimmedMean(f=2)).kappa(11) == pytest.approx(inner + 4 / 7)
    assert (ARC(f=2) | Mean(f=2)).kappa(11) is None
    assert (ARC(f=2) | TrimmedMean(f=2)).kappa(4) is None


def test_too_few_rows_and_rows_that_are_not_finite_raise() -> None:
    with pytest.raises(Misconfigured, match="ARC with f=2 needs at least 5 rows"):
        arc(np.eye(4), f=2)
    with pytest.raises(Rejected, match="E303"):
        arc(np.array([[0.0], [1.0], [np.nan]]), f=1)
