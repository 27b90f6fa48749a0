from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import FLDetector, aggregate
from hedgerow.aggregation.defences.curvature import curvature
from hedgerow.aggregation.defences.two_groups import odd_ones_out
from hedgerow.aggregation.given import State
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
Attack = Callable[[Floats, np.random.Generator], Floats]
seeds = st.integers(0, 2**32 - 1)


def by_updates(S: Floats, Y: Floats) -> Floats:
    """The matrix that BFGS arrives at, one pair after the other."""
    B = (Y[-1] @ S[-1]) / (S[-1] @ S[-1]) * np.eye(S.shape[1])
    for s, y in zip(S, Y, strict=True):
        B = B - np.outer(B @ s, B @ s) / (s @ B @ s) + np.outer(y, y) / (y @ s)
    return np.asarray(B)


@given(seed=seeds, pairs=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_curvature_is_the_one_that_bfgs_updates_arrive_at(seed: int, pairs: int) -> None:
    rng = np.random.default_rng(seed)
    H = np.diag(rng.uniform(0.5, 2.0, 8))
    S, v = rng.standard_normal((pairs, 8)) * 10.0 ** rng.integers(-3, 3, (pairs, 1)), rng.standard_normal(8)
    points = np.vstack([S, S @ H, v])
    np.testing.assert_allclose(curvature(points @ points.T) @ points, by_updates(S, S @ H) @ v, rtol=1e-6, atol=1e-6)


def test_pairs_that_say_nothing_about_the_curvature_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    S, v = rng.standard_normal((3, 6)), rng.standard_normal(6)
    Y = 2.0 * S
    with_bad = np.vstack([S[:1], np.zeros((1, 6)), S[1:], S[:1], Y[:1], Y[:1], Y[1:], -Y[:1], v])
    good = np.vstack([S, Y, v])
    np.testing.assert_allclose(curvature(with_bad @ with_bad.T) @ with_bad, curvature(good @ good.T) @ good)
    none = np.vstack([S, -Y, v])
    assert not curvature(none @ none.T).any()


@given(seed=seeds, n=st.integers(3, 20))
@settings(max_examples=40, deadline=None)
def test_the_odd_ones_are_the_higher_of_the_two_tightest_groups_or_nobody(seed: int, n: int) -> None:
    scores = np.random.default_rng(seed).gamma(1.0, size=n)
    ordered = np.sort(scores)
    scatter = [ordered[:cut].var() * cut + ordered[cut:].var() * (n - cut) for cut in range(1, n)]
    odd = odd_ones_out(scores)
    assert not odd.any() or np.array_equal(odd, scores >= ordered[1 + int(np.argmin(scatter))])


@pytest.mark.parametrize("seed", range(10))
def test_two_groups_are_told_from_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = 1.0 + 0.1 * rng.standard_normal(12)
    assert not odd_ones_out(rng.permutation(np.linspace(0.5, 1.5, 12))).any()
    scores[[2, 7, 8]] += 2.0
    assert np.flatnonzero(odd_ones_out(scores)).tolist() == [2, 7, 8]


def test_equal_scores_and_too_few_are_one_group() -> None:
    assert not odd_ones_out(np.full(9, 1 / 3)).any() and not odd_ones_out(np.zeros(5)).any()
    assert not odd_ones_out(np.array([1.0, 9.0])).any() and not odd_ones_out(np.empty(0)).any()


def on_a_parabola(present: list[list[int]], liar: int) -> list[Floats]:
    """The scores in each round of sites with the same curvature and minima of their own, on one weight. The liar's
    row jumps about from the third round on."""
    minima, w, scores = np.linspace(-1.0, 1.0, 6), 5.0, []
    state: State = {}
    for number, who in enumerate(present):
        X = (-0.2 * (w - minima[who]))[:, None]
        X[np.array(who) == liar] += [0.0, 2.0, -1.0, 3.0][number % 4] if number > 1 else 0.0
        result = aggregate(X, FLDetector(patience=9), sites=[f"s{i}" for i in who], state=state)
        state, w = result.state, w + float(result.vector[0])
        assert result.verdict.scores is not None
        scores.append(result.verdict.scores)
    return scores


def test_honest_rows_are_foreseen_where_the_curvature_is_common_even_over_missed_rounds() -> None:
    everyone = list(range(6))
    scores = on_a_parabola([everyone, everyone, everyone], liar=2)
    assert np.isnan(scores[0]).all() and np.isnan(scores[1]).all()  # no pair of steps yet
    np.testing.assert_allclose(scores[2], [0, 0, 6, 0, 0, 0], atol=1e-9)  # in units of the mean of six
    scores = on_a_parabola([everyone, everyone, [2, 3], everyone], liar=5)  # [2, 3]: the same mean
    np.testing.assert_allclose(scores[3], [0, 0, 0.5, 0.5, 0, 6], atol=1e-9)  # they were equally near before


def linear_models(
    seed: int, attack: Attack, rounds: int = 14, present: float = 1.0, rule: FLDetector | None = None
) -> tuple[list[set[int]], float]:
    """Twelve sites fit a linear model by gradient descent, the first three hostile. Who was left out in each round,
    and how far the model ends from the honest sites' best, in units of where it started."""
    rng = np.random.default_rng(seed)
    n, d, k = 12, 10, 40
    A = rng.standard_normal((n, k, d))
    y = A @ rng.standard_normal(d) + 0.1 * rng.standard_normal((n, k))
    w, left_out = np.zeros(d), []
    state: State = {}
    for _ in range(rounds):
        who = np.sort(rng.choice(n, int(present * n), replace=False))
        X = np.array([-0.1 * A[i].T @ (A[i] @ w - y[i]) / k for i in who])
        for row in np.flatnonzero(who < 3):
            X[row] = attack(X[row], rng)
        result = aggregate(X, rule or FLDetector(), sites=[f"s{i}" for i in who], state=state)
        state, w = result.state, w + result.vector
        left_out.append({int(who[row]) for row in result.verdict.excluded})
    best = np.linalg.lstsq(A[3:].reshape(-1, d), y[3:].ravel(), rcond=None)[0]
    return left_out, float(np.linalg.norm(w - best) / np.linalg.norm(best))


def noise(x: Floats, rng: np.random.Generator) -> Floats:
    return 2.0 * rng.standard_normal(len(x))


def test_sites_that_send_noise_are_found_once_there_is_something_to_compare() -> None:
    judged = [linear_models(seed, noise) for seed in range(4)]
    for left_out, _ in judged:
        assert all(not out for out in left_out[:4]) and all(out == {0, 1, 2} for out in left_out[5:])
    unjudged = [linear_models(seed, noise, rule=FLDetector(patience=10))[1] for seed in range(4)]
    assert sum(off for _, off in judged) < 0.75 * sum(unjudged)


@pytest.mark.parametrize("seed", range(4))
def test_sites_that_reverse_and_scale_are_mostly_found_and_honest_ones_left_alone(seed: int) -> None:
    left_out, _ = linear_models(seed, lambda x, rng: -4.0 * x, rounds=20)
    assert sum(len(out & {0, 1, 2}) for out in left_out[5:]) >= 0.5 * 3 * 15
    assert sum(len(out - {0, 1, 2}) for out in left_out) <= 3


@pytest.mark.parametrize("seed", range(4))
def test_with_nobody_hostile_hardly_anyone_is_left_out(seed: int) -> None:
    left_out, _ = linear_models(seed, lambda x, rng: x)
    assert sum(map(len, left_out)) <= 0.03 * 12 * 14


def test_it_fails_against_hostile_sites_that_are_predictable_and_with_few_sites_in_each_round() -> None:
    left_out, off = linear_models(0, lambda x, rng: np.full(len(x), 0.3))
    assert not any(out & {0, 1, 2} for out in left_out) and off > 0.4
    found = [
        sum(len(out & {0, 1, 2}) for seed in range(4) for out in linear_models(seed, noise, present=present)[0][5:])
        for present in (0.5, 1.0)
    ]
    assert found[0] < 0.4 * found[1]


def test_no_more_are_left_out_than_f() -> None:
    left_out, _ = linear_models(1, noise, rule=FLDetector(f=1))
    assert max(map(len, left_out)) == 1


def test_the_memory_is_the_last_vectors_and_one_row_and_some_scores_per_site() -> None:
    state: State = {}
    rng = np.random.default_rng(3)
    rows: dict[str, Floats] = {}
    vectors = []
    for number in range(6):
        sites = ["b", "a", "c"] if number % 2 else ["d", "a", "e"]
        X = rng.standard_normal((3, 7)).astype(np.float32)
        result = aggregate(X, FLDetector(window=3), sites=sites, state=state)
        state = result.state
        rows |= dict(zip(sites, X, strict=True))
        vectors.append(result.vector)
    assert np.array_equal(state["vectors"], np.array(vectors[-4:])) and state["vectors"].dtype == np.float32
    assert np.array_equal(state["rows"], np.array([rows[name] for name in "adebc"]))
    assert state["ages"].tolist() == [0, 1, 1, 0, 0] and state["scores"].shape == (5, 3)


def test_a_site_that_was_away_for_longer_than_the_window_is_not_predicted() -> None:
    rng, scores = np.random.default_rng(4), dict[str, float]()
    state: State = {}
    for number in range(8):
        sites = ["a", "b", "c"] if number in (0, 7) else ["a", "b"]
        result = aggregate(rng.standard_normal((len(sites), 5)), FLDetector(window=4), sites=sites, state=state)
        state = result.state
        assert result.verdict.scores is not None
        scores = dict(zip(sites, result.verdict.scores.tolist(), strict=True))
    assert np.isnan(scores["c"]) and not np.isnan(scores["a"])


@pytest.mark.parametrize("wrong", [{"window": 0}, {"patience": 0}])
def test_windows_that_hold_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        FLDetector(**wrong)


def test_a_state_with_another_window_is_refused() -> None:
    state = aggregate(np.ones((2, 3)), FLDetector(), sites=["a", "b"]).state
    with pytest.raises(Misconfigured, match="E105 .* 10 rounds"):
        aggregate(np.ones((2, 3)), FLDetector(window=3), sites=["a", "b"], state=state)
