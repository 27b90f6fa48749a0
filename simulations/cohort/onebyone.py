"""One client after another, with the code that runs at a real site: the slow form of a round, which is always right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hedgerow.job import Local
from hedgerow.privacy import Randomness, RecordPlan, private_steps
from hedgerow.training import local_epochs, make_optimizer
from hedgerow.update import Layout, Vector

__all__ = ["train_alone"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def train_alone(
    module: nn.Module,
    layout: Layout,
    model: Vector,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    settings: Local,
    loss: Loss,
    randomness: Randomness,
    plan: RecordPlan | None = None,
) -> Vector:
    """A client's update (d,), from the model (d,) and its records (n, …). `module` is written on and holds nothing."""
    layout.load(model, module)
    if plan is None:
        local_epochs(module, x, y, settings=settings, loss=loss, randomness=randomness)
    else:
        private_steps(
            module,
            x,
            y,
            plan=plan,
            loss=loss,
            make_optimizer=make_optimizer(settings),
            randomness=randomness,
            proximal=settings.proximal,
        )
    return layout.flatten(module) - model
