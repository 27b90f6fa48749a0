import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import ClipNorms, Krum, Mean, aggregate, clip_norms
from hedgerow.errors import Misconfigured, Rejected


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20), tau=st.one_of(st.none(), st.floats(0.01, 100)))
@settings(max_examples=50, deadline=None)
def test_long_rows_keep_their_direction_and_short_rows_their_bits(seed: int, n: int, tau: float | None) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)) * rng.uniform(0.1, 10, (n, 1))
    norms = np.linalg.norm(X, axis=1)
    limit = np.median(norms) if tau is None else tau
    expected = X * np.minimum(1.0, limit / norms)[:, None]
    np.testing.assert_allclose(clip_norms(X, tau=tau), expected, atol=1e-9)


def test_an_integer_bound_is_a_bound() -> None:
    assert clip_norms(np.array([[30.0, 40.0]]), tau=10).tolist() == [[6.0, 8.0]]


def test_zero_rows_stay_zero() -> None:
    assert not clip_norms(np.zeros((3, 2))).any()
    X = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    assert not clip_norms(X).any()


def test_the_rest_of_the_weight_is_the_zero_updates() -> None:
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 4.0]])
    result = aggregate(X, ClipNorms() | Mean())
    assert result.verdict.weights is not None
    np.testing.assert_allclose(result.verdict.weights, [1 / 3, 1 / 3, 1 / 12])
    np.testing.assert_allclose(result.vector, [1 / 3, 2 / 3])
    np.testing.assert_allclose(result.verdict.norms, [1, 1, 4])
    assert result.verdict.excluded == {}


def test_one_huge_row_pulls_no_harder_than_the_bound() -> None:
    X = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    X[0] = 1e30
    others = X[1:].mean(axis=0) * 8 / 9
    assert np.linalg.norm(aggregate(X, ClipNorms(tau=3.0) | Mean()).vector - others) < 2 * 3.0 / 9 * 8


def test_distances_after_clipping_are_those_of_the_clipped_rows() -> None:
    X = np.random.default_rng(1).standard_normal((9, 5)) * np.arange(1, 10)[:, None]
    one, two = aggregate(X, ClipNorms() | Krum(f=2)), aggregate(clip_norms(X), Krum(f=2))
    assert one.verdict.scores is not None and two.verdict.scores is not None
    np.testing.assert_allclose(one.verdict.scores, two.verdict.scores, rtol=1e-9)


@pytest.mark.parametrize("tau", [0.0, -1.0, np.nan, np.inf])
def test_a_bound_that_is_none_is_refused(tau: float) -> None:
    with pytest.raises(Misconfigured, match="E103 tau"):
        ClipNorms(tau=tau)
    with pytest.raises(Rejected, match="E303"):
        clip_norms(np.array([[tau if tau != 0 else np.inf, np.nan]]))
