"""What follows a simulated run's rounds: the membership attack on the final model, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from hedgerow.eventlog import EventLog
from hedgerow.events import GateChecked, LeakageMeasured, LeakageStarted
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.task import Site, Task

if TYPE_CHECKING:
    from hedgerow.privacy.leakage import Membership

__all__ = ["measure_leakage", "tell_leakage"]

LEAKAGE_STREAM = 6  # the evaluator's part of a simulation's seed


def measure_leakage(
    folder: RunFolder, task: Task, scenario: Scenario, sites: Sequence[Site], log: EventLog
) -> Sequence[Membership]:
    """Attack the final model, all sites together and one by one; `tell_leakage` says what it found.

    Only a simulation can: it holds everyone's records. A model that is not finite tells nobody's records apart, so
    nothing is measured.
    """
    from hedgerow.privacy.leakage import loss_threshold

    held_out = task.held_out()
    latest = folder.latest()
    if held_out is None or not len(held_out) or latest is None or not np.isfinite(latest[1].model).all():
        return ()
    layout, checkpoint = latest
    model = task.model()
    layout.load(checkpoint.model, model)
    shares = {site.name: task.data(site).train for site in sites}
    log.append(LeakageStarted(sites=len(shares), records=sum(map(len, shares.values()))))
    return loss_threshold(
        model,
        {name: (torch.from_numpy(share.x), torch.from_numpy(share.y)) for name, share in shares.items()},
        (torch.from_numpy(held_out.x), torch.from_numpy(held_out.y)),
        loss=task.loss,
        rng=np.random.default_rng(np.random.SeedSequence(scenario.seed, spawn_key=(LEAKAGE_STREAM,))),
    )


def tell_leakage(folder: RunFolder, results: Sequence[Membership], log: EventLog) -> None:
    """Tell what the attacks found, and judge the gate by the result over all sites; without one it fails."""
    from hedgerow.privacy.leakage import Gate

    log.append_all(LeakageMeasured(result=result.to_dict()) for result in results)
    if folder.job.leakage.gate:
        outcome = Gate.parse(folder.job.leakage.gate).check(results[:1])
        log.append(GateChecked(gate=folder.job.leakage.gate, passed=outcome.passed, text=outcome.text))
