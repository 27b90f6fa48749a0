import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import Bucketing, Krum, Mean, Median, TrimmedMean, aggregate, bucketing, make_rule
from hedgerow.errors import Misconfigured


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20), size=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_every_row_is_in_exactly_one_bucket(seed: int, n: int, size: int) -> None:
    X = np.eye(n)
    got = bucketing(X, size=size, rng=np.random.default_rng(seed))
    assert len(got) == -(-n // size)
    members = got > 0
    assert (members.sum(axis=0) == 1).all()
    assert sorted(members.sum(axis=1).tolist(), reverse=True)[: n // size] == [size] * (n // size)
    np.testing.assert_allclose(got.sum(axis=1), 1.0)


def test_the_same_generator_gives_the_same_buckets_and_the_global_one_is_not_asked() -> None:
    X = np.random.default_rng(0).standard_normal((9, 4))
    one = bucketing(X, size=2, rng=np.random.default_rng(7))
    assert np.array_equal(one, bucketing(X, size=2, rng=np.random.default_rng(7)))
    assert not np.array_equal(one, bucketing(X, size=2, rng=np.random.default_rng(8)))


def test_a_rule_behind_it_sees_buckets_and_its_verdict_names_rows() -> None:
    X = np.random.default_rng(1).standard_normal((13, 50))
    X[5] += 100
    result = aggregate(X, Bucketing(size=2) | Krum(f=1), rng=np.random.default_rng(2))
    members = [row for row in range(13) if row not in result.verdict.excluded]
    assert len(members) in (1, 2) and 5 not in members
    np.testing.assert_allclose(result.vector, X[members].mean(axis=0))
    assert result.verdict.scores is not None and result.verdict.scores.shape == (13,)
    together = np.flatnonzero(result.verdict.scores == result.verdict.scores[5])
    assert len(together) in (1, 2)  # the bucket that the hostile row spoiled scores worst
    assert result.verdict.scores.max() == result.verdict.scores[5]


def test_rows_enough_for_the_rule_behind_must_arrive() -> None:
    rule = Bucketing(size=2) | TrimmedMean(f=2)
    assert rule.needs(2) == 9
    assert len(aggregate(np.eye(9), rule, rng=np.random.default_rng(0)).vector) == 9
    with pytest.raises(Misconfigured, match="E103 TrimmedMean with f=2 needs at least 5 rows, and 4 are left of 8"):
        aggregate(np.eye(8), rule, rng=np.random.default_rng(0))


def test_without_a_generator_it_refuses() -> None:
    with pytest.raises(Misconfigured, match="E105 bucketing draws its groups, and no rng was given"):
        aggregate(np.eye(4), Bucketing() | Mean())
    with pytest.raises(Misconfigured, match="E103"):
        Bucketing(size=0)


def test_buckets_of_one_change_nothing_and_hostile_rows_are_still_outvoted() -> None:
    X = np.random.default_rng(3).standard_normal((15, 6))
    rng = np.random.default_rng(4)
    np.testing.assert_allclose(aggregate(X, Bucketing(size=1) | Median(), rng=rng).vector, np.median(X, axis=0))
    X[[3, 8]] = 1e9
    rule = make_rule("median", byzantine=2, before="bucketing")
    assert np.abs(aggregate(X, rule, rng=rng).vector).max() < 3
