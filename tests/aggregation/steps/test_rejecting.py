import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import ARC, NNM, RULES, Mean, Median, RejectLong, TrimmedMean, aggregate, make_rule
from hedgerow.errors import Misconfigured


def rows(seed: int, n: int = 11, d: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@given(
    seed=st.integers(0, 2**32 - 1),
    f=st.integers(0, 5),
    times=st.floats(1.1, 5),
    gap=st.floats(1.05, 3),
    wide=st.floats(0.3, 3),
)
@settings(max_examples=100, deadline=None)
def test_it_takes_away_what_is_long_as_far_as_enough_rows_stay(
    seed: int, f: int, times: float, gap: float, wide: float
) -> None:
    X = rows(seed) * np.random.default_rng(seed + 1).lognormal(0, wide, (11, 1))
    norms = np.linalg.norm(X, axis=1)
    longest = sorted(range(11), key=lambda row: -norms[row])
    out: list[int] = []
    for k in range(1, f + 1):  # the most of the f longest that are apart from all the others
        shortest, next_one = norms[longest[k - 1]], norms[longest[k]]
        if shortest > times * np.median(norms) and shortest > gap * next_one:
            out = longest[:k]
    expected = X.copy()
    expected[out] = 0.0
    expected = np.delete(expected, out[: 11 - 2 * f - 1], axis=0)
    result = aggregate(X, RejectLong(f=f, times=times, gap=gap) | Mean())
    np.testing.assert_allclose(result.vector, expected.mean(axis=0), atol=1e-12)
    assert set(result.verdict.excluded) == set(out)


def test_lengths_that_grow_without_a_gap_stay() -> None:
    X = rows(0)
    X *= np.array([1, 1, 1, 1, 1, 1, 1, 1.9, 3.5, 6.5, 12])[:, None] / np.linalg.norm(X, axis=1)[:, None]
    assert not aggregate(X, RejectLong(f=3) | Mean()).verdict.excluded
    assert set(aggregate(X, RejectLong(f=3, gap=1.5) | Mean()).verdict.excluded) == {8, 9, 10}


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("fltrust", "monna")])
def test_every_rule_behind_it_works_on_the_rows_that_are_left(rule: str) -> None:
    X = rows(3, n=15)
    X[[2, 9]] *= 50
    names = [f"site-{row}" for row in range(15)]
    for before in ("reject", "reject+arc+nnm"):
        made = make_rule(rule, byzantine=2, before=before)
        result = aggregate(X, made, sites=names, rng=np.random.default_rng(0))
        assert {2, 9} <= set(result.verdict.excluded) and np.isfinite(result.vector).all()
        assert np.abs(result.vector).max() < 5


@pytest.mark.parametrize("rule", [name for name in RULES if name not in ("fltrust", "monna")])
@pytest.mark.parametrize("f", [1, 3])
def test_as_many_rows_stay_as_what_is_behind_it_needs(rule: str, f: int) -> None:
    named = rule in ("foolsgold", "fl-detector")  # these know no groups
    for before in ("reject", "reject+nnm", *(() if named else ("reject+bucketing", "reject+nnm+bucketing"))):
        made = make_rule(rule, byzantine=f, before=before)
        for n in range(made.needs(f), made.needs(f) + 2 * f + 1):
            X = rows(n, n=n)
            X[n - f :] *= 50
            names = [f"site-{row:02}" for row in range(n)]
            result = aggregate(X, made, sites=names, rng=np.random.default_rng(0))
            assert np.abs(result.vector).max() < 5


def test_updates_of_about_one_length_stay_as_they_are() -> None:
    X = rows(0)
    assert np.array_equal(aggregate(X, RejectLong(f=3) | Median()).vector, aggregate(X, Median()).vector)


def test_a_boosted_row_that_a_clip_would_let_in_has_no_say() -> None:
    rng = np.random.default_rng(1)
    honest = rng.standard_normal(200) + rng.standard_normal((10, 200))
    boosted = 8 * (honest[0] + 0.3 * rng.standard_normal(200))  # points where an honest site points
    X = np.vstack([honest, boosted])
    behind = NNM(f=1) | TrimmedMean(f=1)
    assert 10 not in aggregate(X, ARC(f=1) | behind).verdict.excluded
    verdict = aggregate(X, RejectLong(f=1) | ARC(f=1) | behind).verdict
    assert verdict.excluded[10] == "many times longer than the other updates"


@pytest.mark.parametrize("times", [1.0, 0.0, -2.0, np.inf, np.nan])
def test_a_bound_that_is_none_is_refused(times: float) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        RejectLong(f=1, times=times)
    with pytest.raises(Misconfigured, match="gap"):
        RejectLong(f=1, gap=times)
