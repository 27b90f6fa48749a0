"""Evaluation of the global model on held-out records, and the interval that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.events import Evaluated
from hedgerow.modes import in_mode
from hedgerow.task import Split, Task
from hedgerow.wilson import wilson

if TYPE_CHECKING:
    import torch

__all__ = ["evaluate", "evaluated"]

BATCH = 4096


def evaluate(task: Task, model: torch.nn.Module, records: Split, *, round: int) -> Evaluated:
    """The task's metrics and mean loss on held-out records, without gradients, in evaluation mode.

    No records give no metrics. Every layer is left in the mode it was in (a frozen BatchNorm stays frozen).
    """
    import torch

    if not len(records):
        return evaluated(round=round, where="server", records=0, metrics={})
    with in_mode(model, training=False), torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(records.x))
        y = torch.from_numpy(np.ascontiguousarray(records.y))
        parts = [model(x[start : start + BATCH]) for start in range(0, len(y), BATCH)]
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        metrics = {name: float(value) for name, value in task.metrics(logits, y).items()}
        metrics["loss"] = float(task.loss(logits, y).double().mean())
    return evaluated(round=round, where="server", records=len(records), metrics=metrics)


def evaluated(*, round: int, where: str, records: int, metrics: Mapping[str, float]) -> Evaluated:
    """The event for some metrics: a share (accuracy) gets its interval, other metrics do not."""
    share = metrics.get("accuracy")
    is_share = share is not None and 0 <= share <= 1 and records > 0  # a user's own "accuracy" may be a percentage
    low, high = wilson(share, records) if is_share and share is not None else (None, None)
    return Evaluated(round=round, where=where, records=records, metrics=metrics, low=low, high=high)
