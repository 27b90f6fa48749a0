from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import MDA, aggregate
from hedgerow.aggregation.rules.minimum_diameter import tightest_rows
from hedgerow.aggregation.rules.vertex_cover import bitsets, coverable

Floats = npt.NDArray[np.float64]


def squared(X: Floats) -> Floats:
    distances: Floats = ((X[:, None] - X) ** 2).sum(axis=2)
    return distances


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 4), spare=st.integers(1, 3), whole=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_set_of_as_many_rows_has_a_smaller_diameter(seed: int, f: int, spare: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 2 * f + spare
    X = rng.integers(0, 4, (n, 2)).astype(float) if whole else rng.standard_normal((n, 3))
    distances = squared(X)
    kept = np.flatnonzero(tightest_rows(distances, np.ones(n), f))
    assert len(kept) == n - f
    best = min(distances[np.ix_(rows, rows)].max() for rows in map(list, combinations(range(n), n - f)))
    assert distances[np.ix_(kept, kept)].max() == best


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 8), edges=st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_a_cover_exists_exactly_where_trying_all_of_them_finds_one(seed: int, n: int, edges: int) -> None:
    rng = np.random.default_rng(seed)
    conflicts = np.zeros((n, n), np.bool_)
    for _ in range(edges):
        a, b = rng.integers(0, n, 2)
        conflicts[a, b] = conflicts[b, a] = a != b
    costs = rng.integers(1, 4, n).astype(float)
    cheapest = min(
        costs[list(out)].sum()
        for size in range(n + 1)
        for out in combinations(range(n), size)
        if not np.delete(np.delete(conflicts, out, 0), out, 1).any()
    )
    everyone = (1 << n) - 1
    assert coverable(bitsets(conflicts), costs, everyone, cheapest)
    # no better answer: what it would have to settle cannot be settled
    assert not coverable(bitsets(conflicts), costs, everyone, cheapest - 0.5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_with_weights_it_leaves_out_no_more_than_the_heaviest_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, weights = rng.standard_normal((9, 3)), rng.uniform(0.5, 1.5, 9)
    weights /= weights.sum()
    budget = float(np.sort(weights)[-2:].sum())
    distances = squared(X)
    kept = tightest_rows(distances, weights, budget)
    assert weights[~kept].sum() <= budget + 1e-9
    best = min(
        distances[np.ix_(rows, rows)].max()
        for size in range(9 + 1)
        for rows in map(list, combinations(range(9), size))
        if size and 1.0 - weights[rows].sum() <= budget + 1e-12
    )
    assert distances[np.ix_(kept, kept)].max() == best


def test_of_equal_diameters_the_most_remote_rows_are_left_out_in_any_order() -> None:
    X = np.array([-2.0, -1.0, 0.0, 1.0, 2.5])  # both -2..0 and -1..1 are two long; 2.5 and then -2 are most remote
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        kept = tightest_rows(squared(X[order][:, None]), np.ones(5), 2)
        assert sorted(X[order][kept].tolist()) == [-1.0, 0.0, 1.0]


def test_the_rows_left_out_are_named_with_their_distance_to_the_set() -> None:
    X = np.array([[0.0], [1.0], [2.0], [12.0]])
    verdict = aggregate(X, MDA(f=1)).verdict
    assert dict(verdict.excluded) == {3: "outside the tightest set of rows"}
    assert verdict.scores is not None and verdict.scores.tolist() == [2.0, 1.0, 2.0, 12.0]


@pytest.mark.parametrize(("n", "f", "d"), [(50, 10, 2), (50, 10, 1000), (50, 24, 20), (100, 40, 100)])
def test_sizes_that_nobody_could_enumerate_are_solved_exactly(n: int, f: int, d: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    X[:f] = X[f:].mean(axis=0) + 1.2 * X[f:].std(axis=0) + 0.01 * rng.standard_normal((f, d))
    distances = squared(X)
    kept = tightest_rows(distances, np.ones(n), f)
    largest = distances[np.ix_(kept, kept)].max()
    everyone = (1 << n) - 1
    assert np.count_nonzero(kept) == n - f
    # no better answer: what it would have to settle cannot be settled
    assert not coverable(bitsets(distances >= largest), np.ones(n), everyone, f)
