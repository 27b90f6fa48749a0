"""Every import of Flower's internals, in one place, for Flower 1.41.

Public Flower API (`flwr.app`, `flwr.clientapp`, `flwr.serverapp`) is imported where it is used. What stands here can
move with any Flower release: the version is checked on import, and `tests/test_flowercompat.py` is the contract.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flwr.app
import numpy as np
from flwr.app.message.typeddict import TypedDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.object_ref import load_app
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from hedgerow.errors import Misconfigured

__all__ = [
    "FLOWER_VERSION",
    "CLIENT_APP_RAISED",
    "LazyArray",
    "attribute_to",
    "Run",
    "empty_run",
    "load_component",
    "name_message",
    "over_the_wire",
    "own_copy",
    "quiet_flower",
    "run_clientapp_command",
    "task_identity",
]

FLOWER_VERSION = version("flwr")
if not FLOWER_VERSION.startswith("1.41."):
    raise Misconfigured(
        "E107",
        f"Flower {FLOWER_VERSION} is installed, but this version needs 1.41",
        hint="pip install 'flwr>=1.41,<1.42'",
    )

CLIENT_APP_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)


def empty_run(run_id: int) -> Run:
    """Flower's description of a run, with nothing but its number."""
    return Run.create_empty(run_id)


@contextmanager
def task_identity(*, run_id: int, node_id: int, task_id: int) -> Iterator[None]:
    """Who this process is while it builds messages. Flower keeps this once per process, so runs cannot overlap."""
    before = TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id
    TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = run_id, node_id, task_id
    try:
        yield
    finally:
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = before


def name_message(message: flwr.app.Message, message_id: str) -> None:
    """Give a message its id, which on a real network the SuperLink does."""
    message.metadata.__dict__["_message_id"] = message_id


def own_copy(message: flwr.app.Message) -> flwr.app.Message:
    """The message with records that its reader may change. Arrays share their bytes, which nobody can change.

    Flower's constructors check every entry again, which for small models takes longer than the training.
    """
    copy = object.__new__(type(message))
    copy.__dict__.update(message.__dict__)
    copy.__dict__["_content"] = _own_record(message.content) if message.has_content() else None
    return copy


def _own_record(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)
    if isinstance(value, flwr.app.Array | TypedDict):
        copy = object.__new__(type(value))
        copy.__dict__.update(value.__dict__)
        if isinstance(value, TypedDict):
            copy.__dict__["_data"] = {key: _own_record(entry) for key, entry in value.__dict__["_data"].items()}
        return copy
    return value


def attribute_to(reply: flwr.app.Message, node_id: int) -> None:
    """Say whose reply it is: an error that the SuperLink reports for a node that is gone comes from the SuperLink."""
    reply.metadata.__dict__["_src_node_id"] = node_id


def over_the_wire(message: flwr.app.Message) -> flwr.app.Message:
    """The message as it arrives after Flower's serialisation."""
    return message_from_proto(ProtoMessage.FromString(message_to_proto(message).SerializeToString()))


def load_component(reference: str, folder: Path) -> Any:
    """The object at `module:attribute` of an app folder, which is put on `sys.path` as Flower does.

    Raises:
        Misconfigured: E111 if it cannot be imported or has no such attribute.
    """
    try:
        return load_app(reference, ImportError, folder)
    except Misconfigured:
        raise
    except (Exception, SystemExit) as error:
        raise Misconfigured(
            "E111", f"'{reference}' cannot be loaded: {type(error).__name__}: {error}", place=str(folder)
        ) from error


@contextmanager
def quiet_flower(level: int = logging.WARNING) -> Iterator[None]:
    """Keep Flower's own log below `level` off the terminal: a run's lines come from its events."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


class LazyArray(flwr.app.Array):
    """An Array over numbers in memory: its bytes are made when someone looks, which in this process nobody does."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.__dict__.update(dtype=str(values.dtype), shape=tuple(values.shape), stype="numpy.ndarray")

    def numpy(self) -> np.ndarray:
        """The numbers, which the reader may change."""
        return self._values.copy()

    @property
    def data(self) -> bytes:  # type: ignore[override]  # a field there, made on demand here
        buffer = self.__dict__.get("_bytes")
        if buffer is None:
            buffer = self.__dict__["_bytes"] = flwr.app.Array(self._values).data
        return bytes(buffer)


AppCall = Callable[[flwr.app.Message, flwr.app.Context], flwr.app.Message]


def run_clientapp_command(words: Sequence[str], *, wrap: Callable[[ClientApp], AppCall]) -> None:
    """Run Flower's `flwr-clientapp` with these words, passing the app's own ClientApp through `wrap` first.

    It answers one message, as at a real site; `simulations.local` makes hostile sites of it.
    """
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

    run_clientapp: Any = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    load = run_clientapp.get_load_client_app_fn

    def load_wrapped(*arguments: Any, **named: Any) -> Callable[[str, str, str], AppCall]:
        inner = load(*arguments, **named)
        return lambda fab_id, fab_version, fab_hash: wrap(inner(fab_id, fab_version, fab_hash))

    before = sys.argv
    sys.argv = ["flwr-clientapp", *words]
    run_clientapp.get_load_client_app_fn = load_wrapped
    try:
        flwr_clientapp()
    finally:
        sys.argv = before
        run_clientapp.get_load_client_app_fn = load
