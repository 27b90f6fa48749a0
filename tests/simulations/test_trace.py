"""Availability read from a table: who is there when, and which line is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.simulations.trace import Trace, read_trace

NAMES = ("north", "south", "1")


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def presence(trace: Trace, clock: float, sites: int) -> list[bool]:
    return [bool(there) for there in trace.state(np.arange(sites), np.full(sites, clock))[0]]


@settings(deadline=None)
@given(
    sessions=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(1, 8)).map(
            lambda session: (session[0], float(session[1]), float(session[1] + session[2]))
        ),
        max_size=20,
    ),
    clock=st.integers(0, 80).map(lambda halves: halves / 2),
)
@example(sessions=[(3, 5.0, 9.0), (3, 0.0, 5.0)], clock=1.0)
def test_a_site_is_there_in_its_sessions_and_its_state_holds_exactly_until_it_says(
    sessions: list[tuple[int, float, float]], clock: float
) -> None:
    def expected(site: int, at: float) -> bool:
        return any(owner == site and start <= at < end for owner, start, end in sessions)

    there, until = Trace(sessions, sites=5).state(np.arange(5), np.full(5, clock))
    for site in range(5):
        assert there[site] == expected(site, clock)
        changes = [at for at in np.arange(clock + 0.5, 45, 0.5) if expected(site, at) != there[site]]
        assert until[site] == (changes[0] if changes else np.inf)


def test_times_may_differ_between_the_sites_asked() -> None:
    trace = Trace([(0, 0.0, 5.0), (1, 3.0, 9.0)], sites=2)
    there, until = trace.state(np.array([1, 0, 1]), np.array([3.0, 5.0, 1.0]))
    assert there.tolist() == [True, False, False] and until.tolist() == [9.0, np.inf, 3.0]


def test_a_trace_without_a_session_leaves_everyone_away(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "site,from,until\n"), sites=3)
    there, until = trace.state(np.arange(3), np.zeros(3))
    assert not there.any() and np.all(until == np.inf)


def test_sites_are_called_by_name_or_else_by_index(tmp_path: Path) -> None:
    text = "\ufeffsite , from, until\nsouth,0,10\n0,5,inf\n\n1,20,30\n2,40,50\n"
    trace = read_trace(written(tmp_path, text), sites=3, names=NAMES)  # the third is named "1", and a name wins
    assert [presence(trace, clock, 3) for clock in (0, 5, 20, 30, 40)] == [
        [False, True, False],
        [True, True, False],
        [True, False, True],
        [True, False, False],
        [True, False, True],
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the first line must be site,from,until"),
        ("0,0,10\n", 1, "the first line"),
        ("site,from,until\n0,0\n", 2, "2 values"),
        ("site,from,until\n0,0,5\n0,0,5,6\n", 3, "4 values"),
        ("site,from,until\n0,0,5\nwest,0,5\n", 3, "there is no site 'west'"),
        ("site,from,until\n3,0,5\n", 2, "there is no site '3'"),
        ("site,from,until\n-1,0,5\n", 2, "there is no site '-1'"),
        ("site,from,until\n0,5,5\n", 2, "no stretch of time"),
        ("site,from,until\n0,5,1\n", 2, "no stretch of time"),
        ("site,from,until\n0,-1,5\n", 2, "no stretch of time"),
        ("site,from,until\n0,nan,5\n", 2, "no stretch of time"),
        ("site,from,until\n0,0,nan\n", 2, "no stretch of time"),
        ("site,from,until\n0,inf,inf\n", 2, "no stretch of time"),
        ("site,from,until\n\n0,soon,later\n", 3, "from 'soon' until 'later'"),
        (f"site,from,until\n{'x' * 200_000},0,1\n", 2, "not a table"),
    ],
)
def test_a_damaged_trace_is_refused_with_its_line(text: str, line: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_trace(written(tmp_path, text), sites=3, names=NAMES)
    assert (caught.value.code, caught.value.place) == ("E120", f"trace.csv:{line}")
    assert message in caught.value.message


def test_a_missing_trace_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="there is no trace 'none.csv'"):
        read_trace(tmp_path / "none.csv", sites=3)
    (tmp_path / "bad.csv").write_bytes(b"site,from,until\n\xff\xfe,0,1\n")
    with pytest.raises(Misconfigured, match="UTF-8"):
        read_trace(tmp_path / "bad.csv", sites=3)
    with pytest.raises(Misconfigured, match="E120"):
        read_trace(tmp_path, sites=3)
