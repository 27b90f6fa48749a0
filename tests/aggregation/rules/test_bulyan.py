from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, Bulyan, aggregate, bulyan
from hedgerow.aggregation.rules.bulyan import bulyan_selection
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]


def scores(X: Floats, left: list[int], nearest: int) -> dict[int, float]:
    return {i: sum(sorted(float(((X[i] - X[j]) ** 2).sum()) for j in left if j != i)[: max(nearest, 1)]) for i in left}


def reference(X: Floats, f: int, iterated: bool) -> list[float]:
    n = len(X)
    left, chosen = list(range(n)), list[int]()
    if iterated:
        while len(chosen) < n - 2 * f:
            found = scores(X, left, len(left) - f - 2)
            half, total = scores(X, left, len(left) // 2), scores(X, left, len(left))
            best = min(left, key=lambda i: (round(found[i], 9), round(half[i], 9), total[i]))
            chosen.append(best)
            left.remove(best)
    else:
        found = scores(X, left, n - f - 2)
        chosen = sorted(left, key=found.__getitem__)[: n - 2 * f]
    means = []
    for column in X[chosen].T:
        middle = np.median(column)
        means.append(float(np.mean(sorted(column, key=lambda value: abs(value - middle))[: n - 4 * f])))
    return means


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 3), spare=st.integers(3, 6))
@settings(max_examples=40, deadline=None)
def test_both_ways_to_select_agree_with_their_definitions(seed: int, f: int, spare: int) -> None:
    X = np.random.default_rng(seed).standard_normal((4 * f + spare, 5))
    np.testing.assert_allclose(bulyan(X, f=f), reference(X, f, True), atol=1e-9)
    np.testing.assert_allclose(bulyan(X, f=f, select="one-shot"), reference(X, f, False), atol=1e-9)


def test_a_row_is_selected_once_and_keeps_its_own_index() -> None:
    X = np.random.default_rng(1).standard_normal((23, 6))
    distances = ((X[:, None] - X) ** 2).sum(axis=2)
    for select in ("iterated", "one-shot"):
        chosen = bulyan_selection(distances, 5, select)
        assert len(set(chosen.tolist())) == 13 and set(chosen.tolist()) <= set(range(23))


def test_the_rows_that_were_not_selected_are_named_with_krums_scores() -> None:
    X = np.vstack([np.random.default_rng(2).standard_normal((9, 30)), np.full((1, 30), 40.0), np.full((1, 30), -50.0)])
    result = aggregate(X, Bulyan(f=2))
    assert {9, 10} <= set(result.verdict.excluded) and len(result.verdict.excluded) == 4
    assert set(result.verdict.excluded.values()) == {"not selected by Bulyan"}
    assert result.verdict.weights is None and result.verdict.scores is not None
    assert result.verdict.scores[9:].min() > result.verdict.scores[:9].max()


def test_it_works_behind_mixing_in_single_precision() -> None:
    X = np.random.default_rng(3).standard_normal((11, 40_000)).astype(np.float32)
    got = aggregate(X, NNM(f=2) | Bulyan(f=2)).vector
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, X.mean(axis=0), atol=1.5)


def test_too_few_rows_and_unknown_words_raise() -> None:
    with pytest.raises(Misconfigured, match="Bulyan with f=2 needs at least 11 rows, and 10 arrived"):
        bulyan(np.eye(10), f=2)
    assert len(bulyan(np.eye(9), f=2, strict=False)) == 9
    with pytest.raises(Misconfigured, match="needs at least 9 rows"):
        bulyan(np.eye(8), f=2, strict=False)
    calls: list[Callable[[], object]] = [
        lambda: Bulyan(f=1, select="both"),  # type: ignore[arg-type]
        lambda: Bulyan(f=1, neighbours="n"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(Misconfigured, match="E103"):
            call()
