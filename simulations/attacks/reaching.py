"""What a simulation gives an adversary, and what it refuses before a run begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hedgerow.aggregation import aggregate, make_rule
from hedgerow.job import Job
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.simulations.attacks.adversary import Adversary
from hedgerow.simulations.attacks.attack import attackers_of
from hedgerow.simulations.attacks.hostile_client import refuse_collusion
from hedgerow.simulations.attacks.poisoned import Poisoner
from hedgerow.simulations.attacks.scene import Rows, Vector
from hedgerow.simulations.attacks.watched import WatchedTask
from hedgerow.task import Task

__all__ = ["adversary_of", "model_before", "refuse_impossible", "server_rule", "watched"]


def server_rule(job: Job) -> Callable[[Rows], Vector]:
    """The job's own rule and the steps before it, as attackers that know them run them.

    All rows have the same say, a rule with a memory starts anew each time, and one that draws has the same luck. What
    the server alone has (FLTrust's own update) they lack: such a rule refuses them.

    Raises:
        HedgerowError: from the rule, where it refuses the rows.
    """
    rule = make_rule(job.aggregate.rule, byzantine=job.aggregate.byzantine, before=job.aggregate.before)

    def run(rows: Rows) -> Vector:
        names = [f"row-{place}" for place in range(len(rows))]
        vector: Vector = aggregate(rows, rule, sites=names, rng=np.random.default_rng(0)).vector
        return vector

    return run


def adversary_of(job: Job, scenario: Scenario) -> Adversary:
    """All hostile sites of a run.

    Raises:
        Misconfigured: as `Attack.of`.
    """
    return Adversary(attackers_of(scenario), seed=scenario.seed, rounds=job.rounds, rule=server_rule(job))


def watched(task: Task, scenario: Scenario) -> Task:
    """The task as the server evaluates it: where sites plant a backdoor, with its success beside the metrics."""
    for attacker in attackers_of(scenario).values():
        if attacker.attack.kind.success is not None:
            return WatchedTask(task, attacker, seed=scenario.seed)
    return task


def refuse_impossible(task: Task, scenario: Scenario, *, engine: str) -> None:
    """Refuse an attack that cannot run, before anything is written.

    Raises:
        Misconfigured: E103 for an unknown attack, a number out of its range or a class that the task does not have,
            E105 where the engine has real servers and the attack sees more than one site does.
    """
    for attacker in attackers_of(scenario).values():
        if engine == "local":
            refuse_collusion(attacker)
        poisoner = Poisoner(task, seed=scenario.seed)
        if poisoner.held_out is not None:  # the numbers are the same for all of them, so one record of any site tells
            one = poisoner.held_out.take(np.arange(1))
            poisoner.records(attacker, 0, one, logits=lambda x: np.zeros((len(x), 1), np.float32))
        return


def model_before(folder: RunFolder) -> Vector | None:
    """The model that the last round of a run that goes on started from; None for one that begins."""
    from safetensors.numpy import load_file

    hashes = list(folder.rounds().values())
    latest = folder.latest() if len(hashes) > 1 else None
    if latest is None:
        return None
    layout, _ = latest
    found = load_file(folder.path / "models" / f"{hashes[-2]}.safetensors")
    return layout.join({name: found[name] for name in layout.names})
