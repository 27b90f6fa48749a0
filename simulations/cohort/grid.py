"""`CohortGrid`: Flower's own strategies over simulated sites that are trained together.

Any ServerApp or strategy runs on it unchanged; the sites answer as the ClientApps of Flower's examples do, with full
parameters and `num-examples`. What a reply holds is made into Flower's bytes only if someone looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import Result, Strategy

from hedgerow.check import check_job
from hedgerow.errors import CODES, Misconfigured
from hedgerow.evaluation import evaluate
from hedgerow.findings import refuse_errors
from hedgerow.flowercompat import CLIENT_APP_RAISED, LazyArray, task_identity
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.cohort.trainer import CohortTrainer
from hedgerow.simulations.conditions import unsupported
from hedgerow.simulations.localgrid import LocalGrid, LocalNode, named
from hedgerow.simulations.sites import prepare
from hedgerow.simulations.stage import one_thread
from hedgerow.task import Task
from hedgerow.update import Layout, Vector

__all__ = ["CohortGrid"]


class CohortGrid(LocalGrid):
    """A Grid whose nodes are a scenario's sites, all trained at once by the job's `local` settings.

    A train message brings the model under any name; a FedProx strategy's `proximal-mu` in its configuration counts. An
    evaluate message is answered with the task's metrics on the site's own held-out records, or an error without any.
    There is no ledger here, so a job with differential privacy is refused: `simulate` runs those.

    Raises:
        Misconfigured: E105 for a job with differential privacy, an attack or a simulated clock; and as `simulate`.

    Example, Flower's FedAvg over 20 sites:

    >>> from flwr.serverapp.strategy import FedAvg
    >>> from hedgerow import Job, Local, Privacy, Secure
    >>> from hedgerow.tasks import digits
    >>> job = Job(local=Local(lr=0.5), privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    >>> with CohortGrid(job, digits(hidden=0), scenario=Scenario(sites=20)) as grid:
    ...     result = grid.run_strategy(FedAvg(fraction_evaluate=0.0), rounds=2)
    >>> sorted(result.arrays)
    ['1.bias', '1.weight']
    """

    def __init__(
        self,
        job: Job,
        task: Task,
        *,
        scenario: Scenario | None = None,
        workers: int | None = None,
        memory: int | None = None,
    ) -> None:
        self._task, self._scenario, self._sites = prepare(task, Scenario() if scenario is None else scenario)
        if job.privacy.unit != "none":
            raise Misconfigured("E105", "a CohortGrid keeps no ledger", place="privacy.unit", hint="use simulate(...)")
        if self._scenario.attack != "none" or unsupported(self._scenario):
            raise Misconfigured("E105", "a CohortGrid simulates no attack and no clock", hint="use simulate(...)")
        refuse_errors(check_job(job, self._task, self._sites))
        nodes = [
            LocalNode(node_id=site.index + 1, config={"partition-id": site.index, "num-partitions": site.count})
            for site in self._sites
        ]
        super().__init__(self._evaluated, nodes)
        self._job = job
        self._limits = workers, memory
        self._trainers: dict[float, CohortTrainer] = {}
        self._pulls = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._scenario.seed)
            self._module = task.model()
        self._layout = Layout.of(self._module)
        self._first = self._layout.flatten(self._module)

    @property
    def first_model(self) -> ArrayRecord:
        """The task's model as the scenario's seed makes it."""
        return ArrayRecord(dict(self._module.state_dict()))

    def run_strategy(self, strategy: Strategy, *, rounds: int) -> Result:
        """Run a Flower strategy from `first_model` and return Flower's result."""
        with task_identity(run_id=self.run.run_id, node_id=0, task_id=1), one_thread():
            return strategy.start(grid=self, initial_arrays=self.first_model, num_rounds=rounds)

    def run_app(self, app: ServerApp, *, run_config: dict[str, Scalar] | None = None) -> Context:
        """Run a ServerApp to its end and return its context."""
        context = Context(
            run_id=self.run.run_id, node_id=0, node_config={}, state=RecordDict(), run_config=dict(run_config or {})
        )
        with task_identity(run_id=self.run.run_id, node_id=0, task_id=1), one_thread():
            app(self, context)
        return context

    def close(self) -> None:
        """Let the threads go."""
        for trainer in self._trainers.values():
            trainer.close()
        self._trainers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies, in the order of the nodes' ids: train messages with one model are worked on together."""
        ready = self._take(message_ids)
        groups: dict[tuple[int, int, float], list[Message]] = {}
        others = []
        for message in ready:
            if message.metadata.message_type == MessageType.TRAIN and message.content.array_records:
                groups.setdefault(self._group(message), []).append(message)
            else:
                others.append(self._answer(message))
        self._pulls += bool(groups)
        for (_, number, pull), messages in groups.items():
            others += self._trained(messages, number, pull)
        return sorted(others, key=lambda reply: reply.metadata.src_node_id)

    def _group(self, message: Message) -> tuple[int, int, float]:
        """Which model a message brings, for which round, and how strongly FedProx pulls."""
        config = message.content.config_records.get("config", ConfigRecord())
        number, pull = config.get("server-round", self._pulls + 1), config.get("proximal-mu", self._job.local.proximal)
        record = next(iter(message.content.array_records.values()))
        return (
            id(record),
            number if isinstance(number, int) else self._pulls + 1,
            float(pull) if isinstance(pull, int | float) else self._job.local.proximal,
        )

    def _trained(self, messages: Sequence[Message], number: int, pull: float) -> list[Message]:
        ((key, sent),) = list(messages[0].content.array_records.items())[:1]
        try:
            model = self._model(sent)
            trainer = self._trainer(pull)
            places = [message.metadata.dst_node_id - 1 for message in messages]
            rows, failed = trainer.train(model, places, round=number)
        except Misconfigured:
            raise
        except Exception:  # the strategy sent something else than the task's model
            return [self._failed(message, "E301") for message in messages]
        replies = []
        for message, place, row in zip(messages, places, rows, strict=True):
            if place in failed:
                replies.append(self._failed(message, failed[place]))
                continue
            trained = self._layout.split(row + model)
            record = ArrayRecord({name: LazyArray(trained[name]) if name in trained else sent[name] for name in sent})
            metrics = MetricRecord({"num-examples": len(trainer.rows(place, number))})
            replies.append(named(Message(RecordDict({key: record, "metrics": metrics}), reply_to=message)))
        return replies

    def _trainer(self, pull: float) -> CohortTrainer:
        if pull not in self._trainers:
            workers, memory = self._limits
            self._trainers[pull] = CohortTrainer(
                replace(self._job, local=replace(self._job.local, proximal=pull)),
                self._task,
                self._sites,
                model=self._first,
                seed=self._scenario.seed,
                workers=workers,
                memory=memory,
            )
        return self._trainers[pull]

    def _evaluated(self, message: Message, context: Context) -> Message:
        """The answer to what is no training: the task's metrics on the site's own held-out records."""
        site = self._sites[int(context.node_config["partition-id"])]
        test = self._task.data(site).test
        if message.metadata.message_type != MessageType.EVALUATE or not len(test):
            return Message(Error(CLIENT_APP_RAISED, CODES["E125"]), reply_to=message)
        sent = next(iter(message.content.array_records.values()))
        self._layout.load(self._model(sent), self._module)
        event = evaluate(self._task, self._module, test, round=0)
        metrics = MetricRecord({**event.metrics, "num-examples": event.records})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    def _model(self, sent: ArrayRecord) -> Vector:
        """The model in a record, as float32: Flower's adaptive strategies send float64."""
        arrays = {name: sent[name].numpy() for name in self._layout.names}
        return self._layout.join(
            {name: array.astype(np.float32, casting="same_kind") for name, array in arrays.items()}
        )

    def _failed(self, message: Message, code: str) -> Message:
        return named(Message(Error(CLIENT_APP_RAISED, CODES[code]), reply_to=message))
