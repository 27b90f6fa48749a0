"""Rows that carry weights: a row of weight two counts as two rows, and a majority of the weight is refused."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import (
    ARC,
    MDA,
    NNM,
    Bucketing,
    ClipNorms,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MoNNA,
    MultiKrum,
    RejectLong,
    Rule,
    TrimmedMean,
    aggregate,
    krum,
    median,
    trimmed_mean,
)
from hedgerow.aggregation.arrays.gram import measure
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.mass import hostile_mass, weighted_middle, within
from hedgerow.aggregation.rules.selection import heavy_scores, krum_scores
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
N, F, D = 11, 2, 7

WEIGHTED: dict[str, Rule] = {
    "mean": Mean(f=F),
    "median": Median(f=F),
    "trimmed mean": TrimmedMean(f=F),
    "krum": Krum(f=F),
    "krum n-f-1": Krum(f=F, neighbours="n-f-1"),
    "multi-krum": MultiKrum(f=F),
    "multi-krum m": MultiKrum(f=F, m=3),
    "mda": MDA(f=F),
    "monna": MoNNA(f=F),
    "geometric median": GeometricMedian(f=F),
    "nnm, trimmed mean": NNM(f=F) | TrimmedMean(f=F),
    "arc, nnm, trimmed mean": ARC(f=F) | NNM(f=F) | TrimmedMean(f=F),
    "clip, median": ClipNorms() | Median(f=F),
}
seeds = st.integers(0, 2**32 - 1)


def sample(seed: int, n: int = N, d: int = D) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("rule", WEIGHTED.values(), ids=WEIGHTED.keys())
def test_equal_weights_give_the_same_bits_as_none(rule: Rule) -> None:
    X = sample(0)
    one, other = aggregate(X, rule), aggregate(X, rule, weights=np.full(N, 3.0))
    assert np.array_equal(one.vector, other.vector)
    assert one.verdict.excluded == other.verdict.excluded


@pytest.mark.parametrize("rule", WEIGHTED.values(), ids=WEIGHTED.keys())
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_nearly_equal_weights_give_nearly_the_same(rule: Rule, seed: int) -> None:
    X = sample(seed)
    weights = np.ones(N)
    weights[seed % N] += 1e-11  # not equal, so that weights are reckoned with
    np.testing.assert_allclose(aggregate(X, rule, weights=weights).vector, aggregate(X, rule).vector, atol=1e-8)


def repeated(X: Floats, times: npt.NDArray[np.int_]) -> Floats:
    return np.repeat(X, times, axis=0)


@pytest.mark.parametrize(
    "made",
    [
        lambda f: Mean(f=f),
        lambda f: Median(f=f),
        lambda f: TrimmedMean(f=f),
        lambda f: NNM(f=f) | TrimmedMean(f=f),
        lambda f: NNM(f=f) | Mean(),
        lambda f: ARC(f=f) | Mean(),
        lambda f: ARC(f=f) | NNM(f=f) | TrimmedMean(f=f),
        lambda f: ClipNorms() | Mean(),
        lambda f: Krum(f=f, neighbours="n-f-1", strict=False),
        lambda f: MultiKrum(f=f, neighbours="n-f-1", strict=False),
        lambda f: MoNNA(f=f),
    ],
    ids=lambda made: repr(made(1)),
)
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_row_of_weight_two_counts_as_two_rows(made: Callable[[int], Rule], seed: int) -> None:
    X = sample(seed)
    times = np.random.default_rng(seed + 1).integers(1, 4, N)
    hostile = int(np.sort(times)[-F:].sum())  # what two rows can hold, in rows of weight one
    heavy = aggregate(X, made(F), weights=times).vector
    many = aggregate(repeated(X, times), made(hostile)).vector
    np.testing.assert_allclose(heavy, many, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_weighted_geometric_median_is_that_of_repeated_rows(seed: int) -> None:
    X, times = sample(seed), np.random.default_rng(seed + 1).integers(1, 4, N)
    heavy = aggregate(X, GeometricMedian(), weights=times).vector
    np.testing.assert_allclose(heavy, aggregate(repeated(X, times), GeometricMedian()).vector, atol=1e-7)
    pulls = (X - heavy) / np.linalg.norm(X - heavy, axis=1)[:, None]
    assert np.linalg.norm(times @ pulls) < 1e-6


def test_weighted_ends_and_middles_by_hand() -> None:
    X = np.array([[0.0], [1.0], [2.0], [10.0]])
    # a quarter is cut on each side: 0 goes with its whole weight, 10 with a quarter of the four tenths it holds
    assert trimmed_mean(X, f=1, weights=[0.2, 0.3, 0.3, 0.2])[0] == pytest.approx((0.2 * 1 + 0.2 * 2) / 0.4)
    assert median(X, weights=[0.1, 0.2, 0.2, 0.5])[0] == 6.0  # half on either side of the gap
    assert median(X, weights=[0.1, 0.2, 0.21, 0.49])[0] == 2.0


def test_one_heavy_site_scaled_a_thousandfold_moves_the_weighted_mean_and_not_the_robust_ones() -> None:
    X = 0.1 * sample(1, n=20) + 1.0
    weights = np.ones(20)
    weights[4] = 3.0
    X[4] *= 1000
    honest = np.delete(X, 4, axis=0).mean(axis=0)
    assert np.linalg.norm(aggregate(X, Mean(), weights=weights).vector - honest) > 100
    for rule in (TrimmedMean(f=1), Median(f=1), Krum(f=1), MDA(f=1), ARC(f=1) | NNM(f=1) | TrimmedMean(f=1)):
        assert np.linalg.norm(aggregate(X, rule, weights=weights).vector - honest) < 0.5, rule


@pytest.mark.parametrize(
    "rule",
    [rule for rule in WEIGHTED.values() if rule.byzantine(N) and rule != Mean(f=F)],
    ids=str,
)
def test_rows_that_may_hold_half_of_the_weight_are_refused(rule: Rule) -> None:
    if rule.before and isinstance(rule.before[0], ClipNorms):
        rule = rule.last
    weights = np.ones(N)
    weights[:2] = 4.5  # nine of eighteen
    with pytest.raises(Misconfigured, match="E103 the 2 heaviest of 11 rows hold 50%"):
        aggregate(sample(2), rule, weights=weights)
    weights[:2] = 3.5 if isinstance(rule.last, (Krum, MultiKrum)) else 4.4
    assert np.isfinite(aggregate(sample(2), rule, weights=weights).vector).all()


@pytest.mark.parametrize("rule", [Krum(f=2), MultiKrum(f=2), NNM(f=2) | Krum(f=2)], ids=str)
def test_equal_rows_of_nearly_half_of_the_weight_never_choose_each_other(rule: Rule) -> None:
    X = sample(4)
    X[:2] = 1e6
    weights = np.ones(N)
    for weights[:2] in (3.5, 4.4):  # 44 and 49 %; of eleven rows two may hold less than 45 %
        try:
            vector = aggregate(X, rule, weights=weights).vector
        except Misconfigured as error:
            assert weights[0] == 4.4 and "less than 45%" in error.message
        else:
            assert weights[0] == 3.5 and np.abs(vector).max() < 10


@pytest.mark.parametrize("heavy", [3.0, 0.4])
def test_hostile_rows_of_any_weight_that_is_allowed_do_no_harm(heavy: float) -> None:
    X = sample(3)
    X[[2, 7]] = 1e30
    weights = np.ones(N)
    weights[[2, 7]] = heavy
    honest = np.delete(X, [2, 7], axis=0)
    low, high = honest.min(axis=0) - 1e-9, honest.max(axis=0) + 1e-9
    for name, rule in WEIGHTED.items():
        if name not in ("mean", "geometric median") and not name.startswith(("clip", "arc")):
            got = aggregate(X, rule, weights=weights).vector
            assert (got >= low).all() and (got <= high).all(), name


def test_coordinate_scores_are_in_units_of_a_rows_own_fair_share() -> None:
    X = np.repeat(sample(4, n=1), 5, axis=0)
    weights = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    verdict = aggregate(X, TrimmedMean(f=1), weights=weights).verdict
    assert verdict.scores is not None
    np.testing.assert_allclose(verdict.scores, 0.0, atol=1e-12)  # each has what its weight entitles it to
    assert verdict.excluded == {}
    X[4] += 1e6
    verdict = aggregate(X, TrimmedMean(f=1), weights=weights).verdict
    assert verdict.scores is not None and verdict.scores.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert set(verdict.excluded) == {4}


def test_buckets_weigh_what_their_rows_weigh() -> None:
    X, weights = sample(5), np.arange(1.0, N + 1)
    got = aggregate(X, Bucketing(size=3) | Mean(), weights=weights, rng=np.random.default_rng(0)).vector
    np.testing.assert_allclose(got, weights @ X / weights.sum(), atol=1e-12)


@given(seed=seeds, n=st.integers(4, 15), f=st.integers(1, 3), size=st.integers(2, 3))
@settings(max_examples=100, deadline=None)
def test_a_bucket_weighs_what_its_rows_weigh_and_the_heaviest_buckets_bound_the_hostile_ones(
    seed: int, n: int, f: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.lognormal(0, 1, n)
    weights /= weights.sum()
    mixed = Bucketing(size=size).mix(measure(sample(seed, n)), Given(f=f, weights=weights, rng=rng))
    groups = mixed.geometry.shares > 0
    assert mixed.weights is not None
    np.testing.assert_allclose(mixed.weights, [weights[group].sum() for group in groups], atol=1e-12)
    hostile = rng.permutation(n)[:f]
    heaviest = np.sort(mixed.weights)[-f:].sum()
    assert mixed.weights[groups[:, hostile].any(axis=1)].sum() <= heaviest + 1e-12
    assert heaviest <= np.sort(weights)[-f * size :].sum() + 1e-12


def test_what_the_heaviest_buckets_hold_is_asked_after_merging() -> None:
    weights = np.array([3.0, 3.0, *[1.0] * 10])  # two rows hold 38 %, two buckets of two 50 % unless they share one
    rng = np.random.default_rng(2)
    aggregate(sample(0, 12), Median(f=2), weights=weights)
    with pytest.raises(Misconfigured, match="E103 the 2 heaviest of 6 rows hold 50%"):
        aggregate(sample(0, 12), Bucketing() | Median(f=2), weights=weights, rng=rng)


@given(seed=seeds, f=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_equal_hostile_rows_are_never_chosen_by_weighted_krum_where_other_hostile_rows_were_rejected(
    seed: int, f: int
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2 * f + 3, 3 * f + 8))
    X, weights = 10 + 1e-5 * rng.standard_normal((n, 20)), rng.lognormal(0, 0.7, n)
    hostile, long = rng.permutation(np.argsort(-weights)[:f]), int(rng.integers(0, f + 1))
    X[hostile] = -10.0  # as long as the honest ones, and as far from them as can be
    X[hostile[:long]] *= 100
    try:
        chosen = aggregate(X, RejectLong(f=f) | Krum(f=f), weights=weights).vector
    except Misconfigured:
        return
    np.testing.assert_allclose(chosen, 10.0, atol=1e-3)


def test_a_row_of_no_weight_has_no_say() -> None:
    X, weights = sample(6), np.ones(N)
    weights[5] = 0.0
    without = np.delete(X, 5, axis=0)
    for rule in (Median(), GeometricMedian(), Mean(), TrimmedMean(f=F), NNM(f=F) | Mean()):
        got = aggregate(X, rule, weights=weights).vector
        np.testing.assert_allclose(got, aggregate(without, rule).vector, atol=0.5 if rule.before else 1e-8)


def test_the_parts_of_weights_laid_end_to_end() -> None:
    weights = np.array([0.5, 0.25, 0.25])
    assert within(weights, 0.25, 1.0).tolist() == [0.25, 0.25, 0.25]
    assert within(weights, 0.0, 0.6).tolist() == pytest.approx([0.5, 0.1, 0.0])
    lower, upper = weighted_middle(np.array([[3.0], [1.0], [2.0]]), weights)
    assert (lower[0], upper[0]) == (2.0, 3.0)
    assert hostile_mass(weights, 0) == 0.0
    with pytest.raises(Misconfigured, match="E103"):
        hostile_mass(weights, 1)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_scores_of_equal_weights_are_krums(seed: int) -> None:
    X = sample(seed)
    distances = ((X[:, None] - X) ** 2).sum(axis=2)
    for neighbours in ("n-f-1", "n-f-2"):
        heavy = heavy_scores(distances, np.full(N, 1 / N), F / N, neighbours)
        np.testing.assert_allclose(heavy, krum_scores(distances, F, neighbours), rtol=1e-9)


def test_a_weight_for_each_row_is_needed_by_the_plain_functions_too() -> None:
    with pytest.raises(Misconfigured, match="E126"):
        krum(sample(7), f=2, weights=[1.0, 2.0])
