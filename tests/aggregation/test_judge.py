import copy
import pickle

import numpy as np
import pytest

from hedgerow.aggregation import (
    NNM,
    ClipNorms,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MultiKrum,
    Rule,
    TrimmedMean,
    aggregate,
    median,
)
from hedgerow.errors import Exhausted, Misconfigured


def for_hostile(f: int) -> list[Rule]:
    return [
        TrimmedMean(f=f),
        MultiKrum(f=f),
        Median(f=f),
        GeometricMedian(f=f),
        NNM(f=f) | TrimmedMean(f=f),
        ClipNorms() | NNM(f=f) | Krum(f=f),
        NNM(f=f) | Mean(),
    ]


RULES = for_hostile(2)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_more_unusable_rows_than_f_give_no_vector(rule: Rule, bad: float) -> None:
    X = np.random.default_rng(0).standard_normal((11, 5))
    X[[1, 4], 2] = bad
    assert np.isfinite(aggregate(X, rule).vector).all()
    X[7, 0] = bad
    with pytest.raises(Exhausted, match="E502 3 of 11 updates are not finite or too large, and the rule tolerates 2"):
        aggregate(X, rule)


@pytest.mark.parametrize(("rule", "fewer"), list(zip(RULES, for_hostile(1), strict=True)), ids=str)
def test_an_unusable_row_uses_up_one_of_f(rule: Rule, fewer: Rule) -> None:
    X = np.random.default_rng(1).standard_normal((11, 5))
    X[3] = np.nan
    np.testing.assert_allclose(aggregate(X, rule).vector, aggregate(np.delete(X, 3, axis=0), fewer).vector, atol=1e-12)


def test_the_verdict_speaks_of_the_rows_as_they_arrived() -> None:
    X = np.array(
        [[np.nan, 0.0], [3.0, 4.0], [3.0, 4.5], [1e200, 0.0], [3.0, 4.25], [3.5, 4.0], [2.0, 4.0], [60.0, 80.0]]
    )
    verdict = aggregate(X, MultiKrum(f=3, strict=False)).verdict
    assert verdict.excluded == {0: "not finite", 3: "too large", 7: "not selected by multi-Krum"}
    assert verdict.finite.tolist() == [False, True, True, True, True, True, True, True]
    assert verdict.weights is not None and verdict.scores is not None
    np.testing.assert_allclose(verdict.weights, [0, 0.2, 0.2, 0, 0.2, 0.2, 0.2, 0])
    assert np.isnan(verdict.scores[[0, 3]]).all() and verdict.scores.argsort()[5] == 7
    assert np.isinf(verdict.norms[0]) and verdict.norms[1] == 5.0 and verdict.norms[7] == 100.0


def test_a_float32_row_whose_length_is_no_float32_is_too_large() -> None:
    X = np.ones((5, 4), np.float32)
    X[2] = 3e38
    result = aggregate(X, Median())
    assert result.verdict.excluded == {2: "too large"} and result.verdict.finite.all()


def test_rules_that_were_told_no_f_stop_short_of_half() -> None:
    X = np.ones((6, 2))
    X[:2] = np.nan
    assert np.array_equal(median(X), [1.0, 1.0])
    X[2] = np.nan
    with pytest.raises(Exhausted, match="tolerates 2"):
        median(X)


def test_the_weakest_step_decides_what_is_tolerated() -> None:
    X = np.random.default_rng(2).standard_normal((11, 3))
    X[[0, 1]] = np.inf
    with pytest.raises(Exhausted, match="tolerates 1"):
        aggregate(X, NNM(f=1) | TrimmedMean(f=3))


def test_fractions_count_on_the_rows_that_arrived() -> None:
    X = np.random.default_rng(3).standard_normal((10, 3))
    X[[0, 1]] = np.nan  # 0.2 of 10 is 2, although 0.2 of the 8 that are left would be 1
    assert set(aggregate(X, TrimmedMean(f=0.2)).verdict.excluded) >= {0, 1}
    np.testing.assert_allclose(aggregate(X, TrimmedMean(f=0.2)).vector, X[2:].mean(axis=0))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_too_few_rows_raise_and_name_the_step(rule: Rule) -> None:
    with pytest.raises(Misconfigured, match=r"E103 \w+ with f=2 needs at least \d rows, and 4 arrived"):
        aggregate(np.ones((4, 3)), rule)


def test_the_callers_rows_are_never_written_to() -> None:
    X = np.random.default_rng(4).standard_normal((11, 5))
    X[3, 1] = np.inf
    before = X.copy()
    X.flags.writeable = False
    for rule in RULES:
        aggregate(X, rule)
    assert np.array_equal(X, before)


def test_verdicts_and_rules_cross_processes() -> None:
    result = aggregate(np.eye(5), NNM(f=1) | TrimmedMean(f=1))
    again = pickle.loads(pickle.dumps(result))
    assert np.array_equal(again.vector, result.vector) and again.verdict.excluded == result.verdict.excluded
    for rule in RULES:
        assert pickle.loads(pickle.dumps(rule)) == rule == copy.deepcopy(rule)


@pytest.mark.parametrize("rule", [TrimmedMean(f=2), Median(f=2), MultiKrum(f=2), NNM(f=2) | TrimmedMean(f=2)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_sites_that_flip_their_sign_four_times_over_are_named_and_honest_ones_are_not(rule: Rule, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal(1000) + rng.standard_normal((10, 1000))).astype(np.float32)
    X[[2, 5]] *= -4
    assert set(aggregate(X, rule).verdict.excluded) == {2, 5}


def test_memory_holds_the_rows_once() -> None:
    import tracemalloc

    X = np.random.default_rng(5).standard_normal((20, 200_000)).astype(np.float32)  # 16 MB
    for rule in RULES:
        tracemalloc.start()
        aggregate(X, rule)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < X.nbytes, rule
