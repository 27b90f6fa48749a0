"""The coordinator's ServerApp: prepared or made run folders, checkpoints before release, and going on from one."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from hedgerow.client import client_app
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.eventlog import EventLog, read_events
from hedgerow.flowercompat import quiet_flower
from hedgerow.job import Job
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.server import HedgerowServerApp, server_app
from hedgerow.server.framing import switched_off
from hedgerow.server.ongoing import OngoingRun
from hedgerow.simulations.localgrid import LocalNode, run_in_process
from hedgerow.task import Data, Site, Split, Task

MakeJob = Callable[..., Job]


class Line(Task):
    """Two labels along a line; the server holds some records out."""

    name = "line"
    labels = ("left", "right")

    def __init__(self, width: int = 3) -> None:
        self.width = width

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(1, self.width), torch.nn.Tanh(), torch.nn.Linear(self.width, 2))

    def data(self, site: Site) -> Data:
        x = np.random.default_rng(site.index).standard_normal((30, 1)).astype(np.float32)
        everything = Split(x, (x[:, 0] > 0).astype(np.int64))
        return Data(everything, everything.take(np.arange(0)))

    def held_out(self) -> Split:
        return self.data(Site(name="server", index=99, count=100)).train


def run(
    task: Task,
    job: Job,
    *,
    folder: RunFolder | None = None,
    app: Callable[[Message, Context], Message] | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    nodes = [
        LocalNode(node_id=n + 1, config={"partition-id": n, "num-partitions": 3, "simulation-seed": 5})
        for n in range(3)
    ]
    settings = dict(job.flat() if config is None else config)
    with quiet_flower():
        run_in_process(server_app(task, folder=folder), app or client_app(task), nodes, run_config=settings)


def prepared(tmp_path: Path, job: Job, name: str = "run") -> RunFolder:
    return RunFolder.create(
        tmp_path, job=job, scenario=Scenario(sites=3, seed=5), engine="in-process", task="line", name=name
    )


def test_an_app_knows_its_task() -> None:
    task = Line()
    app = server_app(task)
    assert isinstance(app, HedgerowServerApp) and app.task is task


def test_a_prepared_folder_gets_checkpoints_and_events(tmp_path: Path, job: MakeJob) -> None:
    agreed = job(evaluate="server")
    folder = prepared(tmp_path, agreed)
    run(Line(), agreed, folder=folder)
    assert list(folder.rounds()) == [0, 1, 2, 3] and len(set(folder.rounds().values())) == 4
    events = list(read_events(folder.events))
    closed = [event for event in events if event["event"] == "round-closed"]
    assert [event["model_sha256"] for event in closed] == list(folder.rounds().values())[1:]
    assert [event["round"] for event in events if event["event"] == "evaluated"] == [0, 1, 2, 3]


def test_the_same_seed_gives_the_same_models(tmp_path: Path, job: MakeJob) -> None:
    agreed = job()
    folders = [prepared(tmp_path, agreed, name) for name in ("a", "b")]
    for folder in folders:
        run(Line(), agreed, folder=folder)
    assert folders[0].rounds() == folders[1].rounds()


@pytest.mark.parametrize("optimizer", ["avg", "yogi"])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(tmp_path: Path, job: MakeJob, optimizer: str) -> None:
    agreed = job(rounds=4, server__optimizer=optimizer, aggregate__weights="examples")
    whole, cut = prepared(tmp_path, agreed, "whole"), prepared(tmp_path, agreed, "cut")
    run(Line(), agreed, folder=whole)
    honest = client_app(Line())
    asked: list[int] = []

    def stopping(message: Message, context: Context) -> Message:
        asked.append(int(message.content.config_records["config"]["server-round"]))  # type: ignore[arg-type]
        if asked[-1] == 3:
            raise KeyboardInterrupt
        return honest(message, context)

    with pytest.raises(KeyboardInterrupt):
        run(Line(), agreed, folder=cut, app=stopping)
    assert list(cut.rounds()) == [0, 1, 2]
    run(Line(), agreed, folder=cut)
    assert cut.rounds() == whole.rounds()
    latest = cut.latest()
    assert latest is not None
    assert json.loads(latest[1].state["declared.sites"].tobytes()) == ["site-01", "site-02", "site-03"]
    assert latest[1].state["declared.counts"].tolist() == [30, 30, 30]
    assert "nodes" not in latest[1].state  # nobody in a simulation takes another's name


def test_a_finished_run_asks_nobody_again(tmp_path: Path, job: MakeJob) -> None:
    agreed = job()
    folder = prepared(tmp_path, agreed)
    run(Line(), agreed, folder=folder)
    before = folder.rounds()

    def nobody(message: Message, context: Context) -> Message:
        raise AssertionError("asked after the end")

    run(Line(), agreed, folder=folder, app=nobody)
    assert folder.rounds() == before


def test_another_model_cannot_go_on_from_a_checkpoint(tmp_path: Path, job: MakeJob) -> None:
    agreed = job()
    folder = prepared(tmp_path, agreed)
    run(Line(), agreed, folder=folder)
    with pytest.raises(Misconfigured) as caught:
        run(Line(width=4), agreed, folder=folder)
    assert caught.value.code == "E113"


def test_the_folder_may_come_from_the_environment(
    tmp_path: Path, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = job()
    folder = prepared(tmp_path, agreed)
    monkeypatch.setenv("HEDGEROW_RUN", str(folder.path))
    run(Line(), agreed)
    assert len(folder.rounds()) == 4


def test_under_flower_alone_the_job_is_the_run_configuration_and_a_folder_is_made(
    tmp_path: Path, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEDGEROW_RUN", raising=False)
    monkeypatch.setenv("HEDGEROW_RUNS", str(tmp_path / "runs"))
    agreed = job(evaluate="server")
    run(Line(), agreed)
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder.open(path)
    assert folder.job == agreed and folder.scenario is None and len(folder.rounds()) == 4
    events = list(read_events(folder.events))
    assert (events[0]["event"], events[-1]["event"]) == ("run-started", "run-finished")
    assert events[-1]["status"] == "finished" and events[-1]["model_sha256"] == folder.rounds()[3]
    assert (path / "report.html").exists()


def test_under_flower_alone_a_run_that_stopped_goes_on_where_the_environment_says(
    tmp_path: Path, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEDGEROW_RUN", raising=False)
    monkeypatch.setenv("HEDGEROW_RUNS", str(tmp_path / "runs"))
    whole = job(evaluate="server")
    run(Line(), whole)
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder.open(path)
    models = folder.rounds()
    lines = (path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (path / "manifest.jsonl").write_bytes(b"".join(lines[:3]))  # as if it had stopped after the first of three rounds
    monkeypatch.setenv("HEDGEROW_RUN", str(path))
    run(Line(), whole)
    assert [folder.rounds()[number] for number in (0, 1)] == [models[number] for number in (0, 1)]
    assert len(folder.rounds()) == 4
    events = list(read_events(folder.events))
    names = OngoingRun.begin(Line(), folder, EventLog(folder.events)).state.nodes
    assert names == {1: "site-01", 2: "site-02", 3: "site-03"}
    assert [event["event"] for event in events].count("run-resumed") == 1
    assert events[-1]["status"] == "finished" and events[-1]["rounds"] == 3
    with pytest.raises(Misconfigured, match="E113"):
        run(Line(), whole.override({"local.lr": 0.7}))


def test_a_run_that_fails_says_so_in_its_last_event(
    tmp_path: Path, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEDGEROW_RUNS", str(tmp_path / "runs"))
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise ValueError("secret patient 42")

    with pytest.raises(Exhausted):
        run(Line(), job(), app=app)
    (path,) = (tmp_path / "runs").iterdir()
    last = list(read_events(path / "events.jsonl"))[-1]
    assert (last["event"], last["status"], last["code"]) == ("run-finished", "failed", "E501")
    assert "secret" not in (path / "events.jsonl").read_text() + (path / "report.html").read_text()


def test_a_run_configuration_without_a_stated_protection_is_refused(
    tmp_path: Path, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEDGEROW_RUNS", str(tmp_path / "runs"))
    settings = {key: value for key, value in job().flat().items() if key != "privacy.unit"}
    with pytest.raises(Misconfigured) as caught:
        run(Line(), job(), config=settings)
    assert caught.value.code == "E104" and not (tmp_path / "runs").exists()


def test_what_is_switched_off_is_said_in_words(job: MakeJob) -> None:
    words = " ".join(switched_off(job()))
    assert "Secure sums are off" in words and "Differential privacy is off" in words and "plain mean" in words
    private = job(
        privacy__unit="record",
        privacy__epsilon=1.0,
        privacy__delta=1e-5,
        aggregate__rule="median",
        aggregate__byzantine=0,
    )
    words = " ".join(switched_off(private))
    assert "Differential privacy" not in words and "No hostile site is expected" in words


def test_sites_are_asked_to_train_and_for_nothing_else(tmp_path: Path, job: MakeJob) -> None:
    """Unless the job says evaluate = "sites"."""
    agreed = job()
    folder = prepared(tmp_path, agreed)
    kinds: list[str] = []
    honest = client_app(Line())

    def watching(message: Message, context: Context) -> Message:
        kinds.append(message.metadata.message_type)
        return honest(message, context)

    run(Line(), agreed, folder=folder, app=watching)
    assert set(kinds) == {"train"}
