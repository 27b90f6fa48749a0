"""`hedgerow sim` and `resume`: projects, other people's Flower apps, and what may go wrong with both."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hedgerow.cli.simulating import Asked, Means, run_project_locally, simulate_project
from hedgerow.errors import Misconfigured


def test_a_run_answers_with_its_model_its_metrics_and_its_spending(hedgerow: Any, project: Any) -> None:
    project()
    data = hedgerow("sim", "tiny", "--json").data
    assert {"run", "report", "rounds", "final", "model_sha256", "epsilon", "engine"} <= data.keys()
    assert (data["rounds"], data["status"], data["engine"]) == (3, "finished", "cohort")
    assert set(data["epsilon"]) == {f"site-0{n}" for n in range(1, 6)}
    assert all(0 < epsilon <= 3 for epsilon in data["epsilon"].values())
    claim = data["privacy"]
    assert (claim["unit"], claim["delta"], claim["accountant"]) == ("record", 1e-3, "rdp")
    assert "not a DP release" in claim["noise"][0] and claim["relation"] == "add or remove one record"
    assert Path(data["report"]).exists()
    assert (Path(data["folder"]) / "models" / f"{data['model_sha256']}.safetensors").exists()


def test_the_same_seed_gives_the_same_model_from_any_folder(
    hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project()
    there = hedgerow("sim", "tiny", "--json").data
    monkeypatch.chdir(folder)
    here = hedgerow("sim", "--json", "--runs", "../other").data
    assert here["model_sha256"] == there["model_sha256"]
    assert hedgerow("sim", "-s", "seed=9", "--json").data["model_sha256"] != here["model_sha256"]


def test_the_terminal_tells_the_engine_a_line_per_round_and_the_report(hedgerow: Any, project: Any) -> None:
    project()
    answer = hedgerow("sim", "tiny")
    assert answer.exit_code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].endswith(", engine cohort")
    assert sum(line.startswith("round ") for line in lines) == 3
    assert lines[-1].startswith("report: runs/")


def test_names_and_folders_in_any_script_are_fine(hedgerow: Any, project: Any) -> None:
    project("Förderung 北京", code="class Odd(Tiny):\n    name = 'größe 北京'\ntask = Odd()\n")
    data = hedgerow("sim", "Förderung 北京", "--runs", "läufe", "--json").data
    assert Path(data["report"]).exists()
    assert hedgerow("report", data["run"], "--runs", "läufe").exit_code == 0


def test_a_terminal_without_greek_letters_still_gets_its_lines(hedgerow: Any, project: Any, monkeypatch: Any) -> None:
    import io
    import sys

    project()
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", narrow)
        assert hedgerow("sim", "tiny").exit_code == 0
    assert b"round 3/3" in narrow.buffer.getvalue()


@pytest.mark.parametrize(("engine", "hint"), [("rai", "did you mean 'ray'?"), ("local", "hedgerow local")])
def test_another_engine_is_refused(hedgerow: Any, project: Any, engine: str, hint: str) -> None:
    project()
    error = hedgerow("sim", "tiny", "--engine", engine, "--json").error
    assert (error["code"], error["place"]) == ("E103", "--engine")
    assert hint in error["hint"]


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engines' two doors were asked for, before they do it."""
    from hedgerow.simulations import engine

    heard: list[dict[str, Any]] = []
    for name in ("simulate", "resume"):

        def door(*arguments: Any, _inner: Any = getattr(engine, name), **named: Any) -> Any:
            heard.append(named)
            return _inner(*arguments, **named)

        monkeypatch.setattr(engine, name, door)
    return heard


def test_the_means_reach_the_engine_and_the_command(
    hedgerow: Any, project: Any, asked_for: list[dict[str, Any]]
) -> None:
    project()
    words = ("--engine", "cohort", "--sites", "4", "--workers", "2", "--memory", "1.5GB", "--device", "cpu")
    run = hedgerow("sim", "tiny", *words, "-c", "rounds=1", "--json").data
    hedgerow("resume", run["run"], "--workers", "1", "--memory", "64MiB", "--json")
    simulated, resumed = asked_for
    found = [(named["workers"], named["memory"], named["address"]) for named in asked_for]
    assert found == [(2, 1_500_000_000, None), (1, 64 * 2**20, None)]
    assert (simulated["engine"], simulated["scenario"].sites, run["engine"]) == ("cohort", 4, "cohort")
    assert simulated["device"] == "cpu"
    assert simulated["command"] == f"hedgerow sim tiny {' '.join(words)} -c rounds=1"


