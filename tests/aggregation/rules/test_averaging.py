import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, Bulyan, ClipNorms, MeaMed, Mean, Rule, Spectral, aggregate, mean
from hedgerow.errors import Exhausted, Misconfigured


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_numpy_plain_and_weighted(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    X, weights = rng.standard_normal((n, 7)), rng.uniform(0.1, 5, n)
    np.testing.assert_allclose(mean(X), X.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(mean(X, weights=weights), np.average(X, axis=0, weights=weights), atol=1e-12)
    np.testing.assert_allclose(mean(X, weights=weights * 1e300), mean(X, weights=weights), atol=1e-12)


@pytest.mark.parametrize(
    "weights", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0], [1.0, 1.0], [[1.0] * 3]]
)
def test_weights_that_are_none_are_refused(weights: npt.ArrayLike) -> None:
    with pytest.raises(Misconfigured, match="E103|E126"):
        mean(np.ones((3, 2)), weights=weights)


@pytest.mark.parametrize("rule", [MeaMed(f=0), Spectral(f=0), NNM(f=0) | Bulyan(f=0)], ids=str)
def test_rules_that_count_heads_take_no_weights(rule: Rule) -> None:
    with pytest.raises(Misconfigured, match="E105"):
        aggregate(np.ones((3, 2)), rule, weights=[1, 2, 3])


def test_weights_work_behind_clipping() -> None:
    X = np.array([[1.0], [1.0], [8.0]])
    assert aggregate(X, ClipNorms(tau=1.0) | Mean(), weights=[1, 1, 2]).vector.tolist() == [1.0]
    # the weighted median of the lengths lies between 1 and 8, half of the weight on either side
    assert aggregate(X, ClipNorms() | Mean(), weights=[1, 1, 2]).vector.tolist() == [0.5 * 1.0 + 0.5 * 4.5]


def test_one_row_that_is_not_finite_stops_the_mean_unless_it_was_announced() -> None:
    X = np.array([[1.0], [3.0], [np.nan]])
    with pytest.raises(Exhausted, match="E502 1 of 3"):
        mean(X)
    result = aggregate(X, Mean(f=1), weights=[1, 3, 100])
    assert result.vector.tolist() == pytest.approx([2.5])
    assert result.verdict.weights is not None and result.verdict.weights.tolist() == pytest.approx([0.25, 0.75, 0.0])


def test_a_row_of_weight_zero_is_named() -> None:
    assert aggregate(np.eye(3), Mean(), weights=[1, 0, 1]).verdict.excluded == {1: "given no weight"}
