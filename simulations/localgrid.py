"""`LocalGrid`: Flower messages answered by a ClientApp in this process, one after another, without a server or Ray.

Any ServerApp and ClientApp run on it unchanged: Flower's strategies and example apps, and ours.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from hedgerow.errors import CODES, Misconfigured
from hedgerow.flowercompat import (
    CLIENT_APP_RAISED,
    Run,
    empty_run,
    name_message,
    over_the_wire,
    own_copy,
    task_identity,
)
from hedgerow.settings import Scalar

__all__ = ["LocalGrid", "LocalNode", "named", "run_in_process", "run_simulation"]

log = logging.getLogger("hedgerow.simulations")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A simulated node: its Flower id and its operator's configuration."""

    node_id: int
    config: Mapping[str, Scalar] = field(default_factory=dict)


class LocalGrid(Grid):
    """A Grid whose nodes live in this process.

    Every node that was asked answers within one pull, however long it works: whose update counts in a round must not
    depend on how fast the machine is, so a grace, a deadline or a timeout that passes meanwhile cuts nobody off.
    Each node keeps one Flower `Context` for the run, as in Flower's own simulation. A client that raises answers with
    an error whose reason is a constant text. A client cannot change what other clients or the server hold: it gets
    its own records over shared, immutable bytes. `wire=True` sends every message through Flower's serialisation, as a
    network would, to prove that nothing depends on sharing.
    """

    def __init__(
        self,
        client_app: ClientApp | Callable[[Message, Context], Message],
        nodes: Sequence[LocalNode],
        *,
        run_config: Mapping[str, Scalar] | None = None,
        run_id: int = 1,
        wire: bool = False,
    ) -> None:
        self._client_app = client_app
        self._wire = wire
        self._run = empty_run(run_id)
        self._contexts = {
            node.node_id: Context(
                run_id=run_id,
                node_id=node.node_id,
                node_config=dict(node.config),
                state=RecordDict(),
                run_config=dict(run_config or {}),
            )
            for node in nodes
        }
        self._waiting: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take messages; a node answers when its reply is pulled. Expired messages nobody pulled are forgotten."""
        now = time.time()
        self._waiting = {
            key: message
            for key, message in self._waiting.items()
            if message.metadata.created_at + message.metadata.ttl > now
        }
        ids = []
        for message in messages:
            self._sent += 1
            message_id = f"local-{self._run.run_id}-{self._sent}"
            name_message(message, message_id)
            self._waiting[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Let the nodes work and return their replies, in the order of the nodes' ids."""
        return [self._answer(message) for message in self._take(message_ids)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and return all replies, whatever the `timeout`."""
        return self.pull_messages(self.push_messages(messages))

    def _take(self, message_ids: Iterable[str]) -> list[Message]:
        """The waiting messages of these ids, which wait no longer, in the order of the nodes' ids."""
        wanted = set(message_ids)
        ready = [self._waiting.pop(key) for key in list(self._waiting) if key in wanted]
        return sorted(ready, key=lambda message: message.metadata.dst_node_id)

    def _answer(self, message: Message) -> Message:
        request = over_the_wire(message) if self._wire else own_copy(message)
        context = self._contexts.get(message.metadata.dst_node_id)
        if context is None:
            return named(Message(Error(CLIENT_APP_RAISED, "no such node"), reply_to=message))
        try:
            reply = self._client_app(request, context)
            if reply.metadata.reply_to_message_id != message.metadata.message_id:
                raise ValueError("the ClientApp returned a message that answers another one")
            reply = own_copy(named(reply))
        except (Exception, SystemExit):
            log.exception("the ClientApp of node %d raised", context.node_id)
            reply = named(Message(Error(CLIENT_APP_RAISED, CODES["E308"]), reply_to=message))
        return over_the_wire(reply) if self._wire else reply


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp | Callable[[Message, Context], Message],
    nodes: Sequence[LocalNode],
    *,
    run_config: Mapping[str, Scalar] | None = None,
    wire: bool = False,
) -> Context:
    """Run a Flower app to its end in this process and return the ServerApp's context."""
    run_id = 1
    grid = LocalGrid(client_app, nodes, run_config=run_config, run_id=run_id, wire=wire)
    context = Context(run_id=run_id, node_id=0, node_config={}, state=RecordDict(), run_config=dict(run_config or {}))
    with task_identity(run_id=run_id, node_id=0, task_id=1):
        server_app(grid, context)
    return context


def run_simulation(
    server_app: ServerApp,
    client_app: ClientApp,
    num_supernodes: int,
    backend_name: str = "in-process",
    backend_config: Mapping[str, object] | None = None,
    enable_tf_gpu_growth: bool = False,
    verbose_logging: bool = False,
    *,
    run_config: Mapping[str, Scalar] | None = None,
    wire: bool = False,
) -> Context:
    """Flower's `run_simulation`, in this process: nodes get `partition-id` and `num-partitions`, as there.

    A call written for Flower works unchanged: the four arguments after `num_supernodes` set up Ray and its workers, of
    which there are none here, so they have no effect. `run_config` is what the apps find in `Context.run_config`, and
    `wire` sends every message through Flower's serialisation.

    Raises:
        Misconfigured: E103 for fewer than one node. Whatever the ServerApp raises is passed on.
    """
    if num_supernodes < 1:
        raise Misconfigured("E103", f"num_supernodes is {num_supernodes}, but must be at least 1")
    nodes = [
        LocalNode(node_id=index + 1, config={"partition-id": index, "num-partitions": num_supernodes})
        for index in range(num_supernodes)
    ]
    return run_in_process(server_app, client_app, nodes, run_config=run_config, wire=wire)


def named(reply: Message) -> Message:
    """A reply with an id of its own."""
    name_message(reply, f"reply-{reply.metadata.reply_to_message_id}")
    return reply
