"""Local training without differential privacy: shuffled epochs of mini-batches, FedAvg's and FedProx's client step.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, Algorithm 1;
Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, Algorithm 2 (`proximal` is its μ).
The private step is `hedgerow.privacy.private_steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from hedgerow.job import Local
from hedgerow.privacy import Randomness, torch_seeded

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


def local_epochs(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    settings: Local,
    loss: Loss,
    randomness: Randomness,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Train `model` in place on (n, …) records; the last batch of an epoch may be smaller.

    An `optimizer` of this model from an earlier round is emptied and used again: building one takes as long as several
    steps of a small model. Dropout draws from `randomness`, and torch's own generator is left as it was.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    anchors = [parameter.detach().clone() for parameter in parameters] if settings.proximal else []
    if optimizer is None:
        optimizer = make_optimizer(settings)(parameters)
    optimizer.state.clear()
    was_training = model.training
    model.train()
    try:
        with torch_seeded(randomness):
            for _ in range(settings.epochs):
                order = torch.from_numpy(randomness.shuffled(len(y)))
                for rows in torch.split(order, settings.batch):
                    for parameter in parameters:
                        parameter.grad = None
                    torch.autograd.backward(loss(model(x[rows]), y[rows]).mean())
                    for parameter, anchor in zip(parameters, anchors, strict=False):
                        if parameter.grad is not None:
                            parameter.grad.add_(parameter.detach() - anchor, alpha=settings.proximal)
                    optimizer.step()
    finally:
        model.train(was_training)
