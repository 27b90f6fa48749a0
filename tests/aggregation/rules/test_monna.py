import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, Bucketing, Mean, MoNNA, aggregate, monna, nnm
from hedgerow.errors import Exhausted, Misconfigured


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 4), pivot=st.integers(0, 8))
@settings(max_examples=30, deadline=None)
def test_it_is_the_pivots_row_of_nearest_neighbour_mixing(seed: int, f: int, pivot: int) -> None:
    X = np.random.default_rng(seed).standard_normal((9, 5))
    np.testing.assert_allclose(monna(X, f=f, pivot=pivot), nnm(X, f=f)[pivot], atol=1e-12)


def test_the_pivot_stays_the_same_row_when_others_are_taken_out() -> None:
    X = np.random.default_rng(0).standard_normal((7, 5))
    X[0] = np.nan
    expected = monna(X[1:], f=1, pivot=2)
    np.testing.assert_allclose(aggregate(X, MoNNA(f=2, pivot=3)).vector, expected, atol=1e-12)


def test_without_its_pivot_there_is_no_answer() -> None:
    X = np.random.default_rng(0).standard_normal((7, 5))
    X[3] = np.inf
    with pytest.raises(Exhausted, match="E502 row 3, which is the pivot, cannot be used"):
        monna(X, f=1, pivot=3)
    with pytest.raises(Misconfigured, match="needs at least 8 rows"):
        monna(X, f=1, pivot=7)
    with pytest.raises(Misconfigured, match="E103"):
        MoNNA(f=1, pivot=-1)
    with pytest.raises(Misconfigured, match="E105"):
        aggregate(X, Bucketing(size=2) | MoNNA(f=1), rng=np.random.default_rng(0))


def test_a_hostile_pivot_decides_which_is_why_it_must_be_trusted() -> None:
    X = np.random.default_rng(1).standard_normal((11, 5))
    X[[0, 1]] = 1e6
    assert np.linalg.norm(monna(X, f=2, pivot=0)) > 1e5
    assert np.linalg.norm(monna(X, f=2, pivot=5)) < 10
    assert np.linalg.norm(aggregate(X, NNM(f=2) | Mean()).vector) > 1e4


def test_rows_outside_the_neighbourhood_are_named_with_their_distance() -> None:
    verdict = aggregate(np.array([[0.0], [1.0], [3.0], [90.0]]), MoNNA(f=1, pivot=2)).verdict
    assert dict(verdict.excluded) == {3: "not among the nearest to the pivot"}
    assert verdict.scores is not None and verdict.scores.tolist() == [3.0, 2.0, 0.0, 87.0]
