import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from hedgerow.aggregation import Median, TrimmedMean, aggregate, median, trimmed_mean
from hedgerow.errors import Misconfigured


def reference_trimmed_mean(X: npt.NDArray[np.float64], f: int) -> list[float]:
    columns = [sorted(column) for column in X.T.tolist()]
    return [sum(column[f : len(column) - f]) / (len(column) - 2 * f) for column in columns]


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80), part=st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_trimmed_mean_agrees_with_its_definition(seed: int, n: int, part: float) -> None:
    f = int(part * ((n - 1) // 2 + 1))
    X = np.random.default_rng(seed).standard_normal((n, 5))
    np.testing.assert_allclose(trimmed_mean(X, f=f), reference_trimmed_mean(X, f), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_median_agrees_with_numpy_and_takes_the_midpoint(seed: int, n: int) -> None:
    X = np.random.default_rng(seed).standard_normal((n, 5))
    np.testing.assert_allclose(median(X), np.median(X, axis=0), atol=1e-15)


@pytest.mark.parametrize("n", [3, 10, 11, 70])
def test_in_one_dimension_trimmed_mean_is_that_of_scipy(n: int) -> None:
    X = np.random.default_rng(n).standard_normal((n, 1))
    for f in range((n - 1) // 2 + 1):
        assert trimmed_mean(X, f=f)[0] == pytest.approx(stats.trim_mean(X[:, 0], (f + 1e-6) / n), abs=1e-12)


def test_a_fraction_is_cut_from_each_side() -> None:
    X = np.random.default_rng(0).standard_normal((11, 4))
    assert np.array_equal(trimmed_mean(X, f=0.2), trimmed_mean(X, f=2))
    wide = np.random.default_rng(0).standard_normal((100, 4))
    assert np.array_equal(trimmed_mean(wide, f=0.29), trimmed_mean(wide, f=29))


def test_more_columns_than_a_block_holds_are_all_computed() -> None:
    X = np.random.default_rng(1).standard_normal((6, 40_001)).astype(np.float32)
    np.testing.assert_allclose(median(X), np.median(X, axis=0), atol=1e-6)


def test_one_huge_value_is_trimmed_and_not_subtracted() -> None:
    X = np.arange(7.0)[:, None].astype(np.float32)
    X[3] = 1e30
    assert trimmed_mean(X, f=1)[0] == pytest.approx((1 + 2 + 4 + 5 + 6) / 5)


@pytest.mark.parametrize("f", [6, 0.55, 100])
def test_half_or_more_cannot_be_trimmed(f: float) -> None:
    with pytest.raises(Misconfigured, match="E103 TrimmedMean with f=.* needs at least"):
        trimmed_mean(np.ones((11, 2)), f=f)


def test_scores_say_how_much_of_its_fair_share_a_row_lost() -> None:
    X = np.array([[-9.0, -9.0], [0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [9.0, 1.5]])
    verdict = aggregate(X, TrimmedMean(f=1)).verdict
    assert verdict.weights is None and verdict.scores is not None
    # three of five places are used in each of two columns: a row in both has 1/3, a fair share is 1/5
    np.testing.assert_allclose(verdict.scores, [1.0, 0.0, 0.0, 1 - 5 / 6, 1 - 5 / 6])
    assert verdict.excluded == {0: "trimmed in most coordinates"}


def test_equal_values_share_the_places_that_are_left() -> None:
    verdict = aggregate(np.ones((5, 3)), Median()).verdict
    assert verdict.scores is not None and np.array_equal(verdict.scores, np.zeros(5))
