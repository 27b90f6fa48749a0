"""A run between its folder and its rounds: where it starts or goes on, how it is saved and evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.evaluation import evaluate
from hedgerow.eventlog import EventLog
from hedgerow.runs import RunFolder
from hedgerow.server.optimizer import first_state
from hedgerow.server.reference import ServerUpdate
from hedgerow.server.round import GlobalState
from hedgerow.server.site_privacy import SitePrivacy
from hedgerow.task import Split, Task
from hedgerow.update import Layout, Vector

if TYPE_CHECKING:
    import torch

__all__ = ["OngoingRun", "seeded_model"]

SITES, COUNTS = "declared.sites", "declared.counts"  # the sites' frozen example counts among a checkpoint's tensors
NODES = "nodes"  # which node goes by which name, among them
RULE = "rule."  # what the rule remembers, among them
COHORT_STREAM = 3  # the cohorts' part of a simulation's seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OngoingRun:
    """A run from its first round, or from its last told checkpoint on. `state` is where it starts or goes on."""

    folder: RunFolder
    task: Task
    log: EventLog
    layout: Layout
    state: GlobalState
    first_round: int
    module: torch.nn.Module
    tensors: Mapping[str, torch.Tensor]
    held_out: Split | None
    own: ServerUpdate | None
    site_privacy: SitePrivacy | None

    @classmethod
    def begin(cls, task: Task, folder: RunFolder, log: EventLog) -> OngoingRun:
        """Save the first model, or read the last checkpoint.

        Raises:
            Misconfigured: E113 if the task's model is not the one in the folder. Exhausted: E503, E504.
        """
        module = task.model() if folder.scenario is None else seeded_model(task, folder.scenario.seed)
        layout = Layout.of(module)
        state, first_round = _continued(folder, layout)
        if state is None:
            vector = layout.flatten(module)
            folder.save(0, layout, vector, {})
            state = GlobalState(model=vector, memory=first_state(folder.job.server, layout.size), declared={})
        held_out = task.held_out() if folder.job.evaluate == "server" else None
        return cls(
            folder=folder,
            task=task,
            log=log,
            layout=layout,
            state=state,
            first_round=first_round,
            module=module,
            tensors=module.state_dict(),
            held_out=held_out,
            own=ServerUpdate.wanted_by(
                folder.job, task, layout, seed=None if folder.scenario is None else folder.scenario.seed
            ),
            site_privacy=SitePrivacy.of(folder, federation=task.name),
        )

    def save(self, number: int, new: GlobalState, announce: Callable[[str], None]) -> None:
        """Write a round's state, announce it, and make it the one to go on from."""
        declared: dict[str, np.ndarray] = {
            SITES: np.frombuffer(json.dumps(list(new.declared)).encode(), np.uint8),
            COUNTS: np.array(list(new.declared.values()), np.int64),
        }
        state = {**new.memory, **{RULE + name: value for name, value in new.rule.items()}}
        state |= declared if new.declared else {}
        if new.nodes:
            state[NODES] = np.frombuffer(json.dumps(list(new.nodes.items())).encode(), np.uint8)
        self.folder.save(number, self.layout, new.model, state, announce=announce)

    def evaluate(self, number: int, model: Vector) -> dict[str, float] | None:
        """The model's metrics on the server's held-out records, as an event; `None` where it has none."""
        if self.held_out is None:
            return None
        buffered = any(True for _ in self.module.buffers())  # a forward pass may put other tensors in their place
        self.layout.write(model, self.module.state_dict() if buffered else self.tensors)
        event = evaluate(self.task, self.module, self.held_out, round=number)
        if probed := self.task.probe(self.module):
            event = replace(event, metrics={**event.metrics, **probed})
        self.log.append(event)
        return dict(event.metrics)

    def reference(self, number: int, model: Vector) -> Vector | None:
        """The server's own update in a round, for a rule that wants one."""
        return None if self.own is None else self.own(number, model)

    def draw(self, number: int) -> np.random.Generator:
        """What selects a round's cohort: the seed in a simulation, else the operating system.

        Its first child is the rule's own.
        """
        if self.folder.scenario is None:
            return np.random.default_rng()
        return np.random.default_rng(
            np.random.SeedSequence(self.folder.scenario.seed, spawn_key=(COHORT_STREAM, number))
        )


def _continued(folder: RunFolder, layout: Layout) -> tuple[GlobalState | None, int]:
    latest = folder.latest()
    if latest is None:
        return None, 1
    saved, checkpoint = latest
    if saved != layout:
        raise Misconfigured(
            "E113", "the task's model has other tensors than the run's checkpoint", place=str(folder.path)
        )
    if checkpoint.round == 0:
        return None, 1
    others = {name: value for name, value in checkpoint.state.items() if name not in (SITES, COUNTS, NODES)}
    memory = {name: value for name, value in others.items() if not name.startswith(RULE)}
    rule = {name.removeprefix(RULE): value for name, value in others.items() if name.startswith(RULE)}
    declared = {}
    if SITES in checkpoint.state:
        names = json.loads(checkpoint.state[SITES].tobytes())
        declared = dict(zip(names, checkpoint.state[COUNTS].tolist(), strict=True))
    nodes = {} if NODES not in checkpoint.state else dict(json.loads(checkpoint.state[NODES].tobytes()))
    state = GlobalState(model=checkpoint.model, memory=memory, declared=declared, rule=rule, nodes=nodes)
    return state, checkpoint.round + 1


def seeded_model(task: Task, seed: int) -> torch.nn.Module:
    """The first model of a simulation; torch's generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task.model()
