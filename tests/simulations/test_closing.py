"""A simulated round closes when PolicyGrid would close it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.flowercompat import Run, empty_run, name_message, task_identity
from hedgerow.server import PolicyGrid
from hedgerow.simulations.closing import close


class Clock:
    """Time passes when somebody waits, and every wait ends early when the next answer comes."""

    def __init__(self, arrivals: Iterable[float]) -> None:
        self.now = 0.0
        self._arrivals = sorted(arrivals)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now = min([self.now + seconds, *(at for at in self._arrivals if at > self.now)])


class Timetable(Grid):
    """Message k is answered at `arrivals[k]`."""

    def __init__(self, arrivals: list[float], clock: Callable[[], float]) -> None:
        self._arrivals = arrivals
        self._clock = clock
        self._sent: dict[str, tuple[float, Message]] = {}

    def set_run(self, run: Run) -> None:
        raise AssertionError("not asked for")

    @property
    def run(self) -> Run:
        return empty_run(1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise AssertionError("not asked for")

    def get_node_ids(self) -> Iterable[int]:
        raise AssertionError("not asked for")

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for number, message in enumerate(messages):
            name_message(message, str(number))
            self._sent[str(number)] = (self._arrivals[number], Message(RecordDict(), reply_to=message))
        return list(self._sent)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._sent[key][1] for key in message_ids if self._sent[key][0] <= self._clock()]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise AssertionError("the policy asks for pushes and pulls only")


@pytest.fixture(scope="module", autouse=True)
def as_server() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


# Eighths of a second: sums of them are exact, and ties and answers at the very moment of closing are common.
def seconds(most: int) -> st.SearchStrategy[float]:
    return st.integers(0, 8 * most).map(lambda eighths: eighths / 8)


@settings(max_examples=150, deadline=None)
@given(
    arrivals=st.lists(st.one_of(seconds(6), st.just(math.inf)), min_size=1, max_size=7),
    quorum=st.integers(1, 8),
    grace=seconds(3),
    deadline=seconds(7).map(lambda limit: limit + 0.125),
    over_select=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)
def test_a_round_takes_as_long_and_counts_the_same_answers_as_under_the_real_policy(
    arrivals: list[float], quorum: int, grace: float, deadline: float, over_select: float
) -> None:
    clock = Clock(arrivals)
    grid = PolicyGrid(
        Timetable(arrivals, clock),
        quorum=quorum,
        grace=grace,
        deadline=deadline,
        over_select=over_select,
        clock=clock,
        sleep=clock.sleep,
    )
    replies = grid.gather([Message(RecordDict(), node, "train") for node in range(1, len(arrivals) + 1)])
    took, taken = close(np.array(arrivals), quorum=quorum, grace=grace, deadline=deadline, over_select=over_select)
    assert took == pytest.approx(clock.now, abs=1e-9)
    assert (np.flatnonzero(taken) + 1).tolist() == sorted(reply.metadata.src_node_id for reply in replies)


@given(
    arrivals=st.lists(st.floats(0, 100) | st.just(math.inf), max_size=9),
    quorum=st.integers(1, 10),
    grace=st.floats(0, 50),
    deadline=st.floats(0.1, 100),
)
def test_the_sooner_of_everyone_the_grace_and_the_deadline_closes_a_round(
    arrivals: list[float], quorum: int, grace: float, deadline: float
) -> None:
    nth = sorted(arrivals)[quorum - 1] if quorum <= len(arrivals) else math.inf
    everyone = max(arrivals, default=0.0)
    closes = min(deadline, nth + grace, everyone)
    took, taken = close(np.array(arrivals, np.float64), quorum=quorum, grace=grace, deadline=deadline)
    assert took == closes and taken.tolist() == [at <= closes for at in arrivals]
    assert math.isfinite(took)


def test_a_coordinator_waits_until_the_deadline_for_those_who_will_never_answer() -> None:
    took, taken = close(np.full(3, np.inf), quorum=1, grace=5, deadline=600)
    assert took == 600 and not taken.any()


def test_a_round_that_asks_nobody_takes_no_time() -> None:
    took, taken = close(np.empty(0), quorum=1, grace=5, deadline=600)
    assert took == 0 and taken.shape == (0,)


def test_the_arrivals_stay_as_they_were() -> None:
    arrivals = np.array([3.0, 1.0, 2.0])
    close(arrivals, quorum=2, grace=0, deadline=9)
    assert arrivals.tolist() == [3.0, 1.0, 2.0]
