"""Who is there, how long an answer takes and who drops out, on the simulated clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.scenario import Scenario
from hedgerow.simulations.availability import HOUR
from hedgerow.simulations.conditions import LONGEST, Conditions, need_clock, unsupported

BUSY = Scenario(
    sites=60,
    availability="diurnal:0.4,0.9",
    join="uniform:7200",
    latency="lognormal:0.2,0.5",
    bandwidth="lognormal:1e6,1",
    speed="lognormal:500,1",
    dropout=0.1,
    seed=3,
)
TIMED = {
    "availability": "random:0.5",
    "join": "uniform:60",
    "latency": "constant:1",
    "bandwidth": "constant:1e6",
    "speed": "constant:100",
    "dropout": 0.5,
}


def conditions(sites: int, **keys: str | float) -> Conditions:
    return Conditions.of(Scenario.from_flat({"sites": sites, **keys}), sites)


def arrivals(
    of: Conditions,
    asked: list[int] | None = None,
    *,
    clock: float = 0.0,
    round: int = 1,
    records: int = 0,
    down: int = 0,
    up: int = 0,
) -> np.ndarray:
    who = np.arange(of.sites) if asked is None else np.array(asked, np.int64)
    counts = np.full(len(who), records)
    return of.arrivals(who, clock=clock, round=round, records=counts, bytes_down=down, bytes_up=up)


def test_without_conditions_everyone_is_always_there_and_answers_at_once() -> None:
    ideal = conditions(5)
    assert ideal.ideal and ideal.present(0.0).all() and ideal.present(1e9).all()
    assert ideal.next_change(123.0) == np.inf
    assert arrivals(ideal, records=10**9, down=10**12, up=10**12).tolist() == [0.0] * 5


@pytest.mark.parametrize(("key", "value"), TIMED.items())
def test_each_condition_alone_is_not_ideal_and_needs_a_clock(key: str, value: str | float) -> None:
    assert not conditions(3, **{key: value}).ideal
    assert unsupported(Scenario.from_flat({key: value})) == [key]


def test_what_is_in_the_data_needs_no_clock_but_drift_needs_rounds() -> None:
    scenario = Scenario(shift="affine:1", drift="labels:0.5", attack="sign-flip", attackers=1, split="iid", seed=9)
    assert unsupported(scenario) == ["drift"]
    assert Conditions.of(scenario, 10).ideal
    assert unsupported(Scenario()) == []


def test_an_answer_takes_two_journeys_and_the_training_between() -> None:
    of = conditions(3, latency="constant:0.25", bandwidth="constant:1000", speed="constant:50")
    assert arrivals(of, [2, 0], records=100, down=3000, up=1000).tolist() == [0.5 + 4 + 2] * 2
    records = np.array([100, 0])
    took = of.arrivals(np.array([1, 2]), clock=7.0, round=4, records=records, bytes_down=0, bytes_up=0)
    assert took.tolist() == [2.5, 0.5]


@settings(max_examples=40, deadline=None)
@given(
    clock=st.floats(0, 90_000),
    round=st.integers(1, 50),
    less=st.tuples(*[st.integers(0, 10**6)] * 3),
    more=st.tuples(*[st.integers(0, 10**6)] * 3),
)
def test_more_work_and_more_bytes_never_arrive_sooner(
    clock: float, round: int, less: tuple[int, int, int], more: tuple[int, int, int]
) -> None:
    of = Conditions.of(BUSY, 60)
    small, large = (
        arrivals(of, clock=clock, round=round, records=a, down=b, up=c)
        for a, b, c in (less, [one + other for one, other in zip(less, more, strict=True)])
    )
    assert np.all(small <= large) and np.all(small >= 0)


def test_a_longer_latency_arrives_later() -> None:
    quick, slow = (arrivals(conditions(500, latency=f"lognormal:{median},0.7")) for median in (0.1, 0.4))
    assert np.allclose(slow, 4 * quick) and len(np.unique(quick)) == 500


def test_latencies_speeds_and_bandwidths_follow_their_law() -> None:
    of = conditions(20_000, latency="lognormal:0.5,0.6", bandwidth="lognormal:1e6,1", speed="lognormal:200,1.5")
    for drawn, median, sigma in ((of.bandwidth, 1e6, 1.0), (of.speed, 200, 1.5)):
        logs = np.log(drawn / median) / sigma
        assert abs(logs.mean()) < 5 / np.sqrt(20_000) and abs(logs.std() - 1) < 5 / np.sqrt(40_000)
    assert abs(np.corrcoef(np.log(of.bandwidth), np.log(of.speed))[0, 1]) < 5 / np.sqrt(20_000)
    journeys = arrivals(of)  # two of them: the mean of a lognormal is median · exp(σ² / 2)
    assert abs(journeys.mean() - 2 * 0.5 * np.exp(0.18)) < 5 * journeys.std() / np.sqrt(20_000)
    assert 0.9 < journeys.var() / (2 * 0.25 * np.exp(0.36) * (np.exp(0.36) - 1)) < 1.1  # and they are independent


def test_a_latency_is_drawn_anew_in_each_round_and_a_device_once() -> None:
    latency, speed = conditions(50, latency="lognormal:1,1"), conditions(50, speed="lognormal:100,1")
    first, again, second = (arrivals(latency, round=number) for number in (1, 1, 2))
    assert np.array_equal(first, again) and not np.any(first == second)
    assert np.array_equal(arrivals(speed, round=1, records=100), arrivals(speed, round=2, records=100))


@pytest.mark.parametrize("chance", [0.0, 0.2, 1.0])
def test_the_share_that_drops_out_is_the_chance(chance: float) -> None:
    of = conditions(5000, dropout=chance)
    gone = np.array([np.isinf(arrivals(of, round=number)) for number in (1, 2)])
    assert np.all(np.abs(gone.mean(axis=1) - chance) <= 5 * np.sqrt(chance * (1 - chance) / 5000))
    both = chance**2
    assert abs(gone.all(axis=0).mean() - both) <= 5 * np.sqrt(both * (1 - both) / 5000)


def test_one_condition_does_not_change_another_s_draws() -> None:
    one, other = (np.isinf(arrivals(conditions(80, dropout=0.5, latency=way))) for way in ("none", "lognormal:1,1"))
    assert np.array_equal(one, other)


@settings(max_examples=30, deadline=None)
@given(
    clock=st.floats(0, 90_000),
    round=st.integers(1, 9),
    asked=st.lists(st.integers(0, 59), unique=True, max_size=20),
    earlier=st.lists(st.floats(0, 90_000), max_size=3),
)
def test_an_arrival_does_not_depend_on_who_else_is_asked_or_on_what_was_asked_before(
    clock: float, round: int, asked: list[int], earlier: list[float]
) -> None:
    used, fresh = Conditions.of(BUSY, 60), Conditions.of(BUSY, 60)
    for moment in earlier:
        used.present(moment)
        arrivals(used, clock=moment, round=2, records=500)
    some = arrivals(used, asked, clock=clock, round=round, records=300, up=10_000)
    everyone = arrivals(fresh, clock=clock, round=round, records=300, up=10_000)
    assert np.array_equal(some, everyone[asked])
    assert np.array_equal(used.present(clock), fresh.present(clock))


def test_a_site_is_the_same_in_a_larger_federation_and_another_under_another_seed() -> None:
    few, many, other = Conditions.of(BUSY, 20), Conditions.of(BUSY, 60), Conditions.of(BUSY.override({"seed": 4}), 20)
    for clock in (4000.0, 9000.0, 70_000.0):
        assert np.array_equal(few.present(clock), many.present(clock)[:20])
        asked = list(range(20))
        one, same, another = (arrivals(of, asked, clock=clock, records=50) for of in (few, many, other))
        assert np.array_equal(one, same) and not np.array_equal(one, another)


def test_everyone_who_answers_was_there_all_the_time_and_the_share_that_stays_is_the_law_s() -> None:
    share, took, sites = 0.6, 0.75 * HOUR, 3000
    of = conditions(sites, availability=f"random:{share}", latency=f"constant:{took / 2}")
    answered = np.isfinite(arrivals(of, clock=5000.0))
    expected = share * np.exp(-(1 - share) * took / HOUR)
    assert abs(answered.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / sites)
    looks = np.array([of.present(clock) for clock in np.arange(5000.0, 5000.0 + took, 10.0)])
    assert np.all(looks[:, answered])
    overlooked = np.count_nonzero(looks[:, ~answered].all(axis=0))  # gaps that fell between two looks
    assert overlooked < 0.01 * sites


def test_a_site_that_leaves_before_its_answer_is_through_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("site,from,until\nsite-01,0,10\nsite-01,10,20\nsite-02,0,10\nsite-02,11,20\n")
    scenario = Scenario(sites=3, availability="trace:trace.csv", latency="constant:2")
    of = Conditions.of(scenario, 3, folder=tmp_path)
    assert of.present(10.0).tolist() == [True, False, False]
    assert [of.next_change(clock) for clock in (0.0, 10.0, 12.0, 20.0)] == [10.0, 11.0, 20.0, np.inf]
    for clock, expected in (
        (0.0, [4, 4]),
        (6.0, [4, 4]),
        (7.0, [4, np.inf]),
        (10.5, [4, np.inf]),
        (17.0, [np.inf] * 2),
    ):
        assert arrivals(of, clock=clock).tolist() == [*expected, np.inf]


def test_a_trace_is_sought_from_the_folder_and_calls_sites_by_the_names_given(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("site,from,until\nsouth,0,inf\n")
    scenario = Scenario(sites=2, split="column", availability="trace:who.csv")
    names = ("north", "south")
    assert Conditions.of(scenario, 2, names=names, folder=str(tmp_path)).present(5.0).tolist() == [False, True]
    with pytest.raises(Misconfigured, match="there is no trace 'who.csv'"):
        Conditions.of(scenario, 2, names=names, folder=tmp_path / "else")
    with pytest.raises(Misconfigured, match="there is no site 'south'"):
        Conditions.of(scenario, 2, folder=tmp_path)


def test_sites_enrol_at_moments_of_their_own_and_stay() -> None:
    of = conditions(2000, join="uniform:1000")
    counts = [np.count_nonzero(of.present(clock)) for clock in (0.0, 250.0, 500.0, 1000.0, 1e6)]
    assert counts[0] == 0 and counts[-2:] == [2000, 2000]
    assert abs(counts[1] - 500) < 100 and abs(counts[2] - 1000) < 115
    assert np.all(of.present(250.0) <= of.present(500.0))
    assert of.next_change(0.0) == of.joins.min() and of.next_change(1000.0) == np.inf
    assert np.array_equal(np.isfinite(arrivals(of, clock=500.0)), of.present(500.0))


def test_a_new_site_comes_and_goes_like_the_others_once_it_is_enrolled() -> None:
    late, early = (conditions(300, availability="random:0.5", join=join) for join in ("uniform:9000", "all"))
    for clock in (0.0, 4000.0, 20_000.0):
        assert np.array_equal(late.present(clock), early.present(clock) & (late.joins <= clock))


def test_walking_along_the_changes_misses_none() -> None:
    of = conditions(8, availability="random:0.4", join="uniform:5000")
    clock, seen = 0.0, [of.present(0.0)]
    for _ in range(100):
        following = of.next_change(clock)
        assert following > clock
        middle = (clock + following) / 2
        assert np.array_equal(of.present(middle), seen[-1])
        clock = following
        seen.append(of.present(clock))
    assert clock > 20_000 and np.any(np.diff(np.array(seen), axis=0))


def test_an_answer_that_would_take_longer_than_a_month_never_comes() -> None:
    assert np.all(np.isfinite(arrivals(conditions(2, latency=f"constant:{LONGEST / 2}"))))
    assert np.all(np.isinf(arrivals(conditions(2, availability="random:1", latency="constant:1e9"))))


def test_asking_nobody_is_answered_by_nobody() -> None:
    assert arrivals(Conditions.of(BUSY, 60), []).shape == (0,)


def test_conditions_need_neither_torch_nor_flower() -> None:
    modules = "hedgerow.simulations.conditions, hedgerow.simulations.closing"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'flwr'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


@pytest.mark.parametrize("changes", [{"availability": "random:0.5"}, {"join": "uniform:60"}])
def test_sites_that_come_and_go_need_something_that_takes_time(changes: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as caught:
        need_clock(Scenario(sites=4, **changes), "cohort")  # type: ignore[arg-type]
    assert caught.value.code == "E105" and caught.value.place in changes
    need_clock(Scenario(sites=4, latency="constant:1", **changes), "cohort")  # type: ignore[arg-type]


def test_real_servers_get_no_records_from_a_scenario() -> None:
    with pytest.raises(Misconfigured, match="E105 engine 'local' has no records for its server"):
        need_clock(Scenario(sites=4, root=10), "local")
    need_clock(Scenario(sites=4, root=10), "in-process")
