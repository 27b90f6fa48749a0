"""Tests of hedgerow.eventlog: whole lines only, whatever happens, and what still counts after a resume."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Exhausted, Tampered
from hedgerow.eventlog import EventLog, current_events, read_events
from hedgerow.events import (
    BudgetsSpent,
    Evaluated,
    Event,
    GateChecked,
    LeakageMeasured,
    RoundStarted,
    RunResumed,
)

ON_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def started(number: int) -> RoundStarted:
    return RoundStarted(round=number, rounds=9, asked=3)


def leak(**result: object) -> LeakageMeasured:
    return LeakageMeasured(result=result)


def written(path: Path, *events: Event) -> list[dict[str, Any]]:
    log = EventLog(path, clock=lambda: 1.5)
    for event in events:
        log.append(event)
    return list(read_events(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@ON_A_FOLDER
@given(
    st.dictionaries(
        st.text(max_size=6),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_whatever_is_told_is_one_line_of_strict_json(tmp_path: Path, result: dict[str, Any]) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    written(path, leak(**{"a": result}), started(1))
    lines = path.read_bytes().decode("ascii").split("\n")
    assert len(lines) == 3
    told = json.loads(lines[0], parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert told["result"]["a"] == _expected(result)


def _expected(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _expected(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expected(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@ON_A_FOLDER
@given(st.data())
def test_a_log_cut_anywhere_loses_at_most_its_last_line_and_goes_on(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    written(path, started(1), leak(text="zwölf\n"), started(3))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    before = list(read_events(path))
    assert len(before) >= whole[:cut].count(b"\n")
    EventLog(path).append(started(4))
    EventLog(path).append(started(5))
    after = list(read_events(path))
    assert after[:-2] == before
    assert [(event["round"], event["seq"]) for event in after[-2:]] == [(4, len(before)), (5, len(before) + 1)]


def test_a_torn_line_longer_than_a_block_is_taken_away(path: Path) -> None:
    written(path, leak(text="a" * 100_000), leak(text="b" * 200_000))
    path.write_bytes(path.read_bytes()[:-10])
    EventLog(path).append(started(2))
    assert [event["event"] for event in read_events(path)] == ["leakage-measured", "round-started"]


@pytest.mark.parametrize("damage", [b"{", b"\xff", b"3", b"{}", b"[]", b"[" * 100_000])
def test_damage_before_the_last_line_is_named_with_its_line(path: Path, damage: bytes) -> None:
    written(path, started(1), started(2))
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + damage + b"\n" + second + b"\n")
    with pytest.raises(Tampered) as caught:
        list(read_events(path))
    assert (caught.value.code, caught.value.place) == ("E403", f"{path}:2")
    with pytest.raises(Tampered):
        EventLog(path)


def test_a_log_that_cannot_be_read_is_said_to_be(path: Path) -> None:
    with pytest.raises(Tampered) as caught:
        list(read_events(path))
    assert caught.value.code == "E403"


def test_numbers_that_json_does_not_have_become_null(path: Path) -> None:
    (event,) = written(path, leak(a=np.nan, b=[-np.inf, 1.0], c={"d": np.float32("inf")}, e=np.array([np.nan, 2.0])))
    assert event["result"] == {"a": None, "b": [None, 1.0], "c": {"d": None}, "e": [None, 2.0]}


def test_numpys_scalars_and_arrays_become_plain_numbers(path: Path) -> None:
    values = {"a": np.float32(0.5), "b": np.int64(2**62), "c": np.bool_(True), "d": np.arange(3), "e": np.str_("x")}
    (event,) = written(path, leak(**values))
    assert event["result"] == {"a": 0.5, "b": 2**62, "c": True, "d": [0, 1, 2], "e": "x"}
    assert event["result"]["c"] is True


def test_a_mapping_of_any_kind_can_be_told(path: Path) -> None:
    (event,) = written(path, LeakageMeasured(result=MappingProxyType({"site": ("a", "b")})))
    assert event["result"] == {"site": ["a", "b"]}


def test_an_event_has_a_kind_a_time_and_a_place_in_the_order(path: Path) -> None:
    ticks = iter([1.23456, 2.0])
    log = EventLog(path, clock=lambda: next(ticks))
    log.append(started(1))
    log.append(RunResumed(after_round=1))
    one, two = read_events(path)
    assert one == {"seq": 0, "time": 1.235, "event": "round-started", "round": 1, "rounds": 9, "asked": 3}
    assert two == {"seq": 1, "time": 2.0, "event": "run-resumed", "after_round": 1}


def test_listeners_hear_what_was_written_and_only_then(path: Path) -> None:
    heard: list[tuple[Mapping[str, Any], list[dict[str, Any]]]] = []
    EventLog(path, listeners=[lambda event: heard.append((event, list(read_events(path))))]).append(started(1))
    ((event, on_disk),) = heard
    assert [dict(event)] == on_disk


def test_processes_that_append_at_once_write_whole_lines(path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from hedgerow.eventlog import EventLog
        from hedgerow.events import LeakageMeasured
        log = EventLog(Path(sys.argv[1]))
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(300):
            log.append(LeakageMeasured(result={"who": sys.argv[2], "number": number, "text": sys.argv[2] * 3000}))
    """)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for who in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    told = [event["result"] for event in read_events(path)]
    for who in "ab":
        assert [result["number"] for result in told if result["who"] == who] == list(range(300))
    assert all(result["text"] == result["who"] * 3000 for result in told)


