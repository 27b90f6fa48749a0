import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import MeaMed, Phocas, aggregate, meamed, phocas, trimmed_mean
from hedgerow.errors import Misconfigured

Floats = npt.NDArray[np.float64]


def reference(X: Floats, centre: Floats, f: int) -> list[float]:
    """By coordinate, the mean of the n - f values nearest to the centre, the smaller of two equally near."""
    means = []
    for column, middle in zip(X.T, centre, strict=True):
        near = sorted(column, key=lambda value: (abs(value - middle), value))
        means.append(float(np.mean(near[: len(X) - f])))
    return means


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 6), spare=st.integers(1, 70), whole=st.booleans())
@settings(max_examples=60, deadline=None)
def test_both_agree_with_their_definitions(seed: int, f: int, spare: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 2 * f + spare
    X = rng.integers(-3, 4, (n, 9)).astype(float) if whole else rng.standard_normal((n, 9))
    middle = np.median(X, axis=0)
    if not whole:
        np.testing.assert_allclose(meamed(X, f=f), reference(X, middle, f), atol=1e-12)
        np.testing.assert_allclose(phocas(X, f=f), reference(X, trimmed_mean(X, f=f), f), atol=1e-12)
    elif n % 2:  # with ties: about a centre that is exactly one of the values
        np.testing.assert_allclose(meamed(X, f=f), reference(X, middle, f), atol=1e-12)


def test_a_lopsided_column_keeps_the_near_side_where_a_trimmed_mean_does_not() -> None:
    X = np.array([[0.0], [0.1], [0.2], [0.3], [9.0]])
    assert meamed(X, f=1)[0] == pytest.approx(0.15)
    assert trimmed_mean(X, f=1)[0] == pytest.approx(0.2)
    assert phocas(X, f=1)[0] == pytest.approx(0.15)


def test_of_two_values_equally_far_the_smaller_is_kept_in_any_order() -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert meamed(X[order], f=1).tolist() == [0.5]


def test_a_row_that_is_never_near_is_named() -> None:
    X = np.vstack([np.random.default_rng(0).standard_normal((6, 40)), np.full((1, 40), 30.0)])
    for rule in (MeaMed(f=1), Phocas(f=1)):
        verdict = aggregate(X, rule).verdict
        assert dict(verdict.excluded) == {6: rule.reason}
        assert verdict.scores is not None and verdict.scores[6] == 1.0 and verdict.scores[:6].max() < 0.5


def test_values_near_the_end_of_float32_do_not_overflow() -> None:
    X = np.array([[3e38], [-3e38], [1.0], [2.0], [3.0]], np.float32)
    with np.errstate(all="raise"):
        assert meamed(X, f=2).tolist() == [2.0]


def test_too_few_rows_raise() -> None:
    for rule in (meamed, phocas):
        with pytest.raises(Misconfigured, match="with f=2 needs at least 5 rows, and 4 arrived"):
            rule(np.eye(4), f=2)
