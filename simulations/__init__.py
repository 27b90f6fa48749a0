"""Federations on one machine: jobs with simulated sites and what they meet, sweeps, red teams, and any Flower app."""

import importlib
from typing import TYPE_CHECKING

from hedgerow.simulations.partition import partition
from hedgerow.simulations.splittask import split

if TYPE_CHECKING:
    from hedgerow.simulations.cohort.grid import CohortGrid as CohortGrid
    from hedgerow.simulations.cohort.trainer import CohortTrainer as CohortTrainer
    from hedgerow.simulations.cohort.trainer import train_cohort as train_cohort
    from hedgerow.simulations.engine import resume as resume
    from hedgerow.simulations.engine import simulate as simulate
    from hedgerow.simulations.localgrid import LocalGrid as LocalGrid
    from hedgerow.simulations.localgrid import LocalNode as LocalNode
    from hedgerow.simulations.localgrid import run_simulation as run_simulation
    from hedgerow.simulations.redteam import attack as attack
    from hedgerow.simulations.sweeps import sweep as sweep

_HOMES = {
    "CohortGrid": "cohort.grid",
    "CohortTrainer": "cohort.trainer",
    "LocalGrid": "localgrid",
    "LocalNode": "localgrid",
    "attack": "redteam",
    "resume": "engine",
    "run_simulation": "localgrid",
    "simulate": "engine",
    "sweep": "sweeps",
    "train_cohort": "cohort.trainer",
}

__all__ = [
    "CohortGrid",
    "CohortTrainer",
    "LocalGrid",
    "LocalNode",
    "attack",
    "partition",
    "resume",
    "run_simulation",
    "simulate",
    "split",
    "sweep",
    "train_cohort",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