@pytest.mark.parametrize(
    ("room", "error", "code"),
    [
        (0, errno.ENOSPC, "E503"),
        (0, errno.EDQUOT, "E503"),
        (20, errno.ENOSPC, "E503"),
        (0, errno.EROFS, "E504"),
        (0, errno.EACCES, "E504"),
        (0, errno.EIO, "E504"),
    ],
)
def test_a_full_disk_stops_clearly_leaves_no_half_line_and_tells_no_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int, error: int, code: str
) -> None:
    """The system writes `room` bytes and stops, or none and says why."""
    write = os.write

    def full(file: int, data: bytes) -> int:
        if room == 0:
            raise OSError(error, "as the system says it")
        return write(file, data[:room])

    heard: list[Mapping[str, Any]] = []
    log = EventLog(path, listeners=[heard.append])
    log.append(started(1))
    before = path.read_bytes()
    tellings: list[Callable[[], None]] = [
        lambda: log.append(started(2)), lambda: log.append_all([started(2), started(3)]),
    ]  # fmt: skip
    for tell in tellings:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(Exhausted) as caught:
                tell()
        assert (caught.value.code, caught.value.place) == (code, str(path))
        assert path.read_bytes() == before
        assert len(heard) == 1
    log.append(started(2))
    assert [(event["seq"], event["round"]) for event in read_events(path)] == [(0, 1), (1, 2)]


@ON_A_FOLDER
@given(st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=5), st.data())
def test_events_told_together_are_the_lines_of_events_told_singly_wherever_they_are_cut(
    tmp_path: Path, groups: list[list[int]], data: st.DataObject
) -> None:
    single, together = tmp_path / "single.jsonl", tmp_path / "together.jsonl"
    heard: list[list[Mapping[str, Any]]] = [[], []]
    for path in (single, together):
        path.unlink(missing_ok=True)
    one = EventLog(single, clock=lambda: 1.5, listeners=[heard[0].append])
    all_at_once = EventLog(together, clock=lambda: 1.5, listeners=[heard[1].append])
    for group in groups:
        for number in group:
            one.append(started(number))
        all_at_once.append_all(started(number) for number in group)
    assert heard[0] == heard[1]
    if not any(groups):
        assert not together.exists()
        return
    assert together.read_bytes() == single.read_bytes()
    whole = together.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    together.write_bytes(cut)
    kept = list(read_events(together))
    EventLog(together).append_all([started(7), started(8)])
    assert list(read_events(together))[: len(kept)] == kept
    assert [event["seq"] for event in read_events(together)] == list(range(len(kept) + 2))


