import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import (
    NNM,
    ClipNorms,
    DnC,
    Krum,
    Mean,
    Median,
    Reputation,
    RobustLearningRate,
    TrimmedMean,
    aggregate,
    mean,
    trimmed_mean,
)
from hedgerow.aggregation.judge import combine
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def by_the_paper(X: Floats, vector: Floats, threshold: float) -> Floats:
    votes = np.abs(np.sign(X).sum(axis=0))
    return np.asarray(np.where(votes >= threshold, 1.0, -1.0) * vector)


@given(seed=seeds, threshold=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_it_turns_the_mean_round_where_too_few_agree(seed: int, threshold: int) -> None:
    X = np.random.default_rng(seed).integers(-2, 3, (9, 15)).astype(float)  # zeros do not vote
    result = aggregate(X, RobustLearningRate(threshold=threshold))
    assert np.array_equal(result.vector, by_the_paper(X, mean(X), threshold))
    assert result.verdict.weights is None


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(f=2), Krum(f=2), NNM(f=2) | TrimmedMean(f=2)], ids=str)
def test_it_wraps_any_rule_and_counts_signs_before_its_steps(rule: Mean) -> None:
    X = np.random.default_rng(0).standard_normal((9, 20_000))  # several blocks
    inner, outer = aggregate(X, rule), aggregate(X, RobustLearningRate(threshold=4, rule=rule))
    assert np.array_equal(outer.vector, by_the_paper(X, inner.vector, 4))
    assert outer.verdict.excluded == inner.verdict.excluded
    assert np.array_equal(combine(X, RobustLearningRate(threshold=4, rule=rule)), outer.vector)


def test_a_threshold_of_nothing_is_the_rule_inside() -> None:
    X = np.random.default_rng(1).standard_normal((9, 30))
    assert np.array_equal(
        aggregate(X, RobustLearningRate(threshold=0, rule=TrimmedMean(f=2))).vector, trimmed_mean(X, 2)
    )


def test_a_fraction_is_of_the_rows_that_could_be_used() -> None:
    X = np.random.default_rng(2).standard_normal((10, 200))
    X[[0, 1]] = np.nan
    got = aggregate(X, RobustLearningRate(threshold=0.5, rule=Mean(f=2))).vector
    np.testing.assert_allclose(got, by_the_paper(X[2:], X[2:].mean(axis=0), 4.0))


def backdoored(seed: int, hostile: int) -> tuple[Floats, Floats]:
    """Twenty sites agree on the first 100 coordinates and are of two minds on 20 more, where the hostile ones push."""
    rng = np.random.default_rng(seed)
    X = np.hstack([2.0 + rng.standard_normal((20, 100)), rng.standard_normal((20, 20))])
    X[:hostile, 100:] = 6.0
    return X, aggregate(X, RobustLearningRate(threshold=14)).vector


@pytest.mark.parametrize("seed", range(5))
def test_a_backdoor_in_coordinates_of_its_own_moves_the_other_way(seed: int) -> None:
    X, vector = backdoored(seed, hostile=4)
    assert (vector[:100] > 1.0).mean() > 0.9
    assert mean(X)[100:].mean() > 0.8 and vector[100:].mean() < -0.4


def test_it_fails_against_more_hostile_sites_and_where_honest_ones_disagree() -> None:
    _, vector = backdoored(0, hostile=16)
    assert vector[100:].mean() > 2.0
    uneven = np.random.default_rng(3).standard_normal((20, 500)) + 0.2
    assert mean(uneven).mean() > 0.15 and aggregate(uneven, RobustLearningRate(threshold=14)).vector.mean() < -0.1


def test_more_votes_than_rows_would_turn_everything_round_and_are_refused() -> None:
    with pytest.raises(Misconfigured, match="E103 a threshold of 4 votes needs as many rows, and 3 are left"):
        aggregate(np.ones((3, 2)), RobustLearningRate(threshold=4))
    X = np.ones((4, 2))
    X[0] = np.nan
    with pytest.raises(Misconfigured, match="E103 .* and 3 are left"):
        aggregate(X, RobustLearningRate(threshold=4, rule=Mean(f=1)))
    for threshold in (-1, np.nan, np.inf):
        with pytest.raises(Misconfigured, match="E103"):
            RobustLearningRate(threshold=threshold)


def test_steps_in_front_of_it_are_in_front_of_the_rule_inside() -> None:
    joined = NNM(f=1) | RobustLearningRate(threshold=2, rule=Median())
    assert joined == RobustLearningRate(threshold=2, rule=NNM(f=1) | Median())
    nested = ClipNorms() | (NNM(f=1) | Reputation(rule=joined))
    inside = ClipNorms() | NNM(f=1) | NNM(f=1) | Median()
    assert nested == Reputation(rule=RobustLearningRate(threshold=2, rule=inside))


def test_weights_go_to_the_rule_inside_and_votes_are_by_head() -> None:
    X = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, -1.0]])
    result = aggregate(X, RobustLearningRate(threshold=2), weights=[8, 1, 1])
    np.testing.assert_allclose(result.vector, [1.0, -0.6])
    with pytest.raises(Misconfigured, match="E105"):
        aggregate(X, RobustLearningRate(threshold=2, rule=DnC(f=0)), weights=[8, 1, 1])


def test_it_needs_and_tolerates_what_the_rule_inside_does() -> None:
    rule = RobustLearningRate(threshold=2, rule=NNM(f=1) | Krum(f=2))
    assert rule.needs(2) == 7 and rule.byzantine(9) == 1 and rule.kappa(9) is None
    assert RobustLearningRate(threshold=2, rule=Median()).tolerates(9) == 4
