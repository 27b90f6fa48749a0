from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.privacy.correlated import Participation, sensitivity


def patterns(p: Participation) -> Iterator[tuple[int, ...]]:
    for times in range(1, p.max_participations + 1):
        for rounds in combinations(range(p.rounds), times):
            if all(b - a >= p.min_separation for a, b in zip(rounds, rounds[1:], strict=False)):
                yield rounds


def brute_force(column: np.ndarray, p: Participation) -> float:
    """Every pattern. Σ |<C_s, C_t>| bounds what unit vectors can do; with no negative product equal ones reach it."""
    n = p.rounds
    c = sum((np.diag(np.full(n - k, v), -k) for k, v in enumerate(column[:n])), np.zeros((n, n)))
    gram = c.T @ c
    return float(np.sqrt(max(np.abs(gram[np.ix_(rounds, rounds)]).sum() for rounds in patterns(p))))


participations = st.builds(
    Participation,
    rounds=st.integers(1, 9),
    min_separation=st.integers(1, 10),
    max_participations=st.integers(1, 9),
)


@given(participations, st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_falling_columns_match_brute_force_over_all_patterns(p: Participation, steps: list[float]) -> None:
    column = np.array([1.0, *np.cumprod(steps)])[: p.rounds]
    assert sensitivity(column, p) == pytest.approx(brute_force(column, p), rel=1e-9, abs=1e-150)


@given(participations, st.lists(st.floats(-3, 3), max_size=9))
def test_bands_within_the_separation_match_brute_force_whatever_their_signs(
    p: Participation, rest: list[float]
) -> None:
    bands = p.rounds if p.most == 1 else p.min_separation
    column = np.array([1.0, *rest])[:bands]
    assert sensitivity(column, p) == pytest.approx(brute_force(column, p), rel=1e-9)


def test_one_participation_is_the_largest_column() -> None:
    p = Participation(rounds=5, min_separation=1, max_participations=1)
    column = np.array([1.0, -2.0, 3.0])
    assert sensitivity(column, p) == pytest.approx(np.sqrt(14))


def test_independent_noise_pays_for_every_round() -> None:
    p = Participation(rounds=100, min_separation=7, max_participations=9)
    assert sensitivity(np.ones(1), p) == pytest.approx(3.0)


def test_a_limit_that_the_rounds_cannot_reach_costs_nothing() -> None:
    column = np.array([1.0, 0.5, 0.25])
    generous = Participation(rounds=10, min_separation=4, max_participations=99)
    exact = Participation(rounds=10, min_separation=4, max_participations=3)
    assert sensitivity(column, generous) == sensitivity(column, exact)


@pytest.mark.parametrize("column", [[1.0, 0.2, 0.3], [1.0, -0.1, 0.0, -0.1], [0.5, 1.0, 0.1], [1.0, 0.5, -0.5]])
def test_overlapping_columns_that_do_not_fall_are_refused(column: list[float]) -> None:
    with pytest.raises(Misconfigured) as caught:
        sensitivity(np.array(column), Participation(rounds=8, min_separation=2, max_participations=2))
    assert caught.value.code == "E105"


def test_the_refused_ones_are_indeed_not_given_by_the_earliest_pattern() -> None:
    """Why there is a refusal: later or sparser patterns can be worse."""
    p = Participation(rounds=6, min_separation=1, max_participations=2)
    column = np.array([1.0, 0.0, 0.9, 0.9])
    earliest = np.sqrt(sum((column[k] + column[k - 1]) ** 2 for k in range(1, 4)) + column[0] ** 2 + column[3] ** 2)
    assert brute_force(column, p) > earliest * 1.01


@pytest.mark.parametrize("column", [[], [0.0, 1.0], [1.0, float("nan")], [1.0, float("inf")], [-1.0]])
def test_columns_that_mean_nothing_are_refused(column: list[float]) -> None:
    with pytest.raises(Misconfigured) as caught:
        sensitivity(np.array(column), Participation(rounds=3, min_separation=1, max_participations=1))
    assert caught.value.code == "E103"


@pytest.mark.parametrize("name", ["rounds", "min_separation", "max_participations"])
@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_participation_in_other_than_whole_numbers_from_1_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Misconfigured) as caught:
        Participation(**{"rounds": 3, "min_separation": 1, "max_participations": 1, name: value})
    assert (caught.value.code, caught.value.place) == ("E103", name)
