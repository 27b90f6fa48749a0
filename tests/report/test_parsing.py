import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured, Tampered
from hedgerow.eventlog import EventLog
from hedgerow.events import BudgetsSpent, Event, RunResumed
from hedgerow.report import load_run, write_report
from hedgerow.report.training import rounds


def test_a_whole_run_is_read_back_as_it_was_written(tmp_path: Path, make: ModuleType) -> None:
    run = load_run(make.write(tmp_path / "run", make.whole_run()))
    assert (run.run, run.task, run.status, run.planned_rounds, run.released) == (
        "2026-11-24-103000-digits",
        "digits",
        "finished",
        10,
        10,
    )
    assert run.final is not None and (run.final.metric, run.final.round, run.final.records) == ("accuracy", 10, 360)
    assert run.final.value == pytest.approx(0.9134)
    assert [site.name for site in run.sites] == sorted(make.SITES)
    assert {site.name for site in run.sites if site.hostile} == set(make.HOSTILE)
    assert run.most_spent is not None and run.most_spent.name == "north" and run.most_spent.spent == 2.99101
    assert run.job["privacy.epsilon"] == 3.0 and run.scenario["seed"] == 7


def test_hostile_and_honest_updates_are_counted_apart(tmp_path: Path, make: ModuleType) -> None:
    out = [{"site": name, "code": "E310", "reason": "far"} for name in ("lake", "north")]
    silent = [{"site": "fen", "code": "E309", "reason": "silent"}]
    events = [
        make.started(),
        make.closed(1),
        make.closed(2, accepted=[s for s in make.SITES if s not in ("lake", "north", "fen")], rejected=out + silent),
        make.closed(3, accepted=list(make.SITES), rejected=[], weights=dict.fromkeys(make.SITES, 0.1)),
        make.voided(4),
    ]
    defence = load_run(make.write(tmp_path / "run", events)).defence
    assert (defence.hostile_sites, defence.hostile_received, defence.hostile_excluded) == (2, 5, 3)
    assert (defence.honest_received, defence.honest_excluded) == (24, 1)
    assert defence.hostile_weight == pytest.approx((0 + 0 + 0.2) / 3)


def test_rounds_done_again_after_a_resume_count_once(tmp_path: Path, make: ModuleType) -> None:
    events: list[Event] = [make.started(attack=False), make.evaluated(0, 0.1)]
    for number in (1, 2, 3):
        events += [make.closed(number, hostile=()), make.evaluated(number, 0.1 * number)]
    events += [make.leakage(auc=0.9), make.finished(3, status="interrupted"), RunResumed(after_round=1)]
    for number in (2, 3):
        events += [make.closed(number, hostile=("dale",)), make.evaluated(number, 0.2 + 0.2 * number)]
    events += [make.leakage(auc=0.53), make.finished(3)]
    run = load_run(make.write(tmp_path / "run", events))
    assert [(entry.number, entry.rejected) for entry in run.rounds] == [(1, 0), (2, 1), (3, 1)]
    assert [entry.value for entry in run.evaluations] == pytest.approx([0.1, 0.1, 0.6, 0.8])
    assert [leak.auc.value for leak in run.leaks] == [0.53]
    assert (run.status, run.resumed_after) == ("finished", (1,))


def test_a_resumed_run_without_an_end_is_unfinished_again(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.closed(1), make.finished(1, status="interrupted"), RunResumed(after_round=1)]
    assert load_run(make.write(tmp_path / "run", events)).status == "unfinished"


def test_what_a_superseded_round_spent_stays_spent(tmp_path: Path, make: ModuleType) -> None:
    spent = [BudgetsSpent(round=n, epsilon={"north": 0.5 * n}) for n in (1, 2, 3)]
    events = [make.started(), make.planned("north"), *spent, RunResumed(after_round=1)]
    run = load_run(make.write(tmp_path / "run", events))
    assert run.sites[0].spent == 1.5
    assert [(entry.round, entry.highest) for entry in run.budget_over_rounds] == [(1, 0.5)]


