"""Quorum, grace, deadline and over-selection, on a clock that moves only when somebody waits."""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from hedgerow.errors import Exhausted
from hedgerow.flowercompat import Run, empty_run, name_message, task_identity
from hedgerow.server import PolicyGrid
from hedgerow.simulations import LocalGrid, LocalNode


@pytest.fixture(autouse=True)
def as_server() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.waits.append(seconds)
        self.now += seconds


class ScriptedGrid(Grid):
    """Node n answers `delays[n]` seconds after the push: never if infinite, with an error if in `errors`."""

    def __init__(
        self, clock: Clock, delays: Mapping[int, float], *, errors: Iterable[int] = (), refused: Iterable[int] = ()
    ) -> None:
        self._clock = clock
        self.delays = dict(delays)
        self.errors = set(errors)
        self.refused = set(refused)
        self.answers: dict[str, tuple[float, Message]] = {}
        self.pulls = 0
        self._run = empty_run(1)

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.delays)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self.refused:
                yield None  # type: ignore[misc]  # what Flower's own grid does
                continue
            name_message(message, f"m{len(self.answers)}")
            reply = Message(Error(2, "x") if node in self.errors else RecordDict(), reply_to=message)
            self.answers[message.metadata.message_id] = (self._clock.now + self.delays[node], reply)
            yield message.metadata.message_id

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.pulls += 1
        return [self.answers[key][1] for key in list(message_ids) if self.answers[key][0] <= self._clock.now]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise AssertionError("the policy asks for pushes and pulls only")


def requests(nodes: Iterable[int]) -> list[Message]:
    return [Message(RecordDict(), node, "train") for node in nodes]


def who(replies: Iterable[Message]) -> list[int]:
    return sorted(reply.metadata.src_node_id for reply in replies)


def policy(inner: Grid, clock: Clock, **settings: float) -> PolicyGrid:
    return PolicyGrid(inner, clock=clock, sleep=clock.sleep, **settings)  # type: ignore[arg-type]


def test_a_round_closes_when_everyone_has_answered() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: 1, 3: 5}), clock, quorum=3, grace=30)
    assert who(grid.send_and_receive(requests([1, 2, 3]))) == [1, 2, 3]
    assert 105 <= clock.now <= 105.5


def test_after_the_quorum_the_others_have_the_grace_and_no_more() -> None:
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 10, 3: 14, 4: 60, 5: math.inf})
    grid = policy(inner, clock, quorum=2, grace=5)
    assert who(grid.send_and_receive(requests([1, 2, 3, 4, 5]))) == [1, 2, 3]
    assert 115 <= clock.now <= 115.5


def test_the_deadline_holds_even_within_the_grace() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: math.inf}), clock, quorum=1, grace=50, deadline=20)
    assert who(grid.send_and_receive(requests([1, 2]))) == [1]
    assert clock.now == 120


def test_a_caller_s_shorter_timeout_counts() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: math.inf}), clock, quorum=2, deadline=20)
    assert who(grid.gather(requests([1, 2]), timeout=3)) == [1]
    assert clock.now == 103


def test_too_few_answers_at_the_deadline_are_an_error() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: 0, 3: math.inf}, errors=[2]), clock, quorum=2, deadline=10)
    with pytest.raises(Exhausted) as caught:
        grid.send_and_receive(requests([1, 2, 3]))
    assert caught.value.code == "E501" and "1 of 3" in caught.value.message and clock.now == 110


def test_a_quorum_of_more_than_were_asked_means_everyone() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: 0}), clock, quorum=5)
    assert who(grid.send_and_receive(requests([1, 2]))) == [1, 2]


def test_errors_do_not_start_the_grace() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: 0, 3: 8, 4: 9}, errors=[1, 2]), clock, quorum=2, grace=1)
    assert who(grid.send_and_receive(requests([1, 2, 3, 4]))) == [1, 2, 3, 4]


def test_an_error_that_the_network_reports_is_its_node_s() -> None:
    """A SuperLink answers for a node that is gone, under its own id."""
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 0}, errors={2})
    grid = policy(inner, clock, quorum=1, grace=0)
    asked = requests([1, 2])
    inner.push_messages = lambda messages: _from_the_superlink(ScriptedGrid.push_messages(inner, messages), inner)  # type: ignore[method-assign]
    assert who(grid.gather(asked)) == [1, 2]


def _from_the_superlink(ids: Iterable[str], inner: ScriptedGrid) -> list[str]:
    pushed = list(ids)
    for _, reply in inner.answers.values():
        if reply.has_error():
            reply.metadata.__dict__["_src_node_id"] = 1
    return pushed


