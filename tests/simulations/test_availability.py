"""Shares, sessions and the daily swing of sites that come and go at random."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.simulations.availability import DAY, HOUR, Always, Redrawn

SITES = 4000


def redrawn(low: float, high: float, *, sites: int = SITES, seed: int = 0) -> Redrawn:
    return Redrawn(np.random.SeedSequence(seed), sites=sites, low=low, high=high)


def there(availability: Redrawn, clock: float, sites: int = SITES) -> np.ndarray:
    return availability.state(np.arange(sites), np.full(sites, clock))[0]


def binomial(share: float, draws: int) -> float:
    """Five standard deviations of a share of that many independent draws."""
    return 5 * math.sqrt(share * (1 - share) / draws)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_at_every_moment_the_share_that_is_there_is_p(share: float) -> None:
    availability = redrawn(share, share)
    for clock in (0.0, 10.0, 5 * HOUR, 40 * HOUR):
        assert abs(there(availability, clock).mean() - share) < binomial(share, SITES)


def test_with_p_1_everyone_is_always_there() -> None:
    availability = redrawn(1.0, 1.0)
    assert all(there(availability, clock).all() for clock in (0.0, HOUR, 30 * HOUR))


def test_over_a_month_each_site_is_there_about_the_share_p() -> None:
    availability = redrawn(0.4, 0.4, sites=50)
    share = np.mean([there(availability, clock, 50) for clock in np.arange(0, 30 * DAY, HOUR)], axis=0)
    # Hourly looks correlate by 1/e: as good as 720 / 2.2 independent ones.
    assert np.all(np.abs(share - 0.4) < binomial(0.4, 327))


def test_sessions_and_gaps_have_the_lengths_of_their_law() -> None:
    share, step = 0.25, 60.0
    availability = redrawn(share, share, sites=400)
    looks = np.array([there(availability, clock, 400) for clock in np.arange(0, 4 * DAY, step)])
    for state, mean in ((True, HOUR / (1 - share)), (False, HOUR / share)):
        before, after = looks[:-1] == state, looks[1:] == state
        ends = np.count_nonzero(before & ~after)
        # Exponential: at each look the same chance to end, whatever came before.
        assert abs(ends / np.count_nonzero(before) - step / mean) < 5 * np.sqrt(ends) / np.count_nonzero(before)
        old = before[60:] & np.all([before[k : k - 60] for k in range(60)], axis=0)
        assert np.count_nonzero(old) > 10_000
        ends_of_old = np.count_nonzero(old & ~after[60:])
        assert abs(ends_of_old / np.count_nonzero(old) - step / mean) < 5 * np.sqrt(ends_of_old) / np.count_nonzero(old)


@pytest.mark.parametrize("hour", [0.0, 5.0, 13.5, 36.0, 60.0])
def test_the_share_swings_between_low_at_noon_and_high_at_midnight_in_each_zone(hour: float) -> None:
    low, high = 0.1, 0.7
    present = there(redrawn(low, high), hour * HOUR)
    by_zone = [low + (high - low) * (1 + np.cos(2 * np.pi * (hour - zone) / 24)) / 2 for zone in range(4)]
    assert abs(present.mean() - np.mean(by_zone)) < binomial(float(np.mean(by_zone)), SITES)


@settings(max_examples=40, deadline=None)
@given(
    clocks=st.lists(st.floats(0, 3 * DAY), min_size=2, max_size=6),
    swing=st.sampled_from([(0.3, 0.3), (0.1, 0.9), (0.0, 1.0)]),
    seed=st.integers(0, 2**32),
)
def test_an_answer_does_not_depend_on_what_was_asked_before(
    clocks: list[float], swing: tuple[float, float], seed: int
) -> None:
    one, everyone = redrawn(*swing, sites=30, seed=seed), np.arange(30)
    for clock in clocks:
        fresh = redrawn(*swing, sites=30, seed=seed).state(everyone, np.full(30, clock))
        asked = one.state(everyone, np.full(30, clock))
        assert np.array_equal(asked[0], fresh[0]) and np.array_equal(asked[1], fresh[1])
        some = np.array([17, 3])
        there, until = one.state(some, np.array([clocks[0], clock]))
        assert there[1] == fresh[0][3] and until[1] == fresh[1][3]


@settings(max_examples=40, deadline=None)
@given(clock=st.floats(0, 3 * DAY), share=st.floats(0, 1), swing=st.sampled_from([(0.5, 0.5), (0.1, 0.9), (0.0, 1.0)]))
def test_a_state_holds_until_it_says(clock: float, share: float, swing: tuple[float, float]) -> None:
    availability, sites = redrawn(*swing, sites=200), np.arange(200)
    now, until = availability.state(sites, np.full(200, clock))
    assert np.all(until > clock)
    later = clock + share * (until - clock - 1e-5)  # a crossing is known to a fraction of a microsecond
    sure = later >= clock
    assert np.array_equal(availability.state(sites, later)[0][sure], now[sure])


def test_walking_from_change_to_change_gets_through_a_day() -> None:
    availability, sites = redrawn(0.0, 1.0, sites=20), np.arange(20)
    clock = 0.0
    for _ in range(20 * 24 * 3):
        later = float(availability.state(sites, np.full(20, clock))[1].min())
        assert later > clock
        clock = later
    assert clock > DAY


def test_seeds_differ_and_a_larger_federation_keeps_the_first_sites() -> None:
    clocks = [0.0, HOUR, 9 * HOUR]
    few, same, many, other = (
        np.array([there(redrawn(0.2, 0.6, sites=sites, seed=seed), clock, sites)[:40] for clock in clocks])
        for sites, seed in ((40, 1), (40, 1), (90, 1), (40, 2))
    )
    assert np.array_equal(few, same) and np.array_equal(few, many) and not np.array_equal(few, other)


def test_always_is_for_ever() -> None:
    present, until = Always().state(np.arange(3), np.array([0.0, 5.0, 1e12]))
    assert present.all() and np.all(until == np.inf)
