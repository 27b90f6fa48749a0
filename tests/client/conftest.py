"""A site asked as a coordinator asks it, without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from hedgerow.client import client_app
from hedgerow.flowercompat import name_message, over_the_wire, task_identity
from hedgerow.job import Job
from hedgerow.task import Data, Site, Split, Task
from hedgerow.update import Layout, Vector
from hedgerow.wire import Reply, Request, model_record, read_reply, request_content


class Rings(Task):
    """Records at a site: 24 points in the plane with two labels, drawn by the site's index; 6 held out."""

    name = "rings"
    labels = ("in", "out")

    def __init__(self, records: int = 24, build: Callable[[], torch.nn.Module] | None = None) -> None:
        self.records = records
        self.build = build or (lambda: torch.nn.Linear(2, 2))
        self.reads = 0

    def model(self) -> torch.nn.Module:
        return self.build()

    def data(self, site: Site) -> Data:
        self.reads += 1
        x = np.random.default_rng(site.index).standard_normal((self.records + 6, 2)).astype(np.float32)
        everything = Split(x, (np.linalg.norm(x, axis=1) > 1).astype(np.int64))
        rows = np.arange(self.records + 6)
        return Data(everything.take(rows[: self.records]), everything.take(rows[self.records :]))


class Asked:
    """One site's ClientApp and how to ask it."""

    def __init__(self, task: Task, job: Job, store: Path, **node: Any) -> None:
        self.task = task
        self.job = job
        self.app: ClientApp = client_app(task)
        torch.manual_seed(0)
        model = task.model()
        self.layout = Layout.of(model)
        self.start: Vector = self.layout.flatten(model)
        self.store = store
        self.node = {
            "partition-id": 0,
            "num-partitions": 3,
            "site-name": "ward-1",
            "site-store": str(store),
            "simulation-seed": 7,
            **node,
        }
        self.config: dict[str, Any] = dict(job.flat())

    def ask(
        self,
        *,
        number: int = 1,
        kind: str = "train",
        digest: str | None = None,
        model: Vector | None = None,
        **node: Any,
    ) -> Message:
        request = Request(round=number, rounds=self.job.rounds, run="r", job_digest=digest or self.job.digest())
        content = request_content(model_record(self.layout, self.start if model is None else model), request)
        return self.send(content, kind=kind, **node)

    def send(self, content: RecordDict, *, kind: str = "train", **node: Any) -> Message:
        message = Message(content, 5, kind)
        name_message(message, "question")
        settings = {key: value for key, value in {**self.node, **node}.items() if value is not None}
        context = Context(run_id=1, node_id=5, node_config=settings, state=RecordDict(), run_config=dict(self.config))
        reply = self.app(over_the_wire(message), context)
        name_message(reply, "answer")
        return over_the_wire(reply)

    def read(self, **asked: Any) -> Reply:
        return read_reply(self.ask(**asked), layout=self.layout, model=self.start)


@pytest.fixture(autouse=True)
def as_node() -> Iterator[None]:
    with task_identity(run_id=1, node_id=1, task_id=1):
        yield


@pytest.fixture
def rings() -> type[Rings]:
    return Rings


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Asked]:
    """`site(task, privacy__unit="none", …)`: a site whose job has these settings; `node_…` are the operator's own."""

    def make(task: Task | None = None, *, node: dict[str, Any] | None = None, **changes: object) -> Asked:
        values: dict[str, Any] = {
            "rounds": 4,
            "privacy.unit": "none",
            "secure.mode": "off",
            "local.batch": 8,
            "local.lr": 0.2,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
        if values["privacy.unit"] == "record":
            values = {"privacy.epsilon": 4.0, "privacy.delta": 1e-3, **values}
        return Asked(task or Rings(), Job.from_flat(values), tmp_path / "store", **(node or {}))

    return make