def test_what_counts_is_the_caller_s_to_say() -> None:
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 0, 3: 8, 4: 50})
    grid = PolicyGrid(
        inner,
        quorum=1,
        grace=1,
        clock=clock,
        sleep=clock.sleep,
        counts=lambda reply: reply.metadata.src_node_id == 3,
    )
    assert who(grid.send_and_receive(requests([1, 2, 3, 4]))) == [1, 2, 3]


def test_over_selection_closes_when_the_share_that_was_needed_is_in() -> None:
    clock = Clock()
    delays = {node: float(node) for node in range(1, 7)}
    grid = policy(ScriptedGrid(clock, delays), clock, quorum=2, grace=30, over_select=0.5)
    assert who(grid.send_and_receive(requests(delays))) == [1, 2, 3, 4]  # 6 / 1.5
    assert clock.now < 105


def test_over_selection_never_closes_below_the_quorum() -> None:
    clock = Clock()
    delays = {node: float(node) for node in range(1, 7)}
    grid = policy(ScriptedGrid(clock, delays), clock, quorum=5, grace=0, over_select=1.0)
    assert who(grid.send_and_receive(requests(delays))) == [1, 2, 3, 4, 5]


def test_a_message_the_grid_refused_is_not_waited_for() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0, 2: 0, 3: 0}, refused=[2]), clock, quorum=1, deadline=1000)
    assert who(grid.gather(requests([1, 2, 3]))) == [1, 3]
    assert clock.now == 100


def test_nothing_to_send_is_nothing_to_wait_for() -> None:
    clock = Clock()
    grid = policy(ScriptedGrid(clock, {1: 0}, refused=[1]), clock, quorum=1)
    assert list(grid.send_and_receive([])) == []
    with pytest.raises(Exhausted):
        grid.send_and_receive(requests([1]))
    assert clock.now == 100


def test_late_answers_of_an_earlier_round_are_ignored() -> None:
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 5})
    grid = policy(inner, clock, quorum=1, grace=0)
    assert who(grid.gather(requests([1, 2]))) == [1]
    clock.now += 10
    inner.delays = {1: 0, 2: math.inf}
    second = grid.gather(requests([1, 2]))
    assert who(second) == [1] and second[0].metadata.reply_to_message_id == "m2"


def test_an_answer_that_comes_twice_or_to_nobody_s_question_counts_once_or_not() -> None:
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 1})
    pull = inner.pull_messages
    stray = Message(RecordDict(), reply_to=Message(RecordDict(), 9, "train"))
    inner.pull_messages = lambda message_ids: [*pull(message_ids), *pull(message_ids), stray]  # type: ignore[method-assign]
    grid = policy(inner, clock, quorum=2, grace=0)
    assert who(grid.gather(requests([1, 2]))) == [1, 2]


def test_the_waits_grow_and_shrink_again_when_something_comes() -> None:
    clock = Clock()
    policy(ScriptedGrid(clock, {1: 3.0, 2: 4.0}), clock, quorum=2).gather(requests([1, 2]))
    assert clock.waits[:7] == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5])
    assert max(clock.waits) == 0.5
    first_again = clock.waits.index(0.02, 1)
    assert sum(clock.waits[:first_again]) >= 3.0 and clock.waits[first_again - 1] == 0.5


def test_it_never_sleeps_beyond_the_deadline() -> None:
    clock = Clock()
    policy(ScriptedGrid(clock, {1: math.inf}), clock, deadline=1.23).gather(requests([1]))
    assert clock.now == pytest.approx(101.23) and sum(clock.waits) == pytest.approx(1.23)


def test_it_is_a_grid_like_the_one_inside() -> None:
    clock = Clock()
    inner = ScriptedGrid(clock, {1: 0, 2: 0})
    grid = policy(inner, clock)
    grid.set_run(empty_run(77))
    assert isinstance(grid, Grid) and grid.run.run_id == 77 and list(grid.get_node_ids()) == [1, 2]
    message = grid.create_message(RecordDict(), "train", 2, "1")
    (message_id,) = grid.push_messages([message])
    assert who(grid.pull_messages([message_id])) == [2]


def test_flower_s_fedavg_runs_under_it_unchanged() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        (array,) = message.content.array_records["arrays"].to_numpy_ndarrays()
        content = RecordDict(
            {
                "arrays": ArrayRecord([array + context.node_id]),
                "metrics": MetricRecord({"num-examples": 1, "loss": 0.5}),
            }
        )
        return Message(content, reply_to=message)

    clock = Clock()
    nodes = [LocalNode(node_id=number) for number in (1, 2, 3)]
    grid = policy(LocalGrid(app, nodes), clock, quorum=3)
    strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=3)
    result = strategy.start(grid, ArrayRecord([np.zeros(2, np.float32)]), num_rounds=2)
    assert result.arrays.to_numpy_ndarrays()[0].tolist() == [4.0, 4.0]
    assert result.train_metrics_clientapp[2]["loss"] == 0.5
