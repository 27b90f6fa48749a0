"""What holds for every rule, whatever it computes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
    clip_norms,
    geometric_median,
    krum,
    mean,
    median,
    multi_krum,
    nnm,
    trimmed_mean,
)

Floats = npt.NDArray[np.float64]
N, F, D = 11, 2, 17

GRAM: dict[str, Rule] = {
    "Krum": Krum(f=F),
    "Krum n-f-1": Krum(f=F, neighbours="n-f-1"),
    "multi-Krum": MultiKrum(f=F),
    "geometric median": GeometricMedian(),
    "NNM, Krum": NNM(f=F) | Krum(f=F),
    "NNM, geometric median": NNM(f=F) | GeometricMedian(),
}
CLIPPED: dict[str, Rule] = {
    "clip, NNM, trimmed mean": ClipNorms() | NNM(f=F) | TrimmedMean(f=F),
    "clip, NNM, multi-Krum": ClipNorms() | NNM(f=F) | MultiKrum(f=F),
    "clip, median": ClipNorms() | Median(),
}
COORDINATE: dict[str, Rule] = {
    "median": Median(),
    "trimmed mean": TrimmedMean(f=F),
    "NNM, trimmed mean": NNM(f=F) | TrimmedMean(f=F),
    "NNM, median": NNM(f=F) | Median(),
}
LINEAR: dict[str, Rule] = {"mean": Mean(), "clip, mean": ClipNorms() | Mean()}
ROBUST = GRAM | COORDINATE | CLIPPED
EVERY = ROBUST | LINEAR
UNCLIPPED = GRAM | COORDINATE | {"mean": Mean()}

PLAIN: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "median": median,
    "trimmed_mean": lambda X: trimmed_mean(X, f=F),
    "krum": lambda X: krum(X, f=F),
    "multi_krum": lambda X: multi_krum(X, f=F),
    "geometric_median": geometric_median,
    "nnm": lambda X: nnm(X, f=F),
    "clip_norms": clip_norms,
}


def named(rules: dict[str, Rule]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", rules.values(), ids=rules.keys())


def sample(seed: int, n: int = N, d: int = D) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, d))


seeds = st.integers(0, 2**32 - 1)


@named(EVERY)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rule: Rule, seed: int) -> None:
    X = sample(seed)
    order = np.random.default_rng(seed + 1).permutation(N)
    one, other = aggregate(X, rule), aggregate(X[order], rule)
    np.testing.assert_allclose(other.vector, one.vector, atol=1e-9)
    assert {int(order[row]) for row in other.verdict.excluded} == set(one.verdict.excluded)
    if one.verdict.scores is not None and other.verdict.scores is not None:
        np.testing.assert_allclose(other.verdict.scores, one.verdict.scores[order], atol=1e-7)  # roots of rounding


@named(UNCLIPPED)
@given(seed=seeds, shift=st.floats(-1e3, 1e3))
@settings(max_examples=10, deadline=None)
def test_shifting_every_row_shifts_the_vector(rule: Rule, seed: int, shift: float) -> None:
    X = sample(seed)
    by = shift * np.random.default_rng(seed + 1).standard_normal(D)
    np.testing.assert_allclose(aggregate(X + by, rule).vector, aggregate(X, rule).vector + by, atol=1e-6)


def test_clipping_is_tied_to_zero_so_shifting_does_not_commute() -> None:
    X = sample(0)
    rule = ClipNorms() | Mean()
    assert not np.allclose(aggregate(X + 5.0, rule).vector, aggregate(X, rule).vector + 5.0, atol=1e-2)


@named(EVERY)
@given(seed=seeds, factor=st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_scaling_every_row_scales_the_vector(rule: Rule, seed: int, factor: float) -> None:
    X = sample(seed)
    np.testing.assert_allclose(
        aggregate(factor * X, rule).vector, factor * aggregate(X, rule).vector, atol=1e-8 * factor
    )


def rotation(seed: int) -> Floats:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0])


@named(GRAM | LINEAR | {"clip, NNM, multi-Krum": CLIPPED["clip, NNM, multi-Krum"]})
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_rules_of_distances_turn_with_the_rows(rule: Rule, seed: int) -> None:
    X, Q = sample(seed), rotation(seed + 1)
    np.testing.assert_allclose(aggregate(X @ Q, rule).vector, aggregate(X, rule).vector @ Q, atol=1e-8)


@named(COORDINATE)
def test_rules_of_coordinates_do_not_turn_with_the_rows(rule: Rule) -> None:
    X, Q = sample(3), rotation(4)
    assert np.abs(aggregate(X @ Q, rule).vector - aggregate(X, rule).vector @ Q).max() > 1e-3


@named(EVERY)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_every_coordinate_stays_between_the_rows(rule: Rule, seed: int) -> None:
    X = np.vstack([sample(seed), np.zeros(D)]) if "ClipNorms" in repr(rule) else sample(seed)
    got = aggregate(X, rule).vector
    assert (got >= X.min(axis=0) - 1e-12).all() and (got <= X.max(axis=0) + 1e-12).all()


@named(GRAM | LINEAR)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_rule_of_distances_stays_in_the_convex_hull(rule: Rule, seed: int) -> None:
    X = sample(seed)
    result = aggregate(X, rule)
    weights = result.verdict.weights
    assert weights is not None and (weights >= 0).all() and weights.sum() <= 1 + 1e-12
    assert weights.sum() == pytest.approx(1) or "ClipNorms" in repr(rule)
    np.testing.assert_allclose(weights @ X, result.vector, atol=1e-10)


@pytest.mark.parametrize(
    "rule",
    [TrimmedMean(f=0), MultiKrum(f=0), NNM(f=0) | TrimmedMean(f=0), NNM(f=0) | Median(), NNM(f=0) | Krum(f=0)],
    ids=str,
)
def test_without_hostile_rows_it_is_the_mean(rule: Rule) -> None:
    X = sample(5)
    np.testing.assert_allclose(aggregate(X, rule).vector, X.mean(axis=0), atol=1e-12)


@named(EVERY)
def test_equal_rows_give_that_row_and_exclude_nobody_by_a_coordinate_rule(rule: Rule) -> None:
    X = np.repeat(sample(6, n=1), N, axis=0)
    result = aggregate(X, rule)
    np.testing.assert_allclose(result.vector, X[0], atol=1e-12)
    if rule in (Median(), TrimmedMean(f=F)):
        assert result.verdict.excluded == {}


@named({"median": Median(), "geometric median": GeometricMedian(), "mean": Mean()})
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_sending_every_row_twice_changes_nothing(rule: Rule, seed: int) -> None:
    X = sample(seed)
    np.testing.assert_allclose(aggregate(np.vstack([X, X]), rule).vector, aggregate(X, rule).vector, atol=1e-8)


@named(EVERY)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_float32_agrees_with_float64(rule: Rule, seed: int) -> None:
    X = sample(seed).astype(np.float32)
    single = aggregate(X, rule).vector
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, aggregate(X.astype(np.float64), rule).vector, atol=1e-5)


@named(EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_gives_the_same_bits_as_numpy(rule: Rule, dtype: torch.dtype) -> None:
    X = torch.from_numpy(sample(8)).to(dtype)
    from_torch, from_numpy = aggregate(X, rule), aggregate(X.numpy(), rule)
    assert isinstance(from_torch.vector, torch.Tensor) and from_torch.vector.dtype == dtype
    assert np.array_equal(from_torch.vector.numpy(), from_numpy.vector)
    assert from_torch.verdict.excluded == from_numpy.verdict.excluded


@pytest.mark.parametrize("plain", PLAIN.values(), ids=PLAIN.keys())
def test_plain_functions_change_nothing_and_repeat_bit_for_bit(plain: Callable[[Floats], Floats]) -> None:
    X = sample(9)
    before = X.copy()
    first, second = plain(X), plain(X)
    assert np.array_equal(X, before) and np.array_equal(first, second)
    assert not np.shares_memory(first, X)
    first[...] = 0.0
    assert np.array_equal(X, before)


def test_plain_functions_give_the_vector_of_aggregate() -> None:
    X = sample(10)
    pairs: list[tuple[Floats, Rule]] = [
        (mean(X), Mean()),
        (median(X), Median()),
        (trimmed_mean(X, f=F), TrimmedMean(f=F)),
        (krum(X, f=F), Krum(f=F)),
        (multi_krum(X, f=F, m=3), MultiKrum(f=F, m=3)),
        (geometric_median(X), GeometricMedian()),
        (median(nnm(X, f=F)), NNM(f=F) | Median()),
        (mean(clip_norms(X, tau=2)), ClipNorms(tau=2) | Mean()),
        (krum(nnm(clip_norms(X), f=F), f=F), ClipNorms() | NNM(f=F) | Krum(f=F)),
    ]
    for got, rule in pairs:
        np.testing.assert_allclose(got, aggregate(X, rule).vector, atol=1e-12)


@named(EVERY)
def test_views_and_transposed_memory_are_read_correctly(rule: Rule) -> None:
    wide = sample(11, n=2 * N, d=3 * D)
    view = wide[::2, 1::3]
    expected = aggregate(np.ascontiguousarray(view), rule).vector
    np.testing.assert_allclose(aggregate(view, rule).vector, expected, atol=1e-12)
    np.testing.assert_allclose(aggregate(np.asfortranarray(view), rule).vector, expected, atol=1e-12)


@named(ROBUST)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e300], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_f_absurd_rows_do_no_harm(rule: Rule, bad: float, dtype: type[np.floating]) -> None:
    X = sample(12).astype(dtype)
    with np.errstate(over="ignore"):
        X[[2, 7]] = np.asarray(bad).astype(dtype)
    honest = np.delete(X, [2, 7], axis=0).astype(np.float64)
    result = aggregate(X, rule)
    spread = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.isfinite(result.vector).all()
    assert np.linalg.norm(result.vector - honest.mean(axis=0)) <= 1.5 * spread
    if not isinstance(rule.last, GeometricMedian):  # that one only bounds how far f rows can pull
        low, high = np.minimum(honest.min(axis=0), 0.0), np.maximum(honest.max(axis=0), 0.0)
        assert (result.vector >= low - 1e-6).all() and (result.vector <= high + 1e-6).all()
    if not np.isfinite(bad):
        assert result.verdict.excluded.get(2) == result.verdict.excluded.get(7) == "not finite"


def test_the_mean_has_no_defence_so_one_row_moves_it_anywhere() -> None:
    X = sample(13)
    X[0] = 1e30
    assert np.linalg.norm(mean(X)) > 1e28


@named({name: rule for name, rule in ROBUST.items() if "clip" not in name and "multi" not in name})
def test_a_majority_breaks_every_rule(rule: Rule) -> None:
    X = sample(14)
    X[: N // 2 + 1] = 1e6
    assert np.linalg.norm(aggregate(X, rule).vector) > 1e5
