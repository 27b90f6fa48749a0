import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, FLTrust, aggregate, median
from hedgerow.errors import Exhausted, Misconfigured

Floats = npt.NDArray[np.float64]


def by_the_paper(X: Floats, g0: Floats) -> Floats:
    total, trust = np.zeros(X.shape[1]), 0.0
    for g in X:
        ts = max(g @ g0 / (np.linalg.norm(g) * np.linalg.norm(g0)), 0.0)
        total += ts * np.linalg.norm(g0) / np.linalg.norm(g) * g
        trust += ts
    return total / trust


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_it_is_the_papers_formula(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    g0 = rng.standard_normal(6)
    X = 0.7 * g0 + rng.standard_normal((n, 6)) * rng.uniform(0.1, 10, (n, 1))
    X[0] = 3 * g0  # one is trusted
    np.testing.assert_allclose(aggregate(X, FLTrust(), reference=g0).vector, by_the_paper(X, g0), atol=1e-10)


def test_the_length_of_a_row_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    X = 1.0 + rng.standard_normal((7, 20))
    longer = X * 10.0 ** np.arange(7)[:, None]
    one, other = (aggregate(rows, FLTrust(), reference=np.ones(20)).vector for rows in (X, longer))
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_rows_against_the_reference_are_excluded_and_scored_by_their_cosine() -> None:
    X = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0]])
    verdict = aggregate(X, FLTrust(), reference=np.array([1.0, 0.0])).verdict
    assert set(verdict.excluded) == {1, 2, 4}
    assert set(verdict.excluded.values()) == {"does not point the way of the server's own update"}
    assert verdict.scores is not None
    np.testing.assert_allclose(verdict.scores, [0.0, 2.0, 1.0, 1.0 - np.sqrt(0.5), 1.0], atol=1e-12)


def test_where_nobody_is_trusted_the_model_stays() -> None:
    result = aggregate(-np.ones((4, 3)), FLTrust(), reference=np.ones(3))
    assert not result.vector.any() and set(result.verdict.excluded) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(5))
def test_seven_hostile_sites_of_ten_are_stopped_that_break_the_median(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(200)
    X = truth + rng.standard_normal((10, 200))
    X[:7] = -5.0 * truth + rng.standard_normal((7, 200))
    result = aggregate(X, FLTrust(), reference=truth + rng.standard_normal(200))
    far = np.linalg.norm(truth)
    assert set(result.verdict.excluded) == set(range(7))
    assert np.linalg.norm(result.vector - truth) < far < np.linalg.norm(median(X) - truth) / 4


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_however_many_are_hostile_the_vector_is_no_longer_than_the_reference_and_less_than_a_right_angle_away(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    g0 = rng.standard_normal(5)
    X = 1e3 * rng.standard_normal((20, 5))
    vector = aggregate(X, FLTrust(), reference=g0).vector
    assert np.linalg.norm(vector) <= np.linalg.norm(g0) * (1 + 1e-12) and vector @ g0 >= 0


def test_it_fails_inside_the_half_space_of_the_reference_and_with_a_biased_one() -> None:
    rng = np.random.default_rng(1)
    truth, sideways = np.zeros(100), np.zeros(100)
    truth[:50], sideways[50:] = 1.0, 1.0
    X = truth + 0.3 * rng.standard_normal((10, 100))
    X[:5] = 0.5 * truth + sideways
    moved = aggregate(X, FLTrust(), reference=truth).vector @ sideways / np.linalg.norm(sideways) ** 2
    assert moved > 0.2
    assert len(aggregate(X[5:], FLTrust(), reference=-truth).verdict.excluded) == 5


def test_weights_multiply_the_trust() -> None:
    X = np.array([[1.0, 0.0], [0.6, 0.8]])
    result = aggregate(X, FLTrust(), weights=[3, 1], reference=np.array([1.0, 0.0]))
    np.testing.assert_allclose(result.vector, (3 * 1.0 * X[0] + 0.6 * X[1]) / 3.6)


def test_the_steps_before_it_are_seen() -> None:
    rng = np.random.default_rng(2)
    X, g0 = 1.0 + rng.standard_normal((7, 9)), np.ones(9)
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    mixed = np.array([X[np.argsort(row)[:5]].mean(axis=0) for row in distances])
    np.testing.assert_allclose(aggregate(X, NNM(f=2) | FLTrust(), reference=g0).vector, by_the_paper(mixed, g0))


def test_it_says_what_it_lacks() -> None:
    with pytest.raises(Misconfigured, match="E105 FLTrust .* given none"):
        aggregate(np.ones((3, 2)), FLTrust())
    for reference in (np.zeros(2), np.array([np.nan, 1.0])):
        with pytest.raises(Misconfigured, match="E103"):
            aggregate(np.ones((3, 2)), FLTrust(), reference=reference)
    with pytest.raises(Misconfigured, match="E126"):
        aggregate(np.ones((3, 2)), FLTrust(), reference=np.ones(3))


def test_all_but_one_row_may_be_unusable_unless_it_was_told_fewer() -> None:
    X = np.ones((4, 2))
    X[1:] = np.nan
    assert np.array_equal(aggregate(X, FLTrust(), reference=np.ones(2)).vector, [1.0, 1.0])
    with pytest.raises(Exhausted, match="E502"):
        aggregate(X, FLTrust(f=2), reference=np.ones(2))
