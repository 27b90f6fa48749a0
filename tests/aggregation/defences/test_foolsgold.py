import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import Aggregate, FoolsGold, aggregate, mean
from hedgerow.aggregation.defences.foolsgold import sybil_weights
from hedgerow.aggregation.given import State

Floats = npt.NDArray[np.float64]


def cosines(X: Floats) -> Floats:
    units = X / np.linalg.norm(X, axis=1, keepdims=True)
    return np.asarray(units @ units.T)


def by_the_paper(cs: Floats) -> Floats:
    k = len(cs)
    cs = np.maximum(cs, 0) - np.eye(k)  # alikeness below 0 counts as none
    v = [max(cs[i][j] for j in range(k) if j != i) for i in range(k)]
    pardoned = [[cs[i][j] * v[i] / v[j] if v[j] > v[i] else cs[i][j] for j in range(k) if j != i] for i in range(k)]
    a = np.clip([1 - max(row) for row in pardoned], 0, 1)
    a = a / a.max()
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(a / (1 - a)) + 0.5, 0, 1))


def told(X: Floats, sites: Sequence[str], state: State | None = None) -> Aggregate[Floats]:
    return aggregate(X, FoolsGold(), sites=sites, state=state)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_it_is_the_papers_formula(seed: int, k: int) -> None:
    X = np.random.default_rng(seed).standard_normal((k, 5)) + 0.3
    np.testing.assert_allclose(sybil_weights(cosines(X)), by_the_paper(cosines(X)), atol=1e-9)
    weights = by_the_paper(cosines(X))
    np.testing.assert_allclose(told(X, list("abcdefghijkl"[:k])).vector, weights / weights.sum() @ X, atol=1e-7)


def test_the_history_is_the_sum_of_a_sites_rows_and_decides() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 6, 30))
    result = told(two, "abcdef", told(one, "abcdef").state)
    np.testing.assert_allclose(result.state["history"].astype(float), one + two)
    weights = by_the_paper(cosines(one + two))
    np.testing.assert_allclose(result.vector, weights / weights.sum() @ two, atol=1e-9)


def test_an_absent_site_keeps_its_history_and_its_place() -> None:
    rng = np.random.default_rng(1)
    first, second, third = rng.standard_normal((3, 4, 20))
    state = told(first, "dbca").state
    state = told(second[:2], "ea", state).state
    result = told(third[:3], "bea", state)
    sums = {"a": first[3] + second[1] + third[2], "b": first[1] + third[0], "c": first[2], "d": first[0]}
    sums["e"] = second[0] + third[1]
    names = json.loads(result.state["sites"].tobytes())
    assert names == ["a", "b", "c", "d", "e"]
    np.testing.assert_allclose(result.state["history"].astype(float), [sums[name] for name in names])
    weights = by_the_paper(cosines(np.array([sums[name] for name in names])))[[1, 4, 0]]
    np.testing.assert_allclose(result.vector, weights / weights.sum() @ third[:3], atol=1e-9)


def uneven(seed: int, rounds: int, hostile: int, noise: float = 0.05) -> tuple[float, float, Aggregate[Floats]]:
    """Ten honest sites, each with a class of its own, and copies that push class 0: their pull behind FoolsGold and
    behind the mean, as part of what they want."""
    rng = np.random.default_rng(seed)
    honest, aim = np.kron(np.eye(10), np.ones(20)), np.kron(np.eye(10)[0], -np.ones(20))
    sites, state = [f"h{i}" for i in range(10)] + [f"x{i}" for i in range(hostile)], None
    for _ in range(rounds):
        X = np.vstack([honest, np.tile(aim, (hostile, 1))]) + noise * rng.standard_normal((10 + hostile, 200))
        result = told(X, sites, state)
        state = result.state
    clean, pull = honest.mean(axis=0), aim / np.linalg.norm(aim) ** 2
    return float((result.vector - clean) @ pull), float((mean(X) - clean) @ pull), result


@pytest.mark.parametrize("seed", range(4))
def test_copies_that_outnumber_uneven_honest_sites_are_stopped(seed: int) -> None:
    pull, of_the_mean, result = uneven(seed, rounds=3, hostile=12)
    assert of_the_mean > 0.5 and pull < 0.05
    assert set(result.verdict.excluded) == set(range(10, 22))


def test_it_fails_against_one_attacker_alone_and_punishes_honest_sites_with_alike_data() -> None:
    _, _, result = uneven(0, rounds=3, hostile=1)
    assert 10 not in result.verdict.excluded
    alike = np.random.default_rng(2).standard_normal(200) + 0.1 * np.random.default_rng(3).standard_normal((10, 200))
    alone = np.vstack([alike, np.random.default_rng(4).standard_normal((1, 200))])
    assert set(told(alone, "abcdefghijk").verdict.excluded) == set(range(10))


def test_copies_that_take_turns_are_compared_with_those_that_are_away() -> None:
    rng = np.random.default_rng(5)
    aim, state = rng.standard_normal(100), None
    excluded = []
    for number in range(6):
        X = np.vstack([rng.standard_normal((5, 100)), aim])
        result = told(X, [*"abcde", f"copy {number % 3}"], state)
        state = result.state
        excluded.append(5 in result.verdict.excluded)
    assert excluded == [False, True, True, True, True, True]


def test_where_all_are_copies_the_model_stays() -> None:
    result = told(np.ones((4, 3)), "abcd")
    assert not result.vector.any() and set(result.verdict.excluded) == {0, 1, 2, 3}
    assert set(result.verdict.excluded.values()) == {"always alike to another site"}


def test_opposite_and_zero_rows_are_like_nobody() -> None:
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    result = told(X, "abc")
    assert result.verdict.scores is not None and result.verdict.scores.tolist() == [0.0, 0.0, 0.0]
