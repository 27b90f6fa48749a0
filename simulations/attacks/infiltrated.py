"""A Grid whose hostile sites answer last: they see what the honest ones said, and the server knows of nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from hedgerow.flowercompat import Run
from hedgerow.simulations.attacks.adversary import Adversary
from hedgerow.simulations.attacks.scene import Vector

__all__ = ["InfiltratedGrid", "infiltrated"]


class InfiltratedGrid(Grid):
    """Any Grid of Hedgerow's simulated sites, some of which are an `adversary`'s.

    `sites` are all sites' indices by the name that they answer with; the adversary knows which are its own. Their
    answers to train messages are held back until everyone asked has answered or failed; then they go out, with the
    adversary's rows in the place of their updates. Everything else passes through. `model` is the one that the round
    before the first started from, where a run goes on.
    """

    def __init__(
        self, inner: Grid, adversary: Adversary, sites: Mapping[str, int], *, model: Vector | None = None
    ) -> None:
        self.inner = inner
        self._adversary = adversary
        self._sites = sites
        self._models = [] if model is None else [model]
        self._round = 0
        self._waiting: set[str] = set()
        self._honest: dict[int, Vector] = {}
        self._held: dict[int, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        ids = list(self.inner.push_messages(sent))
        training = {key: message for key, message in zip(ids, sent, strict=False) if key and _trains(message)}
        if training:
            self._begin(next(iter(training.values())), set(training))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        out = []
        held = {reply.metadata.reply_to_message_id for reply in self._held.values()}
        asked = [key for key in message_ids if key not in held]  # Flower has an error for who asks for one twice
        for reply in self.inner.pull_messages(asked) if asked else ():
            key = reply.metadata.reply_to_message_id
            index, update = self._sites.get(_site(reply), -1), _update(reply)
            if key not in self._waiting or update is None:
                out.append(reply)
            elif index in self._adversary.sites:
                self._held[index] = reply
            else:
                self._honest[index] = update
                out.append(reply)
            self._waiting.discard(key)
        if self._held and not self._waiting:
            out += self._answers()
        return sorted(out, key=lambda reply: reply.metadata.src_node_id)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.inner.send_and_receive(messages, timeout=timeout)

    def _begin(self, request: Message, keys: set[str]) -> None:
        """A round opens: what is left of the one before is forgotten, the model that goes out is kept."""
        config = request.content.config_records["config"]
        arrays = [array.numpy() for array in request.content.array_records["arrays"].values()]
        model = np.concatenate([value.ravel() for value in arrays if value.dtype.kind == "f"])
        self._round = int(str(config["server-round"]))
        self._models = [*self._models[-1:], model]
        self._waiting, self._honest, self._held = keys, {}, {}

    def _answers(self) -> list[Message]:
        """The hostile sites' answers, changed."""
        held, self._held = self._held, {}
        hostile = sorted(held)
        own = np.stack([update for index in hostile if (update := _update(held[index])) is not None])
        honest = [self._honest[index] for index in sorted(self._honest)]
        rows = self._adversary.answers(
            round=self._round,
            sites=hostile,
            own=own,
            honest=np.stack(honest) if honest else own[:0],
            last=self._models[1] - self._models[0] if len(self._models) == 2 else None,
        )
        for index, row in zip(hostile, rows, strict=True):
            held[index].content["update"] = ArrayRecord({"flat": Array(row)})
        return list(held.values())

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


def infiltrated(
    app: ServerApp, adversary: Adversary, sites: Mapping[str, int], *, model: Vector | None = None
) -> ServerApp:
    """The ServerApp over an `InfiltratedGrid`."""
    return _Infiltrated(app, adversary, sites, model)


class _Infiltrated(ServerApp):
    def __init__(self, app: ServerApp, adversary: Adversary, sites: Mapping[str, int], model: Vector | None) -> None:
        super().__init__()
        self._app = app
        self._adversary = adversary
        self._sites = sites
        self._model = model

    def __call__(self, grid: Grid, context: Context) -> None:
        self._app(InfiltratedGrid(grid, self._adversary, self._sites, model=self._model), context)


def _trains(message: Message) -> bool:
    return message.metadata.message_type.partition(".")[0] == MessageType.TRAIN


def _site(reply: Message) -> str:
    name = "" if reply.has_error() else reply.content.config_records.get("site", ConfigRecord()).get("name", "")
    return name if isinstance(name, str) else ""


def _update(reply: Message) -> Vector | None:
    """The update in a reply; None in one that has none."""
    record = None if reply.has_error() else reply.content.array_records.get("update")
    return None if record is None else record["flat"].numpy()
