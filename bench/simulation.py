"""The in-process engine beside Flower's Ray simulation: the same app, the same result, in one run.

    python bench/simulation.py                 # 10 sites x 20 rounds and 100 sites x 50 rounds, about five minutes
    python bench/simulation.py --part overhead # a message without training, and memory over rounds; no Ray needed

The app is a plain Flower app: digits, Dirichlet 0.5, an MLP 64-128-10, one local epoch of SGD with batches of 32,
Flower's own FedAvg, everyone every round, evaluation at the server after every round.
"""

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from hedgerow.flowercompat import quiet_flower
from hedgerow.job import Aggregate, Job, Privacy, Secure
from hedgerow.scenario import Scenario
from hedgerow.simulations import run_simulation, simulate, split
from hedgerow.task import Site
from hedgerow.tasks import digits


def flower_app(sites: int, rounds: int) -> tuple[ServerApp, ClientApp, Callable[[], float]]:
    """A Flower app as its quickstart writes it, and how to read the final accuracy."""
    client, server = ClientApp(), ServerApp()
    accuracy: list[float] = []
    task = split(digits(), Scenario(sites=sites))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        index = int(context.node_config["partition-id"])
        data = task.data(Site(name=str(index), index=index, count=int(context.node_config["num-partitions"]))).train
        model = task.model()
        model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        number = message.content.config_records["config"]["server-round"]
        order = np.random.default_rng([index, int(str(number))]).permutation(len(data))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                model(torch.from_numpy(data.x[rows])), torch.from_numpy(data.y[rows])
            )
            torch.autograd.backward(loss)
            optimizer.step()
        arrays = ArrayRecord(model.state_dict())
        return Message(
            RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": len(data)})}), reply_to=message
        )

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        model = task.model()
        held_out = task.held_out()
        assert held_out is not None
        x, y = torch.from_numpy(held_out.x), torch.from_numpy(held_out.y)

        def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
            model.load_state_dict(arrays.to_torch_state_dict())
            with torch.no_grad():
                accuracy.append(float((model(x).argmax(dim=1) == y).float().mean()))
            return MetricRecord({"accuracy": accuracy[-1]})

        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=sites)
        strategy.start(grid, ArrayRecord(model.state_dict()), num_rounds=rounds, evaluate_fn=evaluate)

    return server, client, lambda: accuracy[-1]


def against_ray(sites: int, rounds: int) -> None:
    from flwr.simulation import run_simulation as run_on_flower

    def here() -> tuple[float, float]:
        server, client, accuracy = flower_app(sites, rounds)
        start = time.perf_counter()
        run_simulation(server, client, sites)
        return time.perf_counter() - start, accuracy()

    def ray() -> tuple[float, float]:
        server, client, accuracy = flower_app(sites, rounds)
        start = time.perf_counter()
        run_on_flower(
            server,
            client,
            sites,
            backend_config={
                "init_args": {"address": "local", "log_to_driver": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
        return time.perf_counter() - start, accuracy()

    def ours() -> tuple[float, float]:
        job = _job(rounds, momentum=0.9)
        start = time.perf_counter()
        run = simulate(job, digits(), scenario=Scenario(sites=sites), runs=tempfile.mkdtemp())
        return time.perf_counter() - start, run.final["accuracy"]

    here()  # warm: imports and scikit-learn's file are no part of either side
    (quick, a), (slow, b), (whole, c) = here(), ray(), ours()
    print(f"{sites} sites x {rounds} rounds")
    print(f"  Flower app on Ray (Flower 1.41)   {slow:8.2f} s   accuracy {b:.4f}")
    print(f"  the same app in-process           {quick:8.2f} s   accuracy {a:.4f}   {slow / quick:6.1f} x faster")
    print(f"  a Hedgerow job, whole run         {whole:8.2f} s   accuracy {c:.4f}   {slow / whole:6.1f} x faster")


def _job(rounds: int, *, momentum: float = 0.0) -> Job:
    return Job.from_flat(
        {
            "rounds": rounds,
            "local.batch": 32,
            "local.momentum": momentum,
            "privacy.unit": "none",
            "secure.mode": "off",
            "aggregate.rule": "mean",
            "aggregate.before": "none",
            "aggregate.byzantine": 0,
        }
    )


def overhead() -> None:
    """A message with 10,000 float32 parameters and no training: there and back, and the memory that rounds leave."""
    client, server = ClientApp(), ServerApp()
    seconds: list[float] = []
    resident: list[int] = []
    sites, rounds = 1000, 10

    @client.train()
    def echo(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 1})
        return Message(
            RecordDict({"arrays": message.content.array_records["arrays"], "metrics": metrics}), reply_to=message
        )

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        arrays = ArrayRecord([np.zeros(10_000, np.float32)])
        for number in range(rounds):
            content = RecordDict({"arrays": arrays})
            messages = [Message(content, node, "train", group_id=str(number)) for node in grid.get_node_ids()]
            start = time.perf_counter()
            replies = list(grid.send_and_receive(messages))
            seconds.append(time.perf_counter() - start)
            assert len(replies) == sites
            for reply in replies:
                reply.content.array_records["arrays"]["0"].numpy()
            del replies
            resident.append(_resident())

    run_simulation(server, client, sites)
    print(f"{sites} sites x {rounds} rounds, 10,000 parameters, no training")
    best, usual = 1e3 * min(seconds) / sites, 1e3 * float(np.median(seconds)) / sites
    print(f"  a message there and back          {best:8.3f} ms (best round), {usual:.3f} ms (median)")
    print(f"  resident memory after each round  {' '.join(f'{value / 1024:.0f}' for value in resident)} MB")

    job = Job(rounds=rounds, privacy=Privacy(unit="none"), secure=Secure(mode="off"), aggregate=Aggregate(byzantine=1))
    resident.clear()

    def watch(event: object) -> None:
        if isinstance(event, dict) and event["event"] == "round-closed":
            resident.append(_resident())

    start = time.perf_counter()
    simulate(job, digits(), scenario=Scenario(sites=sites, split="iid"), runs=tempfile.mkdtemp(), listeners=[watch])
    print(f"a Hedgerow job of {sites} sites x {rounds} rounds: {time.perf_counter() - start:.1f} s in all")
    print(f"  resident memory after each round  {' '.join(f'{value / 1024:.0f}' for value in resident)} MB")


def _resident() -> int:
    """Resident memory now, in KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["ray", "overhead", "all"], default="all")
    part = parser.parse_args().part
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with quiet_flower(40):
        if part in ("overhead", "all"):
            overhead()
        if part in ("ray", "all"):
            against_ray(10, 20)
            against_ray(100, 50)


if __name__ == "__main__":
    main()
