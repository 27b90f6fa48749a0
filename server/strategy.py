"""The coordinator's `Strategy`: a real Flower strategy whose round is select → send → gather → close → save → tell.

It runs under `flwr run`, on Ray, on SuperLinks and in process. With other people's ClientApps it works too: they
answer with full parameters, ours with updates.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.evaluation import evaluated
from hedgerow.events import Event
from hedgerow.job import Job
from hedgerow.server.coordinator import Coordinator, Save
from hedgerow.server.optimizer import first_state
from hedgerow.server.policygrid import FIRST_WAIT, LONGEST_WAIT, PolicyGrid
from hedgerow.server.pooling import pooled_metrics
from hedgerow.server.round import GlobalState, close_round
from hedgerow.server.selection import select
from hedgerow.server.site_privacy import SitePrivacy
from hedgerow.update import Layout, Vector
from hedgerow.wire import Reply, Request, model_record, read_reply, record_bytes, request_content

__all__ = ["Strategy"]

log = logging.getLogger("hedgerow.server")

EVERYONE = 1 << 62  # under site-level privacy no number of answers cuts off the others


class Strategy(FlowerStrategy):
    """Hedgerow's round as a Flower strategy.

    `job` says how to select, aggregate and step; `tell`, `save`, `state` and `simulated` are the `Coordinator`'s.
    `draw` gives the generator that selects a round's cohort, `reference` an update of the server's own where a rule
    wants one. `state` and `first_round` continue an earlier run.

    Guarantee: a model leaves the coordinator only after `save` returned, and a round whose quorum or rule is not
    satisfied changes nothing. A site's name, and with it its count and its reputation, belongs to the node that first
    gave it, as Flower numbers nodes; `state` keeps that for a resumed run, from its last released round.

    Not covered: a SuperLink that is started anew without its database, and a SuperNode that is without a registered
    key, number nodes anew. A SuperNode that restarts so is another node, and does not get its name back in this run. If
    no node of the earlier run is connected, nobody can be known again: names then go to the nodes that first claim
    them, and a warning says so. In a simulation names are not kept, since nobody there takes another's.
    """

    def __init__(
        self,
        job: Job,
        *,
        run: str = "run",
        tell: Callable[[Event], None] = lambda event: None,
        save: Save = lambda round_number, state, announce: announce(""),
        draw: Callable[[int], np.random.Generator] = lambda round_number: np.random.default_rng(),
        state: GlobalState | None = None,
        first_round: int = 1,
        simulated: bool = False,
        reference: Callable[[int, Vector], Vector | None] = lambda round_number, model: None,
        site_privacy: SitePrivacy | None = None,
    ) -> None:
        if job.privacy.unit == "site" and site_privacy is None:
            raise Misconfigured(
                "E105",
                "site-level privacy needs the coordinator's ledger, which belongs to a run's folder",
                place="privacy.unit",
                hint="run the job with hedgerow's own ServerApp",
            )
        self.job = job
        self.run = run
        self.first_round = first_round
        self._coordinator = Coordinator(job, tell=tell, save=save, state=state, simulated=simulated)
        self._simulated = simulated
        self._tell = tell
        self._draw = draw
        self._reference = reference
        self._site_privacy = site_privacy
        self._layout: Layout | None = None
        self._first: ArrayRecord = ArrayRecord()
        self._asked: dict[int, str] = {}
        self._absent: Exhausted | None = None  # why a round asks nobody
        self._names: dict[int, str] = {} if state is None else dict(state.nodes)
        self._unseen = set(self._names)  # nodes of an earlier run, until one of them is connected: then numbers hold
        self._bytes_down = 0
        self._started = 0.0

    @property
    def state(self) -> GlobalState | None:
        """The model and what the coordinator remembers; `None` before the first model is known."""
        return self._coordinator.state

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One request for each selected node; the request lives as long as the round's deadline.

        Nobody is asked where too few are connected until then: the round is void.
        """
        connected = self._connected(grid)
        self._recognise(connected)
        if len(connected) < self.job.cohort.quorum:
            self._absent = Exhausted(
                "E501",
                f"{len(connected)} {'site is' if len(connected) == 1 else 'sites are'} connected, but the quorum is "
                f"{self.job.cohort.quorum}, and not enough came within {self.job.cohort.deadline:g} seconds",
                hint="start more sites, raise cohort.deadline, or lower cohort.quorum",
            )
            return []
        if self._site_privacy is None:
            nodes = select(self.job.cohort, connected, self._draw(server_round))
        else:
            nodes = self._site_privacy.cohort(server_round, connected)
        request = Request(round=server_round, rounds=self.job.rounds, run=self.run, job_digest=self.job.digest())
        self._asked = {node: self._names.get(node, f"node-{node:x}") for node in nodes}
        self._started = time.perf_counter()
        self._coordinator.open(server_round, asked=len(nodes))
        content = request_content(arrays, request, config)
        self._bytes_down = record_bytes(content) * len(nodes)
        return [
            Message(content, node, MessageType.TRAIN, ttl=self.job.cohort.deadline, group_id=str(server_round))
            for node in nodes
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Close the round.

        Raises:
            Exhausted, Misconfigured: as `Coordinator.close`.
        """
        absent, self._absent = self._absent, None
        if absent is not None:
            self._coordinator.void(server_round, absent)
            return None, None
        layout, state = self._current()
        fixed = self._first.keys() - set(layout.names)
        read = [read_reply(message, layout=layout, model=state.model, fixed=fixed) for message in replies]
        answers = self._named(read)
        rng = self._draw(server_round).spawn(1)[0]
        reference = self._reference(server_round, state.model)
        noise = None
        if self._site_privacy is not None:
            noise = self._site_privacy.reserve(server_round, state.model)
            self._coordinator.spent(server_round, noise.charged(self._names.values()))
        closed = self._coordinator.close(
            server_round,
            lambda current: close_round(
                self.job,
                self._with_names(current),
                answers,
                asked=self._asked,
                rng=rng,
                reference=reference,
                noise=noise,
            ),
            train=time.perf_counter() - self._started,
            bytes_down=self._bytes_down,
            bytes_up=sum(answer.bytes for answer in answers),
        )
        if closed is None:
            return None, None
        if self._site_privacy is not None and noise is not None:
            self._site_privacy.released(noise)
        return self._record(layout, closed.state.model), MetricRecord({"accepted": len(closed.accepted)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sites evaluate only where the job says so, which it cannot under differential privacy."""
        if self.job.evaluate != "sites":
            return []
        request = Request(round=server_round, rounds=self.job.rounds, run=self.run, job_digest=self.job.digest())
        content = request_content(arrays, request, config)
        return [
            Message(content, node, MessageType.EVALUATE, ttl=self.job.cohort.deadline, group_id=str(server_round))
            for node in sorted(grid.get_node_ids())
        ]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The sites' metrics as one, and an event that tells them."""
        means, records = pooled_metrics(replies)
        if not means:
            return None
        self._tell(evaluated(round=server_round, where="sites", records=records, metrics=means))
        return MetricRecord(dict(means))

    def summary(self) -> None:
        """Flower's hook for a printed summary; a Hedgerow run tells its settings in its first event."""

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int | None = None,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run the job's rounds (Flower's signature; `num_rounds` defaults to the job's).

        Raises:
            Exhausted, Misconfigured: as `aggregate_train`.
        """
        rounds = self.job.rounds if num_rounds is None else num_rounds
        cohort = self.job.cohort
        policy = (
            grid
            if isinstance(grid, PolicyGrid)
            else PolicyGrid(
                grid,
                quorum=cohort.quorum if self._site_privacy is None else EVERYONE,
                grace=cohort.grace,
                deadline=min(cohort.deadline, timeout),
                over_select=cohort.over_select,
                counts=_holds_an_update,
            )
        )
        arrays = self._begin(initial_arrays)
        result = Result()
        result.arrays = arrays
        if evaluate_fn and self.first_round == 1:
            _keep(result.evaluate_metrics_serverapp, 0, evaluate_fn(0, arrays))
        for number in range(self.first_round, rounds + 1):
            requests = self.configure_train(number, arrays, train_config or ConfigRecord(), policy)
            new, metrics = self.aggregate_train(number, policy.gather(requests))
            _keep(result.train_metrics_clientapp, number, metrics)
            if new is None:
                continue
            result.arrays = arrays = new
            asked = self.configure_evaluate(number, arrays, evaluate_config or ConfigRecord(), policy)
            answers = policy.gather(asked) if asked else []
            _keep(result.evaluate_metrics_clientapp, number, self.aggregate_evaluate(number, answers))
            if evaluate_fn:
                _keep(result.evaluate_metrics_serverapp, number, evaluate_fn(number, arrays))
        return result

    def _begin(self, initial_arrays: ArrayRecord) -> ArrayRecord:
        """Agree on the layout, and take the given arrays as the first model unless an earlier run is continued."""
        arrays = {name: array.numpy() for name, array in initial_arrays.items()}
        floats = {name: value for name, value in arrays.items() if value.dtype.kind == "f"}
        self._layout = Layout(names=tuple(floats), shapes=tuple(tuple(value.shape) for value in floats.values()))
        if self.state is None:
            model = self._layout.join({name: value.astype(np.float32) for name, value in floats.items()})
            memory = first_state(self.job.server, len(model))
            self._coordinator.state = GlobalState(model=model, memory=memory, declared={})
        self._first = initial_arrays
        return self._record(self._layout, self._current()[1].model)

    def _record(self, layout: Layout, model: Vector) -> ArrayRecord:
        """The model as arrays, among the integer buffers that a foreign client expects back, as they were."""
        return ArrayRecord({**self._first, **model_record(layout, model)})

    def _named(self, answers: Sequence[Reply]) -> list[Reply]:
        """Each answer under the first name that its node gave. One name is one node's.

        Who could take a new name could declare a new count, and who could take another's could have the other rejected.
        Of two that claim a name at once neither gets it: they go by their nodes' numbers.
        """
        claims = {
            answer.sender: answer.site
            for answer in answers
            if answer.sender in self._asked and answer.sender not in self._names and not answer.unnamed
        }
        times = Counter(claims.values())
        taken = {name for node, name in self._names.items() if node not in self._unseen}
        for node, name in claims.items():
            free = times[name] == 1 and name not in taken and not name.startswith("node-")
            self._names[node] = name if free else f"node-{node:x}"
        given = {self._names[node] for node in claims}
        for node in [node for node in self._unseen if self._names[node] in given]:
            self._unseen.remove(node)
            del self._names[node]
        return [replace(answer, site=self._names.get(answer.sender, answer.site)) for answer in answers]

    def _recognise(self, connected: Sequence[int]) -> None:
        """Whether nodes still have the numbers of the earlier run; said once where none of them is there."""
        if self._unseen.intersection(connected):
            self._unseen.clear()
        elif self._unseen and not self._asked:
            log.warning("no node of the stopped run is connected: sites' names go to the nodes that first claim them")

    def _with_names(self, state: GlobalState) -> GlobalState:
        return state if self._simulated else replace(state, nodes=dict(self._names))

    def _current(self) -> tuple[Layout, GlobalState]:
        if self._layout is None or self.state is None:
            raise RuntimeError("aggregate_train was called before start")
        return self._layout, self.state

    def _connected(self, grid: Grid) -> list[int]:
        """The connected nodes, after waiting until the deadline for as many as the quorum needs."""
        waited, wait = 0.0, FIRST_WAIT
        told = False
        while len(nodes := sorted(grid.get_node_ids())) < self.job.cohort.quorum:
            if waited >= self.job.cohort.deadline:
                break
            if not told:
                told = True
                log.warning("%d sites are connected; waiting for a quorum of %d", len(nodes), self.job.cohort.quorum)
            time.sleep(wait)
            waited, wait = waited + wait, min(2 * wait, LONGEST_WAIT)
        return nodes


def _keep(history: dict[int, MetricRecord], number: int, metrics: MetricRecord | None) -> None:
    if metrics is not None:
        history[number] = metrics


def _holds_an_update(reply: Message) -> bool:
    """Whether an answer counts towards the quorum that starts the grace: a refusal must not cut off slower sites."""
    return not reply.has_error() and "failure" not in reply.content.config_records
