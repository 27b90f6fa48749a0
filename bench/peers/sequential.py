"""Federated averaging as short as PyTorch allows: one module and one optimiser, site after site, no framework."""

from collections.abc import Mapping

import torch
from bench.peers.workload import LAYERS, LR, MOMENTUM, Workload, peer_arguments, timed
from torch.nn.functional import cross_entropy


def run(work: Workload) -> tuple[float, Mapping[str, float]]:
    torch.manual_seed(0)
    inputs, hidden, outputs = LAYERS
    model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs))
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM)
    shares = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in work.shares]
    test_x, test_y = torch.from_numpy(work.test_x), torch.from_numpy(work.test_y)
    start = [parameter.detach().clone() for parameter in parameters]
    accuracy = 0.0
    for _ in range(work.rounds):
        total = [torch.zeros_like(parameter) for parameter in start]
        for x, y in shares:
            with torch.no_grad():
                for parameter, value in zip(parameters, start, strict=True):
                    parameter.copy_(value)
            optimizer.state.clear()
            for rows in torch.split(torch.randperm(len(y)), work.batch):
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(model(x[rows]), y[rows]))
                optimizer.step()
            for sum_, parameter in zip(total, parameters, strict=True):
                sum_.add_(parameter.detach(), alpha=len(y) / len(work.y))
        start = total
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
            accuracy = float((model(test_x).argmax(dim=1) == test_y).float().mean())
    return accuracy, {}


if __name__ == "__main__":
    timed(run, peer_arguments(__doc__).parse_args())
