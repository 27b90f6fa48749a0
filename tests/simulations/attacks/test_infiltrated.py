"""The grid of an adversary: hostile sites answer last, and what else passes is untouched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Error, Message, RecordDict
from flwr.serverapp import ServerApp

from hedgerow.flowercompat import name_message, task_identity
from hedgerow.server import PolicyGrid
from hedgerow.simulations import LocalGrid, LocalNode
from hedgerow.simulations.attacks import Adversary, Attack, Attacker
from hedgerow.simulations.attacks.infiltrated import InfiltratedGrid, infiltrated
from hedgerow.simulations.localgrid import run_in_process
from hedgerow.wire import Request, failure_content, reply_content, request_content

SITES = {f"site-{index}": index for index in range(5)}
UPDATES = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
NODES = [LocalNode(node_id=index + 10, config={"partition-id": index}) for index in range(5)]


@pytest.fixture(autouse=True)
def as_server() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


def client(message: Message, context: Context) -> Message:
    index = int(context.node_config["partition-id"])
    if message.metadata.message_type == "evaluate":
        return Message(RecordDict(), reply_to=message)
    return Message(reply_content(UPDATES[index], site=f"site-{index}", examples=3), reply_to=message)


def adversary(text: str, *sites: int) -> Adversary:
    attack = Attack.parse(text)
    places = {site: Attacker(attack=attack, rank=at, attackers=len(sites), sites=5) for at, site in enumerate(sites)}
    return Adversary(places, seed=1, rounds=3)


def asked(model: np.ndarray, *, number: int = 1, kind: str = "train") -> list[Message]:
    arrays = ArrayRecord({"w": Array(np.asarray(model, np.float32))})
    content = request_content(arrays, Request(round=number, rounds=3, run="r", job_digest="d"))
    return [Message(content, node.node_id, kind, ttl=60.0) for node in NODES]


def rows_of(replies: Iterable[Message]) -> dict[int, np.ndarray]:
    return {
        int(reply.metadata.src_node_id) - 10: reply.content.array_records["update"]["flat"].numpy() for reply in replies
    }


def test_attackers_in_collusion_answer_with_what_the_honest_ones_make_of_them() -> None:
    grid = InfiltratedGrid(LocalGrid(client, NODES), adversary("ipm:0.5", 1, 4), SITES)
    replies = list(PolicyGrid(grid, quorum=5).send_and_receive(asked(np.zeros(3))))
    rows = rows_of(replies)
    assert list(rows) == [0, 1, 2, 3, 4]
    for index in (0, 2, 3):
        np.testing.assert_array_equal(rows[index], UPDATES[index])
    for index in (1, 4):
        np.testing.assert_allclose(rows[index], -0.5 * UPDATES[[0, 2, 3]].mean(axis=0), rtol=1e-6)
    assert all(reply.content.metric_records["metrics"]["num-examples"] == 3 for reply in replies)


class InPieces(LocalGrid):
    """Answers come one at a pull, those of the hostile sites first."""

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        asked = set(message_ids)
        assert asked <= self._waiting.keys(), "Flower answers with an error what it has delivered already"
        wanted = [key for key in self._waiting if key in asked]
        wanted.sort(key=lambda key: self._waiting[key].metadata.dst_node_id not in (11, 14))
        return super().pull_messages(wanted[:1])


def test_hostile_answers_wait_until_every_honest_one_is_there() -> None:
    grid = InfiltratedGrid(InPieces(client, NODES), adversary("ipm:0.5", 1, 4), SITES)
    pending = set(grid.push_messages(asked(np.zeros(3))))
    came: list[list[int]] = []
    rows: dict[int, np.ndarray] = {}
    while pending:
        replies = list(grid.pull_messages(pending))
        pending -= {reply.metadata.reply_to_message_id for reply in replies}
        came.append(sorted(rows_of(replies)))
        rows |= rows_of(replies)
    assert came == [[], [], [0], [2], [1, 3, 4]]
    np.testing.assert_allclose(rows[4], -0.5 * UPDATES[[0, 2, 3]].mean(axis=0), rtol=1e-6)


def test_a_site_that_fails_is_not_waited_for_and_a_hostile_failure_stays_one() -> None:
    def failing(message: Message, context: Context) -> Message:
        index = int(context.node_config["partition-id"])
        if index == 0:
            reply = Message(Error(2, "gone"), reply_to=message)
            name_message(reply, "x")
            return reply
        if index == 1:
            return Message(failure_content("E201", site="site-1"), reply_to=message)
        return client(message, context)

    grid = InfiltratedGrid(LocalGrid(failing, NODES), adversary("ipm:0.5", 1, 4), SITES)
    replies = {
        int(reply.metadata.src_node_id): reply for reply in grid.pull_messages(grid.push_messages(asked(np.zeros(3))))
    }
    assert replies[10].has_error() and replies[11].content.config_records["failure"]["code"] == "E201"
    np.testing.assert_allclose(rows_of([replies[14]])[4], -0.5 * UPDATES[[2, 3]].mean(axis=0), rtol=1e-6)


def test_the_last_step_is_the_difference_of_the_models_that_went_out() -> None:
    grid = InfiltratedGrid(LocalGrid(client, NODES), adversary("free-rider", 2), SITES)
    first = rows_of(grid.pull_messages(grid.push_messages(asked(np.zeros(3)))))
    np.testing.assert_array_equal(first[2], np.zeros(3))
    second = rows_of(grid.pull_messages(grid.push_messages(asked(np.array([0, 4, 0]), number=2))))
    np.testing.assert_allclose(second[2], [0, 4, 0], atol=1.5)
    again = InfiltratedGrid(LocalGrid(client, NODES), adversary("free-rider", 2), SITES, model=np.zeros(3, np.float32))
    resumed = rows_of(again.pull_messages(again.push_messages(asked(np.array([0, 4, 0]), number=2))))
    np.testing.assert_array_equal(resumed[2], second[2])


def test_other_messages_pass_untouched() -> None:
    grid = InfiltratedGrid(LocalGrid(client, NODES), adversary("ipm:0.5", 1, 4), SITES)
    replies = list(grid.send_and_receive(asked(np.zeros(3), kind="evaluate")))
    assert len(replies) == 5 and all(len(reply.content) == 0 for reply in replies)
    assert list(grid.get_node_ids()) == [node.node_id for node in NODES]


def test_a_serverapp_runs_over_it_without_knowing() -> None:
    app = ServerApp()
    seen: dict[int, np.ndarray] = {}

    @app.main()
    def main(grid: object, context: Context) -> None:
        assert isinstance(grid, InfiltratedGrid)
        seen.update(rows_of(grid.pull_messages(grid.push_messages(asked(np.zeros(3))))))

    run_in_process(infiltrated(app, adversary("mimic:1", 0), SITES), client, NODES)
    np.testing.assert_array_equal(seen[0], UPDATES[2])
