"""Federated averaging in plain PyTorch: one module, trained at one site after another, no framework."""

from collections.abc import Callable, Sequence

import torch
from bench.peers.workload import Workload

__all__ = ["federated_average"]


def federated_average(
    work: Workload,
    model: torch.nn.Module,
    train: Callable[[torch.Tensor, torch.Tensor], None],
    *,
    weights: Sequence[float],
) -> float:
    """The accuracy after all rounds. `train` trains `model` in place on a site's records; `weights` are the sites'."""
    parameters = list(model.parameters())
    shares = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in work.shares]
    test_x, test_y = torch.from_numpy(work.test_x), torch.from_numpy(work.test_y)
    start = [parameter.detach().clone() for parameter in parameters]
    accuracy = 0.0
    for _ in range(work.rounds):
        total = [torch.zeros_like(value) for value in start]
        for (x, y), weight in zip(shares, weights, strict=True):
            _set(parameters, start)
            train(x, y)
            for sum_, parameter in zip(total, parameters, strict=True):
                sum_.add_(parameter.detach(), alpha=weight)
        start = total
        _set(parameters, start)
        with torch.no_grad():
            accuracy = float((model(test_x).argmax(dim=1) == test_y).float().mean())
    return accuracy


def _set(parameters: Sequence[torch.nn.Parameter], values: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
