"""Plain federated averaging as short as PyTorch allows: one module and one optimiser, site after site, no framework."""

from collections.abc import Mapping

import torch
from bench.peers.averaging import federated_average
from bench.peers.workload import LAYERS, LR, MOMENTUM, Workload, peer_arguments, timed
from torch.nn.functional import cross_entropy


def run(work: Workload) -> tuple[float, Mapping[str, float]]:
    torch.manual_seed(0)
    inputs, hidden, outputs = LAYERS
    model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def train(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.state.clear()
        for rows in torch.split(torch.randperm(len(y)), work.batch):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(x[rows]), y[rows]))
            optimizer.step()

    return federated_average(work, model, train, weights=(work.sizes / len(work.y)).tolist()), {}


if __name__ == "__main__":
    timed(run, peer_arguments(__doc__).parse_args())
