"""Whether the cohort engine can train a run, or go on with one, asked before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.server.ongoing import seeded_model
from hedgerow.simulations.cohort import kernel
from hedgerow.simulations.cohort.device import kind_told
from hedgerow.simulations.cohort.trainer import CohortTrainer, goes_on_elsewhere
from hedgerow.simulations.stage import one_thread
from hedgerow.task import Site, Task
from hedgerow.update import Layout

__all__ = ["refuse_misfit"]


def refuse_misfit(
    job: Job,
    task: Task,
    sites: Sequence[Site],
    *,
    seed: int,
    workers: int | None,
    memory: int | None,
    device: str = "auto",
    told: Mapping[str, Any] | None = None,
) -> None:
    """Refuse what the engine would refuse once it is there, by making the trainer that it would make.

    How much memory is needed depends on the path, and the path on a trial, so there is no shorter way. A new run
    without limits is not tried. `told` is the event `engine-chosen` of a run that goes on, which needs the same path
    again.

    Raises:
        Misconfigured: as `CohortTrainer`; E107 if the path of `told` cannot be used here.
    """
    if told is None and workers is None and memory is None:
        return
    if told is not None and told["path"] == "kernel" and not kernel.available():
        raise Misconfigured(
            "E107",
            "the run was trained by the compiled kernel, which the extra 'fast' brings, and it is not installed here",
            hint="pip install 'hedgerow[fast]', and resume it then; other code would give other last digits",
        )
    model = seeded_model(task, seed)
    with one_thread():
        trainer = CohortTrainer(
            job,
            task,
            sorted(sites, key=lambda site: site.name),
            model=Layout.of(model).flatten(model),
            seed=seed,
            workers=workers,
            memory=memory,
            device=device if told is None else kind_told(told["device"]),
            path="" if told is None else told["path"],
        )
        with contextlib.closing(trainer):
            if told is not None:
                goes_on_elsewhere(told, trainer.chosen)
