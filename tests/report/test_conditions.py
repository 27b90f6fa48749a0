"""Simulated time, simulated conditions, and how the sites were trained."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.events import EngineChosen, Event
from hedgerow.report import load_run, write_report
from hedgerow.report.beside import beside
from hedgerow.report.conditions import conditions
from hedgerow.report.numbers import spoken
from hedgerow.report.summary import RunSummary
from hedgerow.scenario import Scenario

HOUR = 3600.0


def timed(make: ModuleType, clock: float = 30 * HOUR, rounds: int = 5, **scenario: Any) -> Iterator[Event]:
    """A run whose rounds take `clock` simulated seconds each; three of ten sites are silent in each."""
    silent = [{"site": site, "code": "E309", "reason": "no answer before the deadline"} for site in make.SITES[:3]]
    start = make.started(attack=False)
    yield replace(start, scenario={**start.scenario, **scenario})
    yield make.evaluated(0, 0.1)
    for n in range(1, rounds + 1):
        yield make.closed(n, hostile=(), accepted=list(make.SITES[3:]), rejected=silent, clock=n * clock)
        yield make.evaluated(n, 0.15 * n)
    yield make.finished(rounds, seconds=3.1)


def read(folder: Path, make: ModuleType, events: Any) -> RunSummary:
    return load_run(make.write(folder / "run", list(events)))


def chosen(**changes: Any) -> EngineChosen:
    event = EngineChosen(
        engine="cohort",
        path="layers",
        reason="linear layers only",
        private="",
        difference=3e-8,
        workers=2,
        chunk=64,
        device="cpu",
    )
    return replace(event, **changes)


def test_simulated_time_is_told_in_words(tmp_path: Path, make: ModuleType) -> None:
    run = read(tmp_path, make, timed(make))
    found = conditions(run, [])
    assert found is not None
    assert found.lead == (
        "6 days 6 hours of simulated time in 3.10 s. In the middle round 7 of 10 asked sites answered in time."
    )
    assert "<li>6 days 6 hours of simulated time in 3.10 s</li>" in write_report(tmp_path / "run").read_text()


def test_accuracy_stands_over_simulated_time_and_answers_over_rounds(tmp_path: Path, make: ModuleType) -> None:
    found = conditions(read(tmp_path, make, timed(make)), [])
    assert found is not None
    clock, answered = found.figures
    assert clock.table.head == ("run", "round", "days", "accuracy")
    assert [row[2] for row in clock.table.rows] == ["0", "1.25", "2.50", "3.75", "5.00", "6.25"]
    assert ">simulated days<" in clock.svg
    assert answered.table.rows[0] == ("1", "7", "3", "1 day 6 hours")
    assert answered.caption == "35 answers came in time, 15 did not."


def test_an_update_that_the_rule_left_out_was_in_time(tmp_path: Path, make: ModuleType) -> None:
    codes = ["E310", "E303", "E308", "E309"]
    rejected = [{"site": site, "code": code, "reason": ""} for site, code in zip(make.SITES, codes, strict=False)]
    run = read(tmp_path, make, [make.started(), make.closed(1, accepted=["fen"], rejected=rejected, clock=1.0)])
    assert (run.rounds[0].answered, run.rounds[0].rejected) == (3, 4)


def test_runs_beside_share_the_simulated_axis(tmp_path: Path, make: ModuleType) -> None:
    run = read(tmp_path, make, timed(make))
    slow = read(tmp_path / "slow", make, timed(make, clock=60 * HOUR))
    ideal = read(tmp_path / "ideal", make, make.whole_run())
    found = conditions(run, beside(run, [], [slow, ideal]))
    assert found is not None
    assert [name for _, name in found.figures[0].legend] == ["this run", "run"]
    assert found.figures[0].table.rows[-1][:3] == ("run", "5", "12.5")


def test_an_evaluation_of_a_round_without_a_clock_is_left_out(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.closed(1, clock=5.0), make.closed(2), make.evaluated(2, 0.5)]
    found = conditions(read(tmp_path, make, events), [])
    assert found is not None
    assert [figure.name for figure in found.figures] == ["answered"]


def test_a_run_without_conditions_says_nothing_about_them(tmp_path: Path, make: ModuleType, demo: Path) -> None:
    assert conditions(load_run(demo), []) is None
    assert "imulated time" not in write_report(demo).read_text()
    ideal = replace(make.started(), scenario=Scenario().flat())
    assert conditions(read(tmp_path, make, [ideal, make.closed(1)]), []) is None


@pytest.mark.parametrize(
    ("key", "value", "name", "text"),
    [
        ("availability", "random:0.3", "who is there", "each site 30 % of the time, in sessions of its own"),
        (
            "availability",
            "diurnal:0.1,0.4",
            "who is there",
            "each site from 10 % of the time at noon to 40 % at midnight",
        ),
        ("availability", "trace:sites.csv", "who is there", "trace:sites.csv"),
        ("join", "uniform:86400", "joining", "each site at a random moment within 1 day"),
        ("latency", "constant:0.1", "a message travels", "0.100 s everywhere"),
        ("latency", "lognormal:0.5,1", "a message travels", "0.500 s in the middle, log-normal with σ = 1"),
        ("bandwidth", "constant:125000", "lines carry", "125 kB a second everywhere"),
        ("speed", "lognormal:500,0.5", "machines train", "500 records a second in the middle, log-normal with σ = 0.5"),
        ("dropout", 0.05, "dropping out", "5.0 % of the asked sites in each round"),
        (
            "shift",
            "affine:0.3",
            "feature shift",
            "each site's features scaled and offset by a device of its own, strength 0.3",
        ),
        (
            "drift",
            "labels:0.4",
            "drift",
            "in each round a site has 40 % of its records, a window over its labels",
        ),
    ],
)
def test_each_condition_has_its_words(
    tmp_path: Path, make: ModuleType, key: str, value: str | float, name: str, text: str
) -> None:
    scenario = Scenario.from_flat({key: value})  # the words are for what a scenario really takes
    run = read(tmp_path, make, [replace(make.started(), scenario=scenario.flat()), make.closed(1)])
    found = conditions(run, [])
    assert found is not None
    assert [(fact.name, fact.text) for fact in found.facts] == [(name, text)]


@pytest.mark.parametrize("value", ["", "random", "random:", "random:x,y", "random:1e999", "of tomorrow:3", True, 7])
def test_a_condition_of_another_version_is_told_as_written(tmp_path: Path, make: ModuleType, value: str | int) -> None:
    run = read(tmp_path, make, [*timed(make, availability=value, latency=value)])
    found = conditions(run, [])
    assert found is not None
    assert [fact.text for fact in found.facts] == [str(value)] * 2


@given(st.floats(0, 1e9))
def test_spoken_time_is_near_the_time(seconds: float) -> None:
    words = spoken(seconds).split()
    units = {"day": 86_400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0}
    told = sum(
        float(n.replace(",", "")) * units[unit.rstrip("s")] for n, unit in zip(words[::2], words[1::2], strict=True)
    )
    assert len(words) <= 4
    assert told == pytest.approx(seconds, rel=0.05, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "The engine cohort trained the sites together, each layer of all of them in one stacked product, 64 at a "
            "time by each of 2 workers; on the sites tried first, at most 3e-8 away from training them one by one.",
        ),
        (
            {"path": "kernel", "workers": 1, "difference": None, "private": "ghost norms"},
            "The engine cohort trained the sites together with a compiled kernel, 64 at a time; clipping by ghost "
            "norms.",
        ),
        (
            {"path": "one-by-one", "reason": "batch normalisation.", "difference": None, "private": "opacus"},
            "The engine cohort trained one site after the other (batch normalisation); clipping by opacus.",
        ),
        (
            {"path": "vmap", "reason": "a layer without a stacked form", "chunk": 1, "device": "cuda", "workers": 1},
            "The engine cohort trained the sites together, all of them in one vectorised call of the model (vmap) on "
            "cuda (a layer without a stacked form); on the sites tried first, at most 3e-8 away from training them "
            "one by one.",
        ),
        (
            {"path": "new", "reason": "", "chunk": 0, "workers": 0, "difference": None},
            "The engine cohort took the path new.",
        ),
    ],
)
def test_how_the_sites_were_trained_is_one_sentence(
    tmp_path: Path, make: ModuleType, changes: dict[str, Any], text: str
) -> None:
    folder = make.write(tmp_path / "run", [make.started(), chosen(**changes), make.closed(1)])
    assert f"<dt>how it was trained</dt><dd>{text}</dd>" in write_report(folder).read_text()


def test_the_privacy_section_says_how_gradients_were_clipped(tmp_path: Path, make: ModuleType) -> None:
    events = make.whole_run()
    without = write_report(make.write(tmp_path / "without", events)).read_text()
    page = write_report(make.write(tmp_path / "run", [*events, chosen(private="ghost norms")])).read_text()
    assert "<dt>clipped by</dt>" not in without
    assert "<dt>clipped by</dt><dd>ghost norms, which give the length" in page


def test_a_resumed_run_tells_each_path_once(tmp_path: Path, make: ModuleType) -> None:
    slow = chosen(path="one-by-one", reason="no compiler")
    run = read(tmp_path, make, [make.started(), chosen(), chosen(), slow, chosen()])
    assert [each.path for each in run.trained] == ["layers", "one-by-one"]