def test_listeners_hear_each_of_many_in_order_and_only_when_all_are_written(path: Path) -> None:
    heard: list[tuple[int, int]] = []
    log = EventLog(path, listeners=[lambda event: heard.append((event["round"], len(list(read_events(path)))))])
    log.append_all([started(1), started(2), started(3)])
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_log_that_was_moved_away_goes_on_in_its_place(path: Path) -> None:
    """Nothing is told into a file that nobody reads any more."""
    log = EventLog(path)
    log.append(started(1))
    path.rename(path.with_name("moved.jsonl"))
    log.append(started(2))
    assert [event["round"] for event in read_events(path)] == [2]
    path.unlink()
    log.append(started(3))
    assert [event["round"] for event in read_events(path)] == [3]


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.int64, int, str])
@pytest.mark.parametrize("odd", [[], [None], [np.float32("nan")], [float("inf")], ["x"], [[1.5]], [True]])
def test_many_values_of_one_kind_are_told_as_each_would_be(path: Path, kind: Any, odd: list[Any]) -> None:
    values = [*map(kind, range(1, 6)), *odd]
    told, single = written(path, leak(all={str(i): value for i, value in enumerate(values)}, list=values), started(1))
    assert single["round"] == 1
    alone = [written(path.with_name(f"{i}.jsonl"), leak(value=value))[0] for i, value in enumerate(values)]
    expected = [event["result"]["value"] for event in alone]
    assert told["result"]["list"] == expected == list(told["result"]["all"].values())
    assert list(map(type, told["result"]["list"])) == list(map(type, expected))


def test_a_folder_that_is_gone_is_a_clear_stop(tmp_path: Path) -> None:
    with pytest.raises(Exhausted) as caught:
        EventLog(tmp_path / "gone" / "events.jsonl").append(started(1))
    assert caught.value.code == "E504"


def evaluated(number: int) -> dict[str, Any]:
    return {"event": "evaluated", "round": number, "metrics": {}}


OF_THE_END: list[dict[str, Any]] = [{"event": "leakage-measured"}, {"event": "gate-checked"}, {"event": "run-finished"}]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=5))
def test_after_any_resumes_every_round_counts_once_and_in_order(stops: list[tuple[int, int]]) -> None:
    """Each stop: the run came to a round, then went on after an earlier one."""
    log: list[dict[str, Any]] = [{"event": "run-started"}]
    at = 0
    for reached, kept in stops:
        log += [evaluated(number) for number in range(at, max(at, reached) + 1)] + OF_THE_END
        at = min(max(at, reached), kept)
        log.append({"event": "run-resumed", "after_round": at})
        at += 1
    log += [evaluated(number) for number in range(at, 8)] + OF_THE_END
    current = current_events(log)
    assert [event["round"] for event in current if event["event"] == "evaluated"] == list(range(8))
    assert list(current[-3:]) == OF_THE_END
    assert sum(event["event"] in ("leakage-measured", "gate-checked", "run-finished") for event in current) == 3
    assert sum(event["event"] == "run-resumed" for event in current) == len(stops)


def test_each_kind_that_belongs_to_a_round_is_dropped_and_no_other(path: Path) -> None:
    resumed = RunResumed(after_round=1)
    log = written(
        path,
        started(1),
        BudgetsSpent(round=1, epsilon={"a": 1.0, "b": 1.5}),
        BudgetsSpent(round=2, epsilon={"a": 2.0, "b": 2.5}),
        Evaluated(round=2, where="server", records=1, metrics={}, low=None, high=None),
        GateChecked(gate="auc <= 1", passed=True, text=""),
        leak(auc=0.5),
        resumed,
        started(2),
    )
    kinds = [event["event"] for event in current_events(log)]
    assert kinds == ["round-started", "budgets-spent", "run-resumed", "round-started"]


def test_a_run_that_never_stopped_is_as_it_was() -> None:
    log = [{"event": "run-started"}, evaluated(0), evaluated(1), *OF_THE_END]
    assert list(current_events(log)) == log
