import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import ClipNorms, DnC, aggregate, mean
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def by_the_paper(X: Floats, dropped: int, chosen: list[npt.NDArray[np.int64]]) -> set[int]:
    """The rows that every draw of coordinates keeps."""
    good = set(range(len(X)))
    for columns in chosen:
        centred = X[:, columns] - X[:, columns].mean(axis=0)
        scores = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2
        good &= set(np.argsort(scores, kind="stable")[: len(X) - dropped].tolist())
    return good


@given(seed=seeds, filtering=st.sampled_from([0.5, 1.0, 1.5]))
@settings(max_examples=40, deadline=None)
def test_it_is_the_papers_algorithm(seed: int, filtering: float) -> None:
    X = np.random.default_rng(seed).standard_normal((12, 7))
    good = by_the_paper(X, int(np.ceil(2 * filtering)), [np.arange(7)])
    result = aggregate(X, DnC(f=2, filtering=filtering))
    assert set(result.verdict.excluded) == set(range(12)) - good
    np.testing.assert_allclose(result.vector, X[sorted(good)].mean(axis=0), atol=1e-12)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_it_judges_the_coordinates_that_the_generator_draws(seed: int) -> None:
    X = np.random.default_rng(seed).standard_normal((11, 30_000))  # several blocks
    rng = np.random.default_rng(seed + 1)
    chosen = [np.sort(rng.choice(30_000, 40, replace=False)) for _ in range(2)]
    good = by_the_paper(X, 2, chosen)
    result = aggregate(X, DnC(f=2, coordinates=40, iterations=2), rng=np.random.default_rng(seed + 1))
    assert set(result.verdict.excluded) == set(range(11)) - good


def test_where_no_row_was_kept_by_every_draw_those_kept_most_often_are() -> None:
    X = np.random.default_rng(0).standard_normal((5, 400))
    rule = DnC(f=2, coordinates=3, iterations=40)
    rng = np.random.default_rng(1)
    chosen = [np.sort(rng.choice(400, 3, replace=False)) for _ in range(40)]
    kept = np.array([[row in by_the_paper(X, 2, [draw]) for row in range(5)] for draw in chosen]).sum(axis=0)
    assert kept.max() < 40
    result = aggregate(X, rule, rng=np.random.default_rng(1))
    np.testing.assert_allclose(result.vector, X[kept == kept.max()].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_stray_together_by_little_are_stopped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(2000) + rng.standard_normal((20, 2000))
    honest = X[4:].mean(axis=0)
    X[:4] = honest - 1.0 * X[4:].std(axis=0)
    result = aggregate(X, DnC(f=4, coordinates=1000), rng=rng)
    assert set(result.verdict.excluded) == {0, 1, 2, 3}
    assert np.linalg.norm(mean(X) - honest) > 8 and np.linalg.norm(result.vector - honest) < 1e-9


def test_it_fails_where_one_huge_row_hides_another_unless_lengths_are_bounded() -> None:
    X = np.random.default_rng(2).standard_normal((20, 50)) + 1.0
    X[0], X[1] = 0.0, 0.0
    X[0, 0], X[1, 1] = 1e30, 1e10
    assert np.linalg.norm(aggregate(X, DnC(f=2)).vector) > 1e6
    assert np.linalg.norm(aggregate(X, ClipNorms() | DnC(f=2)).vector) < 20


def test_with_nobody_hostile_it_still_drops_f_rows() -> None:
    assert len(aggregate(np.random.default_rng(3).standard_normal((9, 5)), DnC(f=2)).verdict.excluded) == 2
    assert not aggregate(np.random.default_rng(3).standard_normal((9, 5)), DnC(f=0)).verdict.excluded


def test_equal_rows_have_no_direction_and_the_first_ones_stay() -> None:
    result = aggregate(np.ones((5, 3)), DnC(f=2))
    assert np.array_equal(result.vector, [1.0, 1.0, 1.0])
    assert result.verdict.scores is not None and not result.verdict.scores.any()


@pytest.mark.parametrize("wrong", [{"filtering": 0.0}, {"filtering": np.inf}, {"coordinates": 0}, {"iterations": 0}])
def test_numbers_that_filter_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        DnC(f=1, **wrong)  # type: ignore[arg-type]


def test_enough_rows_must_be_left() -> None:
    for rule in (DnC(f=2), DnC(f=1, filtering=4.0)):
        with pytest.raises(Misconfigured, match="E103 DnC .* needs at least 5 rows, and 4 arrived"):
            aggregate(np.ones((4, 2)), rule)
