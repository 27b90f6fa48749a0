"""The same call against Flower's real commands: a SuperLink with TLS and node authentication, and two sites.

This is also the contract test of what `flower.py` believes about Flower 1.41: words of commands, lines in logs.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hedgerow.simulations.local import run_local
from hedgerow.simulations.local.processes import Processes, marked_processes

APP = """
import os

import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()
def train(message, context):
    model = message.content["arrays"].to_numpy_ndarrays()[0]
    step = np.full_like(model, float(context.node_config["step"]))
    content = RecordDict({"arrays": ArrayRecord([model + step]), "metrics": MetricRecord({"num-examples": 10})})
    return Message(content, reply_to=message)


@server.main()
def main(grid, context):
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=2, min_available_nodes=2)
    rounds = int(context.run_config["rounds"])
    result = strategy.start(grid, ArrayRecord([np.zeros(3)]), num_rounds=rounds)
    print("RESULT", result.arrays.to_numpy_ndarrays()[0].tolist(), flush=True)
    print("CONFIG", context.run_config["note"], context.run_config["local.lr"], os.environ["HEDGEROW_TEST"], flush=True)
"""


@pytest.mark.live
def test_two_sites_one_of_them_hostile_train_on_real_servers_and_nothing_is_left(
    app: Path, tmp_path: Path, running: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = app / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(
        text.replace('"tiny:', '"tiny.app:').replace("rounds = 2", 'rounds = 1\nnote = ""'), encoding="utf-8"
    )
    (app / "tiny").mkdir()
    (app / "tiny" / "__init__.py").touch()
    (app / "tiny" / "app.py").write_text(APP, encoding="utf-8")
    seen: set[int] = set()
    marks: list[str] = []
    enter = Processes.__enter__

    def remember(processes: Processes) -> Processes:
        marks.append(processes.mark)
        return enter(processes)

    monkeypatch.setattr(Processes, "__enter__", remember)

    def on_line(line: str) -> None:
        lines.append(line)
        seen.update(marked_processes(marks[0]))

    lines: list[str] = []
    outcome = run_local(
        app,
        folder=tmp_path / "run",
        sites=2,
        run_config={"rounds": 2, "note": 'it\'s "quoted" = x', "local.lr": 0.5},
        declare=("local.lr",),
        site_names=("north", "süd 'B'"),
        node_config=lambda site: {"partition-id": site, "step": 1.0},
        hostile={1: "sign-flip:4.0"},
        environment={"HEDGEROW_TEST": "inherited"},
        timeout=240,
        on_line=on_line,
    )
    assert outcome.status == "finished" and outcome.run_id is not None, outcome
    # Honest +1, hostile −4, two rounds of the plain mean: 2 · (1 − 4) / 2.
    assert "RESULT [-3.0, -3.0, -3.0]" in lines
    assert 'CONFIG it\'s "quoted" = x 0.5 inherited' in lines
    assert len(seen) >= 7  # SuperLink, two SuperNodes, a SuperExec for each, the ServerApp, the command line
    assert not [pid for pid in seen if running(pid)] and not marked_processes(marks[0])
    assert not (tmp_path / "run" / "flower").exists()
    logs = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "run" / "logs").iterdir())
    assert "PRIVATE KEY" not in logs and not re.search(r"uv sync took", logs)
