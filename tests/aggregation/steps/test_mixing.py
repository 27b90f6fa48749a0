import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import NNM, Mean, TrimmedMean, aggregate, nnm
from hedgerow.aggregation.given import Given
from hedgerow.aggregation.steps.mixing import neighbourhoods
from hedgerow.errors import Misconfigured, Rejected


def reference_nnm(X: npt.NDArray[np.float64], f: int) -> list[npt.NDArray[np.float64]]:
    mixed = []
    for x in X:
        order = sorted(range(len(X)), key=lambda j: float(((x - X[j]) ** 2).sum()))
        mixed.append(X[order[: len(X) - f]].mean(axis=0))
    return mixed


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 5), spare=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_it_agrees_with_its_definition(seed: int, f: int, spare: int) -> None:
    X = np.random.default_rng(seed).standard_normal((2 * f + spare, 6))
    np.testing.assert_allclose(nnm(X, f=f), reference_nnm(X, f), atol=1e-12)


def test_equal_distances_go_to_the_lower_index() -> None:
    assert nnm(np.array([[0.0], [1.0], [2.0]]), f=1).tolist() == [[0.5], [0.5], [1.5]]


def test_many_equal_distances_go_to_the_lower_indices_too() -> None:
    mixed = nnm(np.eye(40), f=19)  # every other row is equally far: itself, and the 20 lowest of the others
    for i, row in enumerate(mixed):
        assert np.flatnonzero(row).tolist() == sorted([i, *[j for j in range(40) if j != i][:20]])


def test_a_row_is_its_own_nearest_even_among_copies_of_it() -> None:
    assert (np.diagonal(neighbourhoods(np.zeros((5, 5)), Given(f=2))) == 1 / 3).all()


def test_a_fraction_counts_on_the_rows_that_arrived() -> None:
    X = np.random.default_rng(0).standard_normal((11, 3))
    assert np.array_equal(nnm(X, f=0.2), nnm(X, f=2))


@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(2, 1e6))
@settings(max_examples=40, deadline=None)
def test_two_of_ten_that_flip_their_sign_are_named_and_nobody_else(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    X = (0.1 + rng.standard_normal(500) + rng.standard_normal((10, 500))).astype(np.float32)
    hostile = rng.choice(10, 2, replace=False)
    X[hostile] *= -np.float32(strength)
    for rule in (NNM(f=2) | TrimmedMean(f=2), NNM(f=2) | Mean()):
        excluded = aggregate(X, rule).verdict.excluded
        assert dict(excluded) == {int(row): NNM.reason for row in sorted(hostile)}


def test_f_rows_that_choose_only_one_another_are_passed_over_and_f_plus_one_are_not() -> None:
    X = np.vstack([np.linspace(0, 1, 8)[:, None], [[50.0]], [[50.0]]])
    assert set(aggregate(X, NNM(f=2) | Mean()).verdict.excluded) == {8, 9}
    X = np.vstack([np.linspace(0, 1, 7)[:, None], [[50.0]], [[50.0]], [[50.0]]])
    assert not {7, 8, 9} <= set(aggregate(X, NNM(f=2) | Mean()).verdict.excluded)


def test_too_few_rows_and_rows_that_are_not_finite_raise() -> None:
    with pytest.raises(Misconfigured, match="NNM with f=2 needs at least 5 rows"):
        nnm(np.eye(4), f=2)
    with pytest.raises(Rejected, match="E303"):
        nnm(np.array([[0.0], [1.0], [np.nan]]), f=1)
