"""`PolicyGrid`: quorum, grace, over-selection, deadlines and fast polling for any Flower Grid and any Flower strategy.

Flower 1.41's own `send_and_receive` polls every three seconds, waits for everyone until the timeout, and returns short
without a word. Wrapped, the same strategy closes a round as soon as it can and never on too few answers.
"""

import math
import time
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from hedgerow.errors import Exhausted
from hedgerow.flowercompat import Run, attribute_to

__all__ = ["PolicyGrid"]

FIRST_WAIT, LONGEST_WAIT = 0.02, 0.5  # seconds between polls that brought nothing


class PolicyGrid(Grid):
    """A Grid that waits by policy.

    `send_and_receive` returns when everyone asked has answered; or `grace` seconds after `quorum` of them have answered
    with something that `counts` (anything but an error); or at the `deadline` (seconds; the caller's `timeout` if that
    is shorter). `over_select` is the share asked beyond need: of k messages, k / (1 + over_select) answers, if they
    make the quorum, are as good as all of them.

    Raises:
        Exhausted: E501 from `send_and_receive` if the deadline passes with fewer than `quorum` good answers.
    """

    def __init__(
        self,
        inner: Grid,
        *,
        quorum: int = 1,
        grace: float = 30.0,
        deadline: float = 3600.0,
        over_select: float = 0.0,
        counts: Callable[[Message], bool] = lambda reply: not reply.has_error(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.inner = inner
        self.quorum = quorum
        self.grace = grace
        self.deadline = deadline
        self.over_select = over_select
        self._counts = counts
        self._clock = clock
        self._sleep = sleep

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send, wait by policy, and return the answers that came.

        Raises:
            Exhausted: E501.
        """
        sent = list(messages)
        replies = self.gather(sent, timeout=timeout)
        good = sum(map(self._counts, replies))
        if sent and good < min(self.quorum, len(sent)):
            raise Exhausted("E501", f"{good} of {len(sent)} sites answered, but the quorum is {self.quorum}")
        return replies

    def gather(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send and wait by policy; the caller judges whether the answers suffice."""
        sent = list(messages)
        ids = list(self.inner.push_messages(sent))
        # A message that the network refused has no id, or none at all in the list: then nothing tells whose is whose.
        asked = {key: message.metadata.dst_node_id for key, message in zip(ids, sent, strict=False) if key}
        known = len(ids) == len(sent)
        pending = {message_id for message_id in ids if message_id}
        enough = max(math.ceil(len(sent) / (1 + self.over_select) - 1e-9), self.quorum)
        start = self._clock()
        closes_at = start + min(self.deadline, math.inf if timeout is None else timeout)
        replies: list[Message] = []
        good = 0
        wait = FIRST_WAIT
        while pending:
            pulled = {reply.metadata.reply_to_message_id: reply for reply in self.inner.pull_messages(pending)}
            arrived = [reply for message_id, reply in pulled.items() if message_id in pending]
            for reply in arrived:
                if known and reply.has_error():  # the network reports it under its own name
                    attribute_to(reply, asked[reply.metadata.reply_to_message_id])
            replies += arrived
            pending -= pulled.keys()
            before, good = good, good + sum(map(self._counts, arrived))
            now = self._clock()
            if before < self.quorum <= good:
                closes_at = min(closes_at, now + self.grace)
            if not pending or now >= closes_at or (self.over_select and good >= enough):
                break
            if arrived:
                wait = FIRST_WAIT
            else:
                self._sleep(min(wait, closes_at - now))
                wait = min(2 * wait, LONGEST_WAIT)
        return replies

    def set_run(self, run: Run) -> None:
        self.inner.set_run(run)

    @property
    def run(self) -> Run:
        return self.inner.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self.inner.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        return self.inner.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.inner.pull_messages(message_ids)
