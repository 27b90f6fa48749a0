"""Sweeps: a grid of jobs, each repeated with several seeds, as one thing that can be stopped, resumed and reported."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedgerow.simulations.sweeps.batch import Step as Step
    from hedgerow.simulations.sweeps.cells import Cell as Cell
    from hedgerow.simulations.sweeps.folder import SweepFolder as SweepFolder
    from hedgerow.simulations.sweeps.result import Sweep as Sweep
    from hedgerow.simulations.sweeps.running import resume_sweep as resume_sweep
    from hedgerow.simulations.sweeps.running import sweep as sweep

_HOMES = {
    "Cell": "cells",
    "Step": "batch",
    "Sweep": "result",
    "SweepFolder": "folder",
    "resume_sweep": "running",
    "sweep": "running",
}

__all__ = ["Cell", "Step", "Sweep", "SweepFolder", "resume_sweep", "sweep"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
