from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import (
    NNM,
    Aggregate,
    ClipNorms,
    FoolsGold,
    Krum,
    Mean,
    Median,
    MultiKrum,
    Reputation,
    Rule,
    TrimmedMean,
    aggregate,
    mean,
)
from hedgerow.aggregation.defences.reputation import expected_good
from hedgerow.aggregation.defences.site_memory import as_state
from hedgerow.aggregation.given import State
from hedgerow.errors import Exhausted, Misconfigured

Floats = npt.NDArray[np.float64]
SITES = [f"s{i}" for i in range(9)]


def sample(seed: int, hostile: Sequence[int] = (), n: int = 9) -> Floats:
    X = 1.0 + 0.5 * np.random.default_rng(seed).standard_normal((n, 30))
    X[list(hostile)] *= -5.0
    return X


def course(rule: Rule, hostile: Sequence[Sequence[int]], sites: Sequence[str] = SITES) -> list[Aggregate[Floats]]:
    """One round for each list of the rows that are hostile in it."""
    results: list[Aggregate[Floats]] = []
    state: State = {}
    for number, rows in enumerate(hostile):
        results.append(aggregate(sample(number, rows, len(sites)), rule, sites=sites, state=state))
        state = results[-1].state
    return results


def reasons(results: list[Aggregate[Floats]], row: int) -> list[str]:
    return [result.verdict.excluded.get(row, "") for result in results]


TRIMMED = "trimmed in most coordinates"


def test_a_site_that_is_left_out_again_and_again_goes_into_quarantine_and_returns_on_probation() -> None:
    rule = Reputation(rule=TrimmedMean(f=2), rounds=3, probation=2)
    told = reasons(course(rule, [[4]] * 12), 4)
    quarantine = [f"in quarantine, round {k} of 3" for k in (1, 2, 3)]
    # 1/3, 1/3.8, 1/4.44 < 0.25; then one failure on probation is enough
    assert told == [TRIMMED] * 3 + quarantine + [TRIMMED] + quarantine + [TRIMMED] + quarantine[:1]


def test_a_site_that_behaves_on_probation_is_an_ordinary_one_again() -> None:
    rule = Reputation(rule=TrimmedMean(f=2), rounds=1, probation=2)
    results = course(rule, [[4]] * 4 + [[]] * 2 + [[4]] * 3)
    told = reasons(results, 4)
    record = {name: results[3].state[name][4] for name in ("good", "bad", "quarantine", "probation")}
    assert record == {"good": 0.0, "bad": 0.0, "quarantine": 0, "probation": 2}  # as an unknown site's
    assert told[:4] == [TRIMMED] * 3 + ["in quarantine, round 1 of 1"]
    assert told[4:6] == ["", ""] and told[6:] == [TRIMMED] * 3  # in good standing, so not back at once


def test_the_numbers_are_those_of_the_beta_distribution_with_forgetting() -> None:
    rule = Reputation(rule=TrimmedMean(f=2), memory=0.5)
    state = course(rule, [[4], [], [4]])[-1].state
    assert state["good"][4] == 0.5 and state["bad"][4] == 1.25
    assert state["good"][0] == 1.75 and state["bad"][0] == 0.0
    np.testing.assert_allclose(expected_good(np.array([0.5]), np.array([1.25])), [1.5 / 3.75])


def test_the_row_in_quarantine_counts_against_f_and_the_rest_is_the_rule_inside() -> None:
    rule = Reputation(rule=ClipNorms() | NNM(f=2) | TrimmedMean(f=2))
    state = course(rule, [[4]] * 3)[-1].state
    X = sample(9, [4])
    result = aggregate(X, rule, sites=SITES, state=state)
    fewer = ClipNorms() | NNM(f=1) | TrimmedMean(f=1)
    expected = aggregate(np.delete(X, 4, axis=0), fewer)
    np.testing.assert_allclose(result.vector, expected.vector, atol=1e-12)
    assert result.verdict.scores is not None and np.isnan(result.verdict.scores[4])
    assert result.verdict.excluded[4] == "in quarantine, round 1 of 5" and result.verdict.finite[4]


@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_there_are_never_more_than_f_in_quarantine(seed: int, f: int) -> None:
    rng = np.random.default_rng(seed)
    rule = Reputation(rule=Krum(f=f), rounds=2)  # it excludes all rows but one, so all lose their reputation
    state: State = {}
    most = 0
    for number in range(12):
        who = np.sort(rng.choice(9, rng.integers(7, 10), replace=False))
        result = aggregate(sample(number)[who], rule, sites=[SITES[i] for i in who], state=state)
        state = result.state
        barred = sum("quarantine" in reason for reason in result.verdict.excluded.values())
        assert np.count_nonzero(state["quarantine"]) <= f and barred <= f
        most = max(most, barred)
    assert most == f


def test_of_too_many_the_lowest_reputation_goes_first_and_names_decide_between_equals() -> None:
    rule = Reputation(rule=Mean(f=1))
    record = {"good": np.zeros(4), "quarantine": np.zeros(4, np.int64), "probation": np.zeros(4, np.int64)}
    for bad, goes in (([0.0, 8.0, 0.0, 9.0], "d"), ([0.0, 8.0, 8.0, 8.0], "b"), ([1.0, 1.0, 1.0, 1.0], "")):
        state = {**as_state("abcd"), **record, "bad": np.array(bad)}
        after = aggregate(sample(0, n=4), rule, sites=["d", "c", "b", "a"], state=state).state
        assert [name for name, left in zip("abcd", after["quarantine"], strict=True) if left] == list(goes)


