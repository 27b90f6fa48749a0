import numpy as np
import numpy.typing as npt
import pytest

from hedgerow.aggregation import Suspected, estimate_hostile
from hedgerow.aggregation.suspecting import outlying
from hedgerow.errors import Exhausted, Misconfigured

Floats = npt.NDArray[np.float64]


def uneven(rng: np.random.Generator, n: int, d: int = 40) -> Floats:
    """Honest rows whose lengths differ by sites, as updates' do."""
    return np.asarray(rng.standard_normal((n, d)) * np.exp(0.3 * rng.standard_normal((n, 1))))


@pytest.mark.parametrize("n", [10, 25])
def test_false_alarms_are_as_rare_as_stated(n: int) -> None:
    rng = np.random.default_rng(0)
    found = [estimate_hostile(uneven(rng, n)) for _ in range(150)]
    assert np.mean([one.low > 0 for one in found]) <= 0.05
    assert np.mean([one.estimate > 0 for one in found]) <= 0.12
    assert 0.3 <= np.mean([one.high > 0 for one in found]) <= 0.7


@pytest.mark.parametrize("hostile", [1, 5, 8])
def test_rows_that_stand_out_are_counted_and_named(hostile: int) -> None:
    rng = np.random.default_rng(hostile)
    for _ in range(10):
        X = 0.3 + uneven(rng, 25)
        X[:hostile] = -100 * X[hostile:].mean(axis=0)
        found = estimate_hostile(X)
        assert found.low <= found.estimate <= found.high
        assert set(range(hostile)) <= set(found.rows) and found.estimate <= hostile + 2
        assert found.exceeds(hostile - 1) and not found.exceeds(hostile + 2)


def test_rows_that_hide_among_the_others_are_not_seen_which_is_what_it_says() -> None:
    X = uneven(np.random.default_rng(1), 25)
    X[:5] = X[5:].mean(axis=0) - 0.5 * X[5:].std(axis=0)
    assert estimate_hostile(X).estimate == 0


def test_rows_that_cannot_be_used_count_in_every_case() -> None:
    X = uneven(np.random.default_rng(2), 15)
    X[4], X[9] = np.nan, np.inf
    clean = estimate_hostile(np.delete(X, [4, 9], axis=0))
    found = estimate_hostile(X)
    assert (found.low, found.estimate, found.high) == (clean.low + 2, clean.estimate + 2, clean.high + 2)
    assert {4, 9} <= set(found.rows)


def test_it_repeats_and_does_not_depend_on_scale_or_place() -> None:
    X = uneven(np.random.default_rng(3), 20)
    X[3] *= 9
    found = estimate_hostile(X)
    assert found == estimate_hostile(X) == estimate_hostile(1e6 * X) == estimate_hostile(X + 100.0)
    assert isinstance(found, Suspected) and 3 in found.rows


def test_equal_rows_hide_nobody() -> None:
    X = np.ones((9, 4))
    assert estimate_hostile(X).high == 0
    X[2] += 1e-3
    assert estimate_hostile(X) == Suspected(low=1, estimate=1, high=1, rows=(2,))


def test_too_few_rows_say_nothing_and_a_majority_of_unusable_ones_stops_it() -> None:
    with pytest.raises(Misconfigured, match="E103"):
        outlying(np.ones(4))
    X = np.ones((6, 2))
    X[:3] = np.nan
    with pytest.raises(Exhausted, match="E502"):
        estimate_hostile(X)