def test_an_address_goes_to_ray(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project()
    heard: list[Any] = []

    def stopped(*arguments: Any, engine: str, address: str, **named: Any) -> None:
        heard.append((engine, address))
        raise KeyboardInterrupt

    monkeypatch.setattr("hedgerow.simulations.engine.simulate", stopped)
    with pytest.raises(KeyboardInterrupt):
        asked = Asked(path=folder, engine="ray", means=Means(address="head:6379"))
        simulate_project(asked, Path("runs"), quiet=True)
    assert heard == [("ray", "head:6379")]


@pytest.mark.parametrize(
    ("words", "code", "place"),
    [
        (["--workers", "0"], "E103", "--workers"),
        (["--memory", "4 bananas"], "E103", "--memory"),
        (["--address", "head:6379"], "E105", "--address"),
        (["--address", "head:6379", "--engine", "in-process"], "E105", "--address"),
        (["--device", "gpu"], "E103", "--device"),
        (["--device", "cuda", "--seeds", "2"], "E105", "--device"),
        (["--device", "cuda", "--sweep", "local.lr=0.1,0.2"], "E105", "--device"),
        (["--device", "cpu", "--engine", "in-process"], "E105", "device"),
        (["--sites", "0"], "E103", "--sites"),
        (["--sites", "3", "-s", "sites=5"], "E105", "--sites"),
    ],
)
def test_means_that_cannot_be_are_refused_before_anything_is_written(
    hedgerow: Any, project: Any, words: list[str], code: str, place: str
) -> None:
    project()
    answer = hedgerow("sim", "tiny", *words, "--json")
    assert (answer.exit_code, answer.error["code"], answer.error["place"]) == (2, code, place)
    assert not Path("runs").exists()


MISBEHAVES = """
class Odd(Tiny):
    def data(self, site):
        data = super().data(site)
        if site.index == 1:
            data.train.y[:] = 1
        return data

    def loss(self, logits, y):
        losses = super().loss(logits, y)
        if torch.is_grad_enabled() and bool((y == 1).all()):
            {what}
        return losses

task = Odd()
"""


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise ValueError('record 42')", "the site failed while training"),
        ("raise SystemExit(1)", "the site failed while training"),
        ("return losses.mean()", "wrong type"),
        ("return losses * float('nan')", ""),
    ],
)
def test_one_site_that_misbehaves_does_not_end_the_run(hedgerow: Any, project: Any, what: str, reason: str) -> None:
    project(code=MISBEHAVES.format(what=what), job='privacy.accountant = "rdp"')
    answer = hedgerow("sim", "tiny")
    assert answer.exit_code == 0
    rounds = [line for line in answer.out.splitlines() if line.startswith("round ")]
    assert len(rounds) == 3
    assert all(f"({reason})" in line and line.count("rejected") == 1 for line in rounds) or not reason
    assert answer.err.count("data.py") <= 1


def test_a_site_that_learns_nothing_finite_without_privacy_is_rejected(hedgerow: Any, project: Any) -> None:
    private = 'privacy.unit = "record"\nprivacy.epsilon = 3.0\nprivacy.delta = 1e-3\n'
    project(code=MISBEHAVES.format(what="return losses * float('nan')"), replace={private: 'privacy.unit = "none"\n'})
    answer = hedgerow("sim", "tiny")
    assert answer.exit_code == 0
    assert answer.out.count("rejected site-02 (non-finite values)") == 3


def test_when_every_site_fails_the_run_ends_with_the_reason(hedgerow: Any, project: Any) -> None:
    project(
        code="class Odd(Tiny):\n    def loss(self, logits, y):\n        return super().loss(logits, y).mean()\n"
        "task = Odd()\n"
    )
    answer = hedgerow("sim", "tiny")
    assert answer.exit_code == 6
    assert "E501 3 rounds in a row released nothing" in answer.err
    assert answer.err.count("does not take part: E102") == 1
    assert "failed after round 0" in answer.out


def test_a_gate_that_holds_is_told(hedgerow: Any, project: Any) -> None:
    project(job="leakage.gate = 'auc <= 0.99'")
    answer = hedgerow("sim", "tiny")
    assert answer.exit_code == 0
    assert "gate auc <= 0.99: passed" in answer.out


def test_a_gate_that_fails_keeps_the_run_and_its_report(hedgerow: Any, project: Any) -> None:
    project(job="leakage.gate = 'auc <= 0.01'")
    answer = hedgerow("sim", "tiny", "--json")
    assert (answer.exit_code, answer.error["code"]) == (6, "E507")
    (run,) = hedgerow("ls", "--json").data["runs"]
    assert run["status"] == "finished"
    assert (Path(run["folder"]) / "report.html").exists()
    assert run["folder"] in answer.error["hint"]
    again = hedgerow("resume", "--json")
    assert (again.exit_code, again.error["code"]) == (6, "E507")


def test_a_runs_folder_that_cannot_be_made_is_coded(hedgerow: Any, project: Any) -> None:
    project()
    Path("file").touch()
    answer = hedgerow("sim", "tiny", "--runs", "file/runs", "--json")
    assert (answer.exit_code, answer.error["code"]) == (6, "E504")
    assert "--runs" in answer.error["hint"]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "E503"), (errno.EROFS, "E504"), (errno.EDQUOT, "E503")])