def test_where_fewer_arrive_fewer_may_be_barred() -> None:
    rule = Reputation(rule=TrimmedMean(f=0.3), rounds=5)
    state = course(rule, [[1, 2]] * 3)[-1].state
    assert np.count_nonzero(state["quarantine"]) == 2
    result = aggregate(sample(5, [1, 2])[:4], rule, sites=SITES[:4], state=state)
    assert sum("quarantine" in reason for reason in result.verdict.excluded.values()) == 1  # 0.3 of 4


def test_quarantine_passes_for_those_who_are_away_and_their_record_stays() -> None:
    rule = Reputation(rule=TrimmedMean(f=2), rounds=3)
    state = course(rule, [[4]] * 3)[-1].state
    for number in range(2):
        others = [site for site in SITES if site != "s4"]
        state = aggregate(sample(number, n=8), rule, sites=others, state=state).state
    assert aggregate(sample(7), rule, sites=SITES, state=state).verdict.excluded[4] == "in quarantine, round 3 of 3"


def test_one_further_unusable_row_is_more_than_f() -> None:
    rule = Reputation(rule=TrimmedMean(f=1))
    state = course(rule, [[4]] * 3)[-1].state
    X = sample(3)
    X[0] = np.nan
    with pytest.raises(Exhausted, match="E502 2 of 9 updates are barred, not finite or too large, and the rule tol"):
        aggregate(X, rule, sites=SITES, state=state)
    X = sample(3)
    X[4] = np.nan  # the one in quarantine itself
    assert "quarantine" in aggregate(X, rule, sites=SITES, state=state).verdict.excluded[4]


def test_unusable_rows_count_against_a_site() -> None:
    rule, state = Reputation(rule=TrimmedMean(f=2)), dict[str, npt.NDArray[np.generic]]()
    for number in range(3):
        X = sample(number)
        X[6, 0] = np.inf
        state = dict(aggregate(X, rule, sites=SITES, state=state).state)
    assert "quarantine" in aggregate(sample(4), rule, sites=SITES, state=state).verdict.excluded[6]


def test_the_rule_inside_keeps_its_own_memory() -> None:
    rule = Reputation(rule=FoolsGold(f=2))
    alone, inside = course(FoolsGold(f=2), [[]] * 3), course(rule, [[]] * 3)
    for one, other in zip(alone, inside, strict=True):
        assert np.array_equal(other.state["inner.history"], one.state["history"])
        assert np.array_equal(other.vector, one.vector)


@pytest.mark.parametrize("seed", range(3))
def test_hostile_sites_that_the_rule_finds_do_less_harm_once_they_are_in_quarantine(seed: int) -> None:
    rule, plain = Reputation(rule=TrimmedMean(f=2), rounds=20), TrimmedMean(f=2)
    harm = np.zeros(2)
    state: State = {}
    for number in range(12):
        X = sample(100 * seed + number, [2, 7])
        honest = np.delete(X, [2, 7], axis=0).mean(axis=0)
        result = aggregate(X, rule, sites=SITES, state=state)
        state = result.state
        if number >= 3:
            harm += [np.linalg.norm(result.vector - honest), np.linalg.norm(aggregate(X, plain).vector - honest)]
    assert set(np.flatnonzero(state["quarantine"])) == {2, 7} and harm[0] < 0.1 * harm[1]


@pytest.mark.parametrize("rule", [TrimmedMean(f=2), MultiKrum(f=2), NNM(f=2) | TrimmedMean(f=2)], ids=str)
def test_with_nobody_hostile_hardly_anyone_goes_into_quarantine(rule: Rule) -> None:
    results = course(Reputation(rule=rule), [[]] * 40)
    barred = sum("quarantine" in reason for result in results for reason in result.verdict.excluded.values())
    assert barred <= 0.03 * 40 * 9


def test_it_fails_around_a_rule_that_keeps_one_row_and_against_those_who_change_their_name() -> None:
    krum = course(Reputation(rule=Krum(f=2)), [[]] * 6)
    assert any("quarantine" in reason for reason in krum[-1].verdict.excluded.values())
    state: State = {}
    for number in range(6):
        result = aggregate(
            sample(number, [8]), Reputation(rule=Median(f=2)), sites=[*SITES[:8], f"new {number}"], state=state
        )
        state = result.state
        assert "quarantine" not in result.verdict.excluded.get(8, "")


def test_around_the_mean_it_is_the_mean_and_weights_go_through() -> None:
    X = sample(0)
    result = aggregate(X, Reputation(rule=Mean()), weights=np.arange(1, 10), sites=SITES)
    np.testing.assert_allclose(result.vector, mean(X, weights=np.arange(1, 10)))
    assert result.verdict.weights is not None


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 1.0}, {"threshold": -0.1}, {"memory": 0.0}, {"memory": 1.1}, {"rounds": 0}, {"probation": -1}],
)
def test_numbers_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Misconfigured, match="E103"):
        Reputation(rule=Mean(), **wrong)  # type: ignore[arg-type]


def test_names_must_be_as_many_as_rows() -> None:
    with pytest.raises(Misconfigured, match="E126 9 rows need 9 names"):
        aggregate(sample(0), Reputation(rule=Mean()), sites=[*SITES, "one more"])
