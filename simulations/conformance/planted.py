"""By how much one record moves a step, however large its gradient: the same step with it and without it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.job import Job
from hedgerow.privacy import Randomness, SimulatedRandomness
from hedgerow.simulations.conformance.siterounds import fresh_model, site_steps
from hedgerow.task import Split, Task

__all__ = ["record_lengths"]

PLANTED = (1.0, 1e6, float("inf"))  # by what a record's loss is multiplied
ROUNDING = 2.0**-23  # of each sum's length: it is rounded to float32 once


def record_lengths(job: Job, task: Task, records: Split, *, tries: int) -> NDArray[np.float64]:
    """The lengths by which single records moved a step's sum, (3 · tries,), less what rounding explains.

    Both steps draw the same batch and the same noise from a seeded generator. The record's loss is as it is, a million
    times as large, and infinite.
    """
    model = fresh_model(task)

    def seeded(number: int) -> Randomness:
        return SimulatedRandomness(number, 1)

    def step(number: int, weights: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        run = site_steps(job, task, records, randomness=seeded, rounds=[number], model=model, weights=weights, steps=1)
        return run.sums[0], run.batches[0]

    lengths: list[float] = []
    number = 0
    while len(lengths) < len(PLANTED) * tries and number < 20 * tries:
        number += 1
        batch = step(number, torch.ones(len(records)))[1]
        if not len(batch):
            continue
        chosen = int(batch[number % len(batch)])
        without = torch.ones(len(records))
        without[chosen] = 0.0
        least, _ = step(number, without)
        for factor in PLANTED:
            weights = torch.ones(len(records))
            weights[chosen] = factor
            most, _ = step(number, weights)
            slack = ROUNDING * float(np.linalg.norm(most) + np.linalg.norm(least))
            length = float(np.linalg.norm(most - least))
            lengths.append(length - min(length, slack))
    return np.array(lengths)
