from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import Krum, MultiKrum, aggregate, krum, multi_krum
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
Neighbours = Literal["n-f-2", "n-f-1"]


def reference_scores(X: npt.NDArray[np.float64], f: int, neighbours: Neighbours) -> list[float]:
    nearest = len(X) - f - (2 if neighbours == "n-f-2" else 1)
    scores = []
    for i, x in enumerate(X):
        others = sorted(float(((x - y) ** 2).sum()) for j, y in enumerate(X) if j != i)
        scores.append(sum(others[:nearest]))
    return scores


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 4), spare=st.integers(0, 6))
@pytest.mark.parametrize("neighbours", ["n-f-2", "n-f-1"])
@settings(max_examples=30, deadline=None)
def test_krum_and_multi_krum_agree_with_their_definition(neighbours: Neighbours, seed: int, f: int, spare: int) -> None:
    X = np.random.default_rng(seed).standard_normal((2 * f + 3 + spare, 6))
    scores = reference_scores(X, f, neighbours)
    order = sorted(range(len(X)), key=scores.__getitem__)
    verdict = aggregate(X, Krum(f=f, neighbours=neighbours)).verdict
    assert verdict.scores is not None
    np.testing.assert_allclose(verdict.scores, scores, rtol=1e-9)
    assert np.array_equal(krum(X, f=f, neighbours=neighbours), X[order[0]])
    np.testing.assert_allclose(multi_krum(X, f=f, neighbours=neighbours), X[order[: len(X) - f]].mean(axis=0))
    np.testing.assert_allclose(multi_krum(X, f=f, m=2, neighbours=neighbours), X[order[:2]].mean(axis=0))


def test_the_two_conventions_give_different_rows() -> None:
    X = np.array([[0.0], [1.0], [2.25], [3.0], [7.0]])
    # n-f-2 = 2 nearest: 0: 1 + 5.0625; 1: 1 + 1.5625; 2.25: 0.5625 + 1.5625; 3: 0.5625 + 4; 7: 16 + 22.5625
    first = aggregate(X, Krum(f=1)).verdict.scores
    assert first is not None and first.tolist() == [6.0625, 2.5625, 2.125, 4.5625, 38.5625]
    # n-f-1 = 3 nearest: 0: + 9; 1: + 4; 2.25: + 5.0625; 3: + 9; 7: + 36
    second = aggregate(X, Krum(f=1, neighbours="n-f-1")).verdict.scores
    assert second is not None and second.tolist() == [15.0625, 6.5625, 7.1875, 13.5625, 74.5625]
    assert krum(X, f=1).tolist() == [2.25]
    assert krum(X, f=1, neighbours="n-f-1").tolist() == [1.0]


def test_ties_go_to_the_lowest_index() -> None:
    X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    assert krum(X, f=1).tolist() == [1.0]
    assert krum(X[::-1], f=1).tolist() == [3.0]
    assert multi_krum(X, f=1, m=4).tolist() == [1.5]


@pytest.mark.parametrize("seed", range(5))
def test_the_pick_is_exact_on_nearly_equal_raw_parameters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = 0.05 * rng.standard_normal(20_000)
    X = (model + 1e-4 * rng.standard_normal((20, 20_000)) * rng.uniform(0.9, 1.1, (20, 1))).astype(np.float32)
    X[3] += np.float32(1e6)  # and one row that would spoil a mean-centred table of distances
    scores = reference_scores(X.astype(np.float64), 4, "n-f-2")
    verdict = aggregate(X, Krum(f=4)).verdict
    assert np.array_equal(krum(X, f=4), X[int(np.argmin(scores))])
    assert verdict.scores is not None
    np.testing.assert_allclose(np.delete(verdict.scores, 3), np.delete(scores, 3), rtol=1e-6)
    kept = set(range(20)) - set(aggregate(X, MultiKrum(f=4)).verdict.excluded)
    assert kept == set(np.argsort(scores)[:16].tolist())


def test_the_rows_that_are_not_selected_are_named() -> None:
    X = np.array([[0.0], [0.1], [0.2], [0.3], [50.0]])
    assert aggregate(X, MultiKrum(f=1)).verdict.excluded == {4: "not selected by multi-Krum"}
    assert set(aggregate(X, Krum(f=1)).verdict.excluded.values()) == {"not selected by Krum"}
    assert len(aggregate(X, Krum(f=1)).verdict.excluded) == 4


@pytest.mark.parametrize("call", [krum, multi_krum])
def test_too_few_rows_raise_unless_the_looser_bound_is_asked_for(call: Callable[..., Floats]) -> None:
    with pytest.raises(Misconfigured, match="with f=2 needs at least 7 rows, and 6 arrived"):
        call(np.eye(6), f=2)
    assert call(np.eye(6), f=2, strict=False).shape == (6,)
    with pytest.raises(Misconfigured, match="needs at least 5 rows"):
        call(np.eye(4), f=2, strict=False)


def test_multi_krum_keeps_at_most_what_f_leaves() -> None:
    with pytest.raises(Misconfigured, match="needs at least 8 rows"):
        multi_krum(np.eye(7), f=1, m=7)
    with pytest.raises(Misconfigured, match="m must be at least 1"):
        MultiKrum(f=1, m=0)


def test_an_unknown_convention_is_refused() -> None:
    for rule in (Krum, MultiKrum):
        with pytest.raises(Misconfigured, match="neighbours must be"):
            rule(f=1, neighbours="n-f")  # type: ignore[arg-type]
