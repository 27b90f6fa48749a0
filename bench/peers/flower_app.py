"""The job as a Flower app, written as Flower's quickstart writes one: any Flower engine can run it."""

from collections.abc import Callable

import torch
from bench.peers.workload import LAYERS, LR, MOMENTUM, Workload
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch.nn.functional import cross_entropy

__all__ = ["flower_app"]


def flower_app(path: str, rounds: int) -> tuple[ServerApp, ClientApp, Callable[[], float]]:
    """Both apps, and how to read the final accuracy. A worker reads the records from the file, once."""
    client, server = ClientApp(), ServerApp()
    accuracy = [0.0]

    @client.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        work = Workload.load(path)
        x, y = (torch.from_numpy(part) for part in work.shares[int(context.node_config["partition-id"])])
        model = network()
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
        for rows in torch.split(torch.randperm(len(y)), work.batch):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(x[rows]), y[rows]))
            optimizer.step()
        arrays, metrics = ArrayRecord(model.state_dict()), MetricRecord({"num-examples": len(y)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        work, model = Workload.load(path), network()
        x, y = torch.from_numpy(work.test_x), torch.from_numpy(work.test_y)

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
            model.load_state_dict(arrays.to_torch_state_dict())
            with torch.no_grad():
                accuracy[0] = float((model(x).argmax(dim=1) == y).float().mean())
            return MetricRecord({"accuracy": accuracy[0]})

        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=work.sites, min_available_nodes=work.sites)
        strategy.start(grid, ArrayRecord(model.state_dict()), num_rounds=rounds, evaluate_fn=evaluate)

    return server, client, lambda: accuracy[0]


def network() -> torch.nn.Module:
    """The model under the names that `hedgerow.tasks.mlp` gives its parameters."""
    inputs, hidden, outputs = LAYERS
    layers = [torch.nn.Flatten(), torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs)]
    return torch.nn.Sequential(*layers)
