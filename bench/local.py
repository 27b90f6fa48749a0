"""How long a real Flower federation on one machine takes: to start, to reach its first round, and per round.

Run: python bench/local.py [APP] [--sites 2 3 5] [--rounds 5]    (about a minute per line on two cores)
     python bench/local.py --job [--sites 2 3 5] [--rounds 5]    (a Hedgerow job, beside the in-process engine)

Without APP a tiny app is used (the plain mean of four numbers), so that what is measured is Flower's own machinery:
a SuperLink with TLS, node authentication and SQLite, and per site a stock SuperNode that starts a process for each
message. With --job it is `hedgerow local` on a new project: digits and record-level privacy. "First round" includes
waiting until the SuperNodes next ask for work (they ask every three seconds). Times are wall-clock seconds. For an APP
they are taken from the arrival of its log lines (half a second coarse); the tiny app takes its own.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hedgerow.new import create_project
from hedgerow.project import Project
from hedgerow.simulations import simulate
from hedgerow.simulations.local import LocalOutcome, run_local

PROJECT = """
[project]
name = "tiny"
version = "1.0.0"

[tool.flwr.app]
publisher = "hedgerow"

[tool.flwr.app.components]
serverapp = "tiny.app:server"
clientapp = "tiny.app:client"

[tool.flwr.app.config]
rounds = 3
sites = 2
"""

APP = """
import json
import time

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()
def train(message, context):
    model = message.content["arrays"].to_numpy_ndarrays()[0]
    content = RecordDict({"arrays": ArrayRecord([model + 1]), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content, reply_to=message)


@server.main()
def main(grid, context):
    config, times = context.run_config, []
    sites = int(config["sites"])
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
    strategy.start(
        grid,
        ArrayRecord([np.zeros(4)]),
        num_rounds=int(config["rounds"]),
        evaluate_fn=lambda number, arrays: times.append(time.time()),
    )
    print("TIMES", json.dumps(times), flush=True)
"""

ROUND = re.compile(r"\[ROUND \d+/\d+\]")
HEAD = ("sites", "to ready", "to round 1", "first round", "per round", "all")


def measure(app: Path | None, sites: int, rounds: int) -> tuple[LocalOutcome, float, list[float]]:
    """One federation: its outcome, when it was started, and when each round began (the last: when all had ended)."""
    lines: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.time()
        outcome = run_local(
            app or tiny_app(folder / "app"),
            folder=folder / "run",
            sites=sites,
            run_config={"rounds": rounds, "sites": sites} if app is None else {"rounds": rounds},
            site_names=[f"site {site}" for site in range(sites)],
            node_config=lambda site: {"partition-id": site, "num-partitions": sites},
            on_line=lambda line: lines.append((time.time(), line)),
        )
    own = [json.loads(line.removeprefix("TIMES ")) for _, line in lines if line.startswith("TIMES ")]
    begun = [at for at, line in lines if ROUND.search(line)]
    ended = [at for at, line in lines if "Strategy execution finished" in line]
    return outcome, start, own[0] if own else begun + ended


def job_times(engine: str, project: Path, sites: int, rounds: int) -> tuple[float, float, str]:
    """Seconds to the first round's start, seconds per later round (median), and the model's hash."""
    found = Project.open(project)
    task = found.task()
    assert task is not None
    run = simulate(
        found.job({"rounds": rounds, "cohort.quorum": sites, "aggregate.byzantine": 0, "aggregate.rule": "mean"}),
        task,
        scenario=found.scenario({"sites": sites}),
        engine=engine,
        runs=project.parent / "runs",
        project=str(project),
    )
    started = run.events("run-started")[0]["time"]
    begun = [event["time"] for event in run.events("round-started")]
    closed = [event["time"] for event in run.events("round-closed")]
    later = [after - before for before, after in zip(closed, closed[1:], strict=False)]
    return begun[0] - started, statistics.median(later), run.model_sha256


def compare_jobs(sites: Sequence[int], rounds: int) -> None:
    print(f"a Hedgerow job, {rounds} rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start\n")
    print("".join(f"{name:>16}" for name in ("sites", "to round 1", "local / round", "here / round", "same model")))
    with tempfile.TemporaryDirectory() as name:
        project = create_project(Path(name) / "digits").folder
        for count in sites:
            to_first, local, there = job_times("local", project, count, rounds)
            _, here, model = job_times("in-process", project, count, rounds)
            print(
                f"{count:>16}{to_first:>14.1f} s{local:>14.2f} s{here:>14.3f} s{'yes' if there == model else 'NO':>16}"
            )


def tiny_app(folder: Path) -> Path:
    (folder / "tiny").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "tiny" / "__init__.py").touch()
    (folder / "tiny" / "app.py").write_text(APP, encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds that a real Flower federation on this machine takes.")
    parser.add_argument("app", type=Path, nargs="?", help="a Flower app folder whose configuration has `rounds`")
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--job", action="store_true", help="a Hedgerow job instead, beside the in-process engine")
    options = parser.parse_args()
    if options.job:
        compare_jobs(options.sites, options.rounds)
        return
    print(f"{options.rounds} rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start\n")
    print("".join(f"{name:>13}" for name in HEAD))
    for sites in options.sites:
        outcome, start, times = measure(options.app, sites, options.rounds)
        if outcome.status != "finished" or len(times) < 2:
            print(f"{sites:>13}  {outcome.status}: {outcome.details or 'its log names no rounds'}")
            continue
        rounds = [after - before for before, after in zip(times, times[1:], strict=False)]
        later = statistics.median(rounds[1:]) if rounds[1:] else float("nan")
        to_first = times[0] - start - outcome.seconds_to_ready
        values = (outcome.seconds_to_ready, to_first, rounds[0], later, outcome.seconds_total)
        print(f"{sites:>13}" + "".join(f"{value:>13.1f}" for value in values))


if __name__ == "__main__":
    main()
