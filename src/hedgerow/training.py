"""Local training without differential privacy: shuffled epochs of mini-batches, FedAvg's and FedProx's client step.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, Algorithm 1;
Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, Algorithm 2 (`proximal` is its μ).
The private step is `hedgerow.privacy.private_steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch.optim.sgd import sgd

from hedgerow.job import Local
from hedgerow.modes import in_mode

if TYPE_CHECKING:
    from hedgerow.privacy import Randomness

__all__ = ["local_epochs", "make_optimizer"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_optimizer(settings: Local) -> Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]:
    """How a site builds its optimiser, anew for every round."""

    def make(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if settings.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )

    return make


def _sgd(settings: Local, parameters: Sequence[torch.nn.Parameter]) -> Callable[[], object]:
    """A step of `torch.optim.SGD`, from fresh momentum, by torch's functional form of it.

    Building the optimiser itself loads torch's compiler, a second at every start, and takes as long as several steps of
    a small model.
    """
    moments = {id(parameter): torch.zeros_like(parameter) for parameter in parameters} if settings.momentum else {}

    def step() -> None:
        moved = [parameter for parameter in parameters if parameter.grad is not None]
        buffers: list[torch.Tensor | None] = [moments.get(id(parameter)) for parameter in moved]
        sgd(
            list(moved),
            [parameter.grad for parameter in moved if parameter.grad is not None],
            buffers,
            fused=True,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            lr=settings.lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    return step


def local_epochs(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    settings: Local,
    loss: Loss,
    randomness: Randomness,
) -> None:
    """Train `model` in place on (n, …) records; the last batch of an epoch may be smaller.

    Dropout draws from `randomness`, and torch's own generator is left as it was.
    """
    from hedgerow.privacy import torch_seeded  # on use: shared words load no part

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    anchors = [parameter.detach().clone() for parameter in parameters] if settings.proximal else []
    step = _sgd(settings, parameters) if settings.optimizer == "sgd" else make_optimizer(settings)(parameters).step
    with in_mode(model, training=True), torch_seeded(randomness):
        for _ in range(settings.epochs):
            order = torch.from_numpy(randomness.shuffled(len(y)))
            for rows in torch.split(order, settings.batch):
                for parameter in parameters:
                    parameter.grad = None
                torch.autograd.backward(loss(model(x[rows]), y[rows]).mean())
                for parameter, anchor in zip(parameters, anchors, strict=False):
                    if parameter.grad is not None:
                        parameter.grad.add_(parameter.detach() - anchor, alpha=settings.proximal)
                if settings.clip:
                    torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
                step()