def test_an_epsilon_without_its_definition_is_not_stated(tmp_path: Path, make: ModuleType) -> None:
    spent = BudgetsSpent(round=1, epsilon={"north": 1.0})
    for missing in ("accountant", "relation", "unit"):
        plan = replace(make.planned("north"), **{missing: ""})
        run = load_run(make.write(tmp_path / missing, [make.started(), plan, spent]))
        assert run.most_spent is None and run.private


def test_only_noise_from_the_operating_system_counts_as_a_release(tmp_path: Path, make: ModuleType) -> None:
    for source, simulated in (("operating system generator", False), ("seeded generator", True), ("", True)):
        run = load_run(
            make.write(tmp_path / f"run{source}", [make.started(), make.planned("north", randomness=source)])
        )
        assert run.simulated_noise is simulated


def test_nested_and_flat_jobs_read_the_same(tmp_path: Path, make: ModuleType) -> None:
    flat = load_run(make.write(tmp_path / "flat", [make.started(job={"privacy.unit": "none", "rounds": 5})]))
    nested = load_run(make.write(tmp_path / "nested", [make.started(job={"privacy": {"unit": "none"}, "rounds": 5})]))
    assert flat.job == nested.job and flat.planned_rounds == 5


def test_metrics_of_the_server_win_over_those_of_the_sites(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.evaluated(1, 0.5), replace(make.evaluated(1, 0.9), where="sites")]
    assert [entry.value for entry in load_run(make.write(tmp_path / "run", events)).evaluations] == [0.5]


def test_a_folder_without_events_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_run(tmp_path)
    assert caught.value.code == "E112"


def test_a_damaged_log_is_refused_and_a_torn_last_line_is_not(tmp_path: Path, make: ModuleType) -> None:
    folder = make.write(tmp_path / "run", [make.started(), make.closed(1)])
    path = folder / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":2,"eve')
    assert load_run(folder).released == 1
    path.write_bytes(b'{"seq":2,"eve\n' + whole)
    with pytest.raises(Tampered) as caught:
        load_run(folder)
    assert caught.value.code == "E403"


JUNK: st.SearchStrategy[object] = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        3,
        1e300,
        -2.5,
        "",
        "north",
        "<b>",
        "\ud800",
        [],
        [[]],
        [None],
        [-1, "a"],
        {},
        {"a": 1},
        [{"site": 3}],
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), JUNK), min_size=1, max_size=12))
def test_junk_in_any_field_never_breaks_the_page(
    tmp_path: Path, make: ModuleType, changes: list[tuple[int, int, object]]
) -> None:
    folder = make.write(tmp_path / str(len(list(tmp_path.iterdir()))), make.whole_run()[:60] + make.whole_run()[-13:])
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for which, field, junk in changes:
        event = events[which % len(events)]
        place = event["result"] if "result" in event and isinstance(event["result"], dict) else event
        if place:
            place[sorted(place)[field % len(place)]] = junk
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    write_report(folder)
    json.loads((folder / "report.json").read_text())


def test_events_of_the_log_have_the_names_the_parser_knows(tmp_path: Path, make: ModuleType) -> None:
    EventLog(tmp_path / "events.jsonl").append(make.finished())
    assert load_run(tmp_path).status == "finished"


def test_a_backdoors_success_is_read_beside_the_main_metric(tmp_path: Path, make: ModuleType) -> None:
    tried = replace(make.evaluated(1, 0.8), metrics={"accuracy": 0.8, "loss": 0.4, "backdoor_success": 0.25})
    run = load_run(make.write(tmp_path / "run", [make.started(), make.evaluated(0, 0.1), tried]))
    assert [(entry.metric, entry.backdoor) for entry in run.evaluations] == [("accuracy", None), ("accuracy", 0.25)]
    figures = {figure.name: figure for figure in rounds(run, []).figures}
    assert figures["backdoor"].table.rows == (("1", "0.25", "0.80"),)
    assert "0.25 at the end" in figures["backdoor"].caption


def test_a_run_without_a_backdoor_has_no_figure_of_one(tmp_path: Path, make: ModuleType) -> None:
    run = load_run(make.write(tmp_path / "run", make.whole_run()))
    assert "backdoor" not in {figure.name for figure in rounds(run, []).figures}
