"""What rules remember of sites: it follows their names, and does not grow with names that come once."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.aggregation import FLDetector, FoolsGold, Mean, Median, Reputation, Rule, aggregate
from hedgerow.aggregation.defences.site_memory import FORGOTTEN_AFTER, as_state, remembered
from hedgerow.aggregation.given import State

RULES: list[Rule] = [FoolsGold(), FLDetector(), Reputation(rule=Mean()), Reputation(rule=Median(f=1))]


def rounds(rule: Rule, cohorts: Sequence[Sequence[str]], d: int = 4) -> State:
    state: State = {}
    rng = np.random.default_rng(0)
    for sites in cohorts:
        state = aggregate(rng.standard_normal((len(sites), d)), rule, sites=sites, state=state).state
    return state


spells = st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1), st.integers(1, FORGOTTEN_AFTER + 10))


@given(cohorts=st.lists(spells, min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_site_is_known_until_it_was_away_for_too_long(cohorts: list[tuple[set[str], int]]) -> None:
    state: State = {}
    last: dict[str, int] = {}
    for number, sites in enumerate(sites for sites, times in cohorts for _ in range(times)):
        last = {site: seen for site, seen in last.items() if site in sites or number - seen <= FORGOTTEN_AFTER}
        last |= dict.fromkeys(sorted(sites), number)
        found = remembered(state, sorted(sites), "A rule")
        assert found.names == tuple(last)
        assert found.away.tolist() == [number - seen for seen in last.values()]
        assert [found.names[place] for place in found.place] == sorted(sites)
        state = as_state(found.names, found.away)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_names_that_come_once_do_not_fill_the_memory(rule: Rule) -> None:
    always = ["a", "b", "c"]
    many = rounds(rule, [[*always, f"once-{number}"] for number in range(FORGOTTEN_AFTER + 40)])
    sizes = {name: len(values) for name, values in many.items() if name != "sites" and "vectors" not in name}
    assert set(sizes.values()) == {len(always) + FORGOTTEN_AFTER + 1}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_remembered_of_the_others_stays_when_a_site_is_forgotten(rule: Rule) -> None:
    others = ["b", "c", "d"]
    before = rounds(rule, [["a", *others], *[others] * FORGOTTEN_AFTER])
    assert before["sites"].tobytes() == b'["a", "b", "c", "d"]'
    after = aggregate(np.zeros((3, 4)), rule, sites=others, state=before).state
    assert after["sites"].tobytes() == b'["b", "c", "d"]'
    if isinstance(rule, FoolsGold):
        assert np.array_equal(after["history"], before["history"][1:])
    if isinstance(rule, Reputation):
        assert after["good"].tolist() == pytest.approx((0.8 * before["good"][1:].astype(float) + 1).tolist())
    if isinstance(rule, FLDetector):
        assert np.array_equal(after["scores"][:, 1:], before["scores"][1:, :-1])
