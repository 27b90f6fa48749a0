"""Every rule that a job can name, alone and behind every step, is held to what it promises."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import (
    ARC,
    BEFORE,
    COORDINATES,
    NNM,
    RULES,
    Aggregate,
    Bulyan,
    CenteredClipping,
    ClipNorms,
    FoolsGold,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    MoNNA,
    MultiKrum,
    Promise,
    Rule,
    TrimmedMean,
    aggregate,
    make_rule,
    register_rule,
)
from hedgerow.aggregation.rule import CoordinateRule

Floats = npt.NDArray[np.float64]
N, F, D = 11, 2, 17


@register_rule("test-midmean", promises=COORDINATES)
def midmean(rows: npt.NDArray[np.floating], f: int) -> npt.NDArray[np.floating]:
    """Any rule that is registered is in these tests: this one sorts its rows in place, and may."""
    rows.sort(axis=0)
    middle: npt.NDArray[np.floating] = rows[f : len(rows) - f].mean(axis=0)
    return middle


VARIANTS: dict[str, Rule] = {
    "krum n-f-1": Krum(f=F, neighbours="n-f-1"),
    "bulyan one-shot": Bulyan(f=F, select="one-shot"),
    "centered-clipping tau": CenteredClipping(tau=2.0, iterations=2),
    "monna 3": MoNNA(f=F, pivot=3),
    "clip tau, mean": ClipNorms(tau=1.0) | Mean(),
}
ALONE = {name: make_rule(name, byzantine=F) for name in RULES} | VARIANTS
EVERY = ALONE | {
    f"{before}, {name}": make_rule(name, byzantine=F, before=before)
    for before in (*(step for step in BEFORE if step != "bucketing"), "arc+nnm")
    for name in RULES
    if name != "test-midmean"
}
WEAKENING = (GeometricMedian, CenteredClipping)  # they bound how far f rows can pull, and drop none


def named(rules: Mapping[str, Rule]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", rules.values(), ids=rules.keys())


def keeping(promise: Promise, among: Mapping[str, Rule] = EVERY) -> pytest.MarkDecorator:
    return named({name: rule for name, rule in among.items() if promise in rule.promises})


def sample(seed: int, n: int = N, d: int = D) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, d))


def combined(X: Any, rule: Rule) -> Aggregate[Any]:
    """The rule with everything that some rule may ask for, the same each time."""
    reference = np.median(np.asarray(X), axis=0)  # the same in any order of the rows
    sites = [f"site-{row}" for row in range(len(X))]
    return aggregate(X, rule, sites=sites, reference=reference, rng=np.random.default_rng(5))


seeds = st.integers(0, 2**32 - 1)


@keeping(Promise.ORDER)
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rule: Rule, seed: int) -> None:
    X = sample(seed)
    order = np.random.default_rng(seed + 1).permutation(N)
    one, other = combined(X, rule), combined(X[order], rule)
    np.testing.assert_allclose(other.vector, one.vector, atol=1e-8)
    assert {int(order[row]) for row in other.verdict.excluded} == set(one.verdict.excluded)
    if one.verdict.scores is not None and other.verdict.scores is not None:
        np.testing.assert_allclose(other.verdict.scores, one.verdict.scores[order], atol=1e-6)  # roots of rounding


@keeping(Promise.SHIFT)
@given(seed=seeds, shift=st.floats(-1e3, 1e3))
@settings(max_examples=5, deadline=None)
def test_shifting_every_row_shifts_the_vector(rule: Rule, seed: int, shift: float) -> None:
    X = sample(seed)
    by = shift * np.random.default_rng(seed + 1).standard_normal(D)
    np.testing.assert_allclose(combined(X + by, rule).vector, combined(X, rule).vector + by, atol=1e-6)


@named(
    {
        "clip": ClipNorms() | Mean(),
        "arc": ARC(f=F) | Mean(),
        "centered-clipping": CenteredClipping(),
    }
)
def test_what_is_tied_to_zero_does_not_shift(rule: Rule) -> None:
    X = sample(0)
    assert Promise.SHIFT not in rule.promises
    assert not np.allclose(combined(X + 5.0, rule).vector, combined(X, rule).vector + 5.0, atol=1e-6)


@keeping(Promise.SCALE)
@given(seed=seeds, factor=st.floats(1e-6, 1e6))
@settings(max_examples=5, deadline=None)
def test_scaling_every_row_scales_the_vector(rule: Rule, seed: int, factor: float) -> None:
    X = sample(seed)
    np.testing.assert_allclose(combined(factor * X, rule).vector, factor * combined(X, rule).vector, atol=1e-7 * factor)


def test_a_fixed_length_does_not_scale() -> None:
    X = sample(0)
    for rule in (ClipNorms(tau=1.0) | Mean(), CenteredClipping(tau=2.0)):
        assert Promise.SCALE not in rule.promises
        assert not np.allclose(combined(9.0 * X, rule).vector, 9.0 * combined(X, rule).vector, atol=1e-2)


def rotation(seed: int) -> Floats:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0])


@keeping(Promise.TURN)
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_rules_of_distances_turn_with_the_rows(rule: Rule, seed: int) -> None:
    X, Q = sample(seed), rotation(seed + 1)
    np.testing.assert_allclose(combined(X @ Q, rule).vector, combined(X, rule).vector @ Q, atol=1e-7)


@named({name: rule for name, rule in EVERY.items() if isinstance(rule.last, (CoordinateRule, Bulyan))})
def test_rules_of_coordinates_do_not_turn_with_the_rows(rule: Rule) -> None:
    X, Q = sample(3), rotation(4)
    assert Promise.TURN not in rule.promises
    assert np.abs(combined(X @ Q, rule).vector - combined(X, rule).vector @ Q).max() > 1e-3


@keeping(Promise.BOX)
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_every_coordinate_stays_between_the_rows(rule: Rule, seed: int) -> None:
    X = sample(seed)
    box = X if Promise.SHIFT in rule.promises else np.vstack([X, np.zeros(D)])
    got = combined(X, rule).vector
    assert (got >= box.min(axis=0) - 1e-12).all() and (got <= box.max(axis=0) + 1e-12).all()


@keeping(Promise.HULL)
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_a_rule_of_distances_stays_in_the_convex_hull(rule: Rule, seed: int) -> None:
    X = sample(seed)
    result = combined(X, rule)
    weights = result.verdict.weights
    assert weights is not None and (weights >= 0).all() and weights.sum() <= 1 + 1e-12
    assert weights.sum() == pytest.approx(1) or Promise.SHIFT not in rule.promises
    np.testing.assert_allclose(weights @ X, result.vector, atol=1e-10)


@pytest.mark.parametrize("before", ["none", "nnm", "arc", "arc+nnm"])
@pytest.mark.parametrize(
    "name", ["trimmed-mean", "meamed", "phocas", "multi-krum", "mda", "monna", "spectral", "bulyan", "mean"]
)
def test_without_hostile_rows_it_is_the_mean(name: str, before: str) -> None:
    X = sample(5)
    rule = make_rule(name, byzantine=0, before=before)
    np.testing.assert_allclose(combined(X, rule).vector, X.mean(axis=0), atol=1e-12)


@named(EVERY)
def test_equal_rows_give_that_row_and_a_coordinate_rule_excludes_nobody(rule: Rule) -> None:
    if Promise.BOX not in rule.promises or isinstance(rule.last, FoolsGold):
        pytest.skip("it promises nothing of the kind, or takes equal rows for one attacker's")
    X = np.repeat(sample(6, n=1), N, axis=0)
    result = combined(X, rule)
    if isinstance(rule, CenteredClipping) and rule.tau is not None:
        assert np.linalg.norm(result.vector) == pytest.approx(4.0)  # two steps of two from zero
        return
    if rule == VARIANTS["clip tau, mean"]:
        assert np.linalg.norm(result.vector) == pytest.approx(1.0)
        return
    np.testing.assert_allclose(result.vector, X[0], atol=1e-12)
    if isinstance(rule, CoordinateRule):
        assert result.verdict.excluded == {}


@named({"median": Median(), "geometric median": GeometricMedian(), "mean": Mean()})
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_sending_every_row_twice_changes_nothing(rule: Rule, seed: int) -> None:
    X = sample(seed)
    np.testing.assert_allclose(combined(np.vstack([X, X]), rule).vector, combined(X, rule).vector, atol=1e-8)


@named(EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_float32_agrees_with_float64(rule: Rule, seed: int) -> None:
    X = sample(seed).astype(np.float32)
    single = combined(X, rule).vector
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, combined(X.astype(np.float64), rule).vector, atol=1e-5)


@named(EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_gives_the_same_bits_as_numpy(rule: Rule, dtype: torch.dtype) -> None:
    X = torch.from_numpy(sample(8)).to(dtype)
    from_torch, from_numpy = combined(X, rule), combined(X.numpy(), rule)
    assert isinstance(from_torch.vector, torch.Tensor) and from_torch.vector.dtype == dtype
    assert np.array_equal(from_torch.vector.numpy(), from_numpy.vector)
    assert from_torch.verdict.excluded == from_numpy.verdict.excluded


@named(EVERY)
def test_nothing_is_changed_and_every_call_repeats_bit_for_bit(rule: Rule) -> None:
    X = sample(9)
    before = X.copy()
    first, second = combined(X, rule).vector, combined(X, rule).vector
    assert np.array_equal(X, before) and np.array_equal(first, second)
    assert not np.shares_memory(first, X)
    first[...] = 0.0
    assert np.array_equal(X, before)


@named(EVERY)
def test_the_global_generator_is_left_alone(rule: Rule) -> None:
    X = sample(9)
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    combined(X, rule)
    assert np.random.random() == expected  # noqa: NPY002


@named(EVERY)
def test_views_and_transposed_memory_are_read_correctly(rule: Rule) -> None:
    wide = sample(11, n=2 * N, d=3 * D)
    view = wide[::2, 1::3]
    expected = combined(np.ascontiguousarray(view), rule).vector
    np.testing.assert_allclose(combined(view, rule).vector, expected, atol=1e-12)
    np.testing.assert_allclose(combined(np.asfortranarray(view), rule).vector, expected, atol=1e-12)


@keeping(Promise.SAFE)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e300], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_f_absurd_rows_do_no_harm(rule: Rule, bad: float, dtype: type[np.floating]) -> None:
    X = sample(12).astype(dtype)
    with np.errstate(over="ignore"):
        X[[2, 7]] = np.asarray(bad).astype(dtype)
    honest = np.delete(X, [2, 7], axis=0).astype(np.float64)
    result = combined(X, rule)
    spread = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.isfinite(result.vector).all()
    assert np.linalg.norm(result.vector - honest.mean(axis=0)) <= 1.5 * spread
    if Promise.SHIFT in rule.promises and not isinstance(rule.last, WEAKENING):  # a clipped row keeps its direction
        low, high = np.minimum(honest.min(axis=0), 0.0), np.maximum(honest.max(axis=0), 0.0)
        assert (result.vector >= low - 1e-6).all() and (result.vector <= high + 1e-6).all()
    if not np.isfinite(bad):
        assert result.verdict.excluded.get(2) == result.verdict.excluded.get(7) == "not finite"


def test_the_mean_has_no_defence_so_one_row_moves_it_anywhere() -> None:
    X = sample(13)
    X[0] = 1e30
    assert Promise.SAFE not in Mean().promises
    assert np.linalg.norm(combined(X, Mean()).vector) > 1e28


@keeping(Promise.SAFE, {name: rule for name, rule in EVERY.items() if Promise.SHIFT in rule.promises})
def test_a_majority_breaks_every_rule(rule: Rule) -> None:
    X = sample(14)
    X[: N // 2 + 1] = 1e6
    assert np.linalg.norm(combined(X, rule).vector) > 1e5


@pytest.mark.parametrize("name", [name for name, rule in ALONE.items() if Promise.SAFE in rule.promises])
def test_as_many_hostile_rows_as_honest_ones_are_refused(name: str) -> None:
    rule = ALONE[name]
    if rule.byzantine(N) is None:
        pytest.skip("it was not told how many are hostile")
    with pytest.raises(Exception, match="E103"):
        combined(sample(15, n=2 * F), rule)


def test_one_dimension_agrees_with_the_definitions() -> None:
    from scipy import stats  # type: ignore[import-untyped]

    rng = np.random.default_rng(16)
    for n, f in ((5, 1), (11, 2), (12, 5), (80, 9)):
        X = rng.standard_normal((n, 1))
        values = X[:, 0]
        expected = {
            "trimmed-mean": float(stats.trim_mean(values, (f + 0.5) / n)),
            "median": float(np.median(values)),
            "mean": float(values.mean()),
        }
        for name, value in expected.items():
            got = combined(X, make_rule(name, byzantine=f)).vector
            assert got[0] == pytest.approx(value, abs=1e-12), (name, n, f)


def test_chains_promise_what_all_of_their_steps_promise() -> None:
    assert (NNM(f=1) | TrimmedMean(f=1)).promises == COORDINATES
    assert (ClipNorms() | MultiKrum(f=1)).promises == MultiKrum(f=1).promises - {Promise.SHIFT}
    assert make_rule("mda", byzantine=1, before="bucketing").promises == make_rule("mda", byzantine=1).promises - {
        Promise.ORDER
    }