def test_a_disk_that_takes_nothing_more_is_coded_and_the_run_goes_on_later(
    hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    project()
    replace = os.replace
    files = 0

    def full(source: Any, target: Any) -> None:
        nonlocal files
        files += 1
        if files > 5:
            raise OSError(number, os.strerror(number))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        answer = hedgerow("sim", "tiny", "--json")
    assert (answer.exit_code, answer.error["code"]) == (6, code)
    assert hedgerow("resume", "--json").data["rounds"] == 3


def test_a_run_goes_on_only_with_its_project(hedgerow: Any, project: Any) -> None:
    folder = project()
    run = hedgerow("sim", "tiny", "--json").data
    shutil.rmtree(folder)
    error = hedgerow("resume", run["run"], "--json").error
    assert (error["code"], error["place"]) == ("E113", str(folder))


def test_a_run_from_python_says_how_it_goes_on(hedgerow: Any, tmp_path: Path) -> None:
    import hedgerow as package
    from hedgerow.tasks import breast_cancer

    job = package.Job(rounds=1, privacy=package.Privacy(unit="none"), secure=package.Secure(mode="off"))
    package.simulate(job, breast_cancer(), scenario=package.Scenario(sites=3), runs=tmp_path / "runs")
    error = hedgerow("resume", "--json").error
    assert error["code"] == "E113" and "hedgerow.simulations.resume" in error["hint"]


FLOWER_SERVER = """
import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    print("nodes", len(list(grid.get_node_ids())), "lr", context.run_config["lr"])
    FedAvg().start(grid=grid, initial_arrays=ArrayRecord([np.zeros(3)]), num_rounds=context.run_config["rounds"])
"""
FLOWER_CLIENT = """
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    arrays = ArrayRecord([array + 1 for array in msg.content["arrays"].to_numpy_ndarrays()])
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 3})})
    return Message(content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    return Message(RecordDict({"metrics": MetricRecord({"num-examples": 3, "accuracy": 0.5})}), reply_to=msg)
"""
FLOWER_PROJECT = """[project]
name = "quickstart"
version = "1.0.0"

[tool.flwr.app]
publisher = "flwrlabs"

[tool.flwr.app.components]
serverapp = "quickstart.server_app:app"
clientapp = "quickstart.client_app:app"

[tool.flwr.app.config]
rounds = 2
lr = 0.1

[tool.flwr.federations]
default = "small"

[tool.flwr.federations.large]
options.num-supernodes = 20

[tool.flwr.federations.small]
options.num-supernodes = 4
"""


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    folder = tmp_path / "flower"
    (folder / "quickstart").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(FLOWER_PROJECT)
    (folder / "quickstart" / "__init__.py").touch()
    (folder / "quickstart" / "server_app.py").write_text(FLOWER_SERVER)
    (folder / "quickstart" / "client_app.py").write_text(FLOWER_CLIENT)
    return folder


def test_another_flower_app_runs_as_it_is(hedgerow: Any, quickstart: Path) -> None:
    answer = hedgerow("sim", "flower")
    assert answer.exit_code == 0, answer.err
    assert "nodes 4 lr 0.1" in answer.out
    assert answer.out.splitlines()[-1].startswith("quickstart: 4 sites in ")
    assert answer.out.splitlines()[-1].endswith("engine in-process")


def test_another_flower_app_takes_its_own_settings_and_a_number_of_sites(hedgerow: Any, quickstart: Path) -> None:
    answer = hedgerow("sim", "flower", "-c", "lr=0.5 rounds=1", "-s", "sites=3", "--json")
    assert answer.data["sites"] == 3
    assert "nodes 3 lr 0.5" in answer.err
    assert hedgerow("sim", "flower", "--sites", "5", "--json").data["sites"] == 5


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["-c", "round=1"], "E101", "did you mean 'rounds'?"),
        (["-c", "aggregate.rule=krum"], "E101", "the keys are rounds, lr"),
        (["-s", "attackers=1"], "E101", "sites"),
        (["-s", "site=3"], "E101", "did you mean 'sites'?"),
        (["-s", "sites=0"], "E103", ""),
        (["--engine", "ray"], "E103", "flwr run"),
        (["--engine", "cohort"], "E103", "flwr run"),
        (["--sites", "0"], "E103", ""),
        (["--seeds", "2"], "E105", "leave it out"),
        (["--sweep", "rounds=1,2"], "E105", "leave it out"),
        (["--workers", "2"], "E105", "leave it out"),
        (["--memory", "1GB"], "E105", "leave it out"),
        (["--device", "cpu"], "E105", "leave it out"),
    ],
)
def test_what_another_flower_app_cannot_take_is_refused(
    hedgerow: Any, quickstart: Path, words: list[str], code: str, hint: str
) -> None:
    answer = hedgerow("sim", "flower", *words, "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, code)
    assert hint in answer.error["hint"]


def test_real_sites_are_not_told_of_an_override_that_they_would_not_see(project: Any) -> None:
    folder = project()
    with pytest.raises(Misconfigured) as caught:
        run_project_locally(folder, Path("runs"), "", "seed=3", quiet=True)
    assert (caught.value.code, caught.value.place) == ("E105", "-s")
    with pytest.raises(Misconfigured) as caught:
        run_project_locally(folder, Path("runs"), "", "sed=3", quiet=True)
    assert caught.value.code == "E101"
    assert not Path("runs").exists()
