"""`simulate`: what it refuses before it writes anything, what it tells, and that the same seed gives the same bytes."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.simulations.halves import Halves

import hedgerow
from hedgerow import Job, Leakage, Privacy, Run, Scenario, Secure, Split, Task
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.simulations import simulate
from hedgerow.simulations.sites import prepare
from hedgerow.tasks import breast_cancer

OPEN = Job(rounds=2, privacy=Privacy(unit="none"), secure=Secure(mode="off"))
FIVE = Scenario(sites=5, seed=1)


def run_of(runs: Path, task: Task | None = None, job: Job = OPEN, **named: Any) -> Run:
    return simulate(job, task or Halves(), scenario=named.pop("scenario", FIVE), runs=runs, **named)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    one, two = run_of(tmp_path, name="one"), run_of(tmp_path, name="two")
    other = run_of(tmp_path, scenario=Scenario(sites=5, seed=2))
    assert one.folder.rounds() == two.folder.rounds()
    assert one.history == two.history and one.leakage == two.leakage
    assert other.model_sha256 != one.model_sha256


def test_the_callers_own_random_state_and_threads_change_nothing_and_stay(tmp_path: Path) -> None:
    before = run_of(tmp_path).model_sha256
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    assert run_of(tmp_path).model_sha256 == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_events_tell_the_whole_run_in_order(tmp_path: Path) -> None:
    heard: list[str] = []
    run = run_of(tmp_path, listeners=[lambda event: heard.append(event["event"])])
    assert heard == [event["event"] for event in run.events()]
    assert heard[:8] == ["run-started", *["data-described"] * 5, "engine-chosen", "evaluated"]
    assert heard[8:14] == ["round-started", "round-closed", "evaluated"] * 2
    assert heard[14] == "leakage-started" and heard[-1] == "run-finished"
    assert set(heard[15:-1]) == {"leakage-measured"}


@pytest.mark.parametrize("engine", ["in-process", "ray", "local"])
def test_an_engine_without_a_simulated_clock_refuses_what_needs_one(tmp_path: Path, engine: str) -> None:
    scenario = Scenario(sites=5, latency="constant:1", drift="labels:0.5", shift="affine:0.1")
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path / "runs", scenario=scenario, engine=engine)
    assert caught.value.code == "E105" and "latency, drift" in caught.value.message
    assert not (tmp_path / "runs").exists()


def test_the_attackers_are_named_in_the_first_event_only_by_the_simulation(tmp_path: Path) -> None:
    run = run_of(tmp_path, scenario=Scenario(sites=5, attack="sign-flip", attackers=1, seed=1))
    (started,) = run.events("run-started")
    assert len(started["scenario"]["attacker_sites"]) == 1
    assert "attack" not in started["job"]


def test_a_job_that_cannot_start_writes_nothing(tmp_path: Path) -> None:
    job = OPEN.override({"aggregate.byzantine": 4})
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path / "runs", job=job)
    assert caught.value.code == "E105"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("task", [object(), Halves, None])
def test_what_is_no_task_is_refused(tmp_path: Path, task: Any) -> None:
    with pytest.raises(Misconfigured) as caught:
        simulate(OPEN, task, runs=tmp_path / "runs")
    assert caught.value.code == "E111" and "hedgerow.Task" in caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_another_engine_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path, engine="rai")
    assert caught.value.code == "E103" and "cohort, in-process, ray, local" in caught.value.hint


def test_real_sites_need_a_project(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path, engine="local")
    assert caught.value.code == "E111" and "hedgerow new" in caught.value.hint


def test_without_its_template_engine_no_round_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path / "runs")
    assert caught.value.code == "E107" and "hedgerow[full]" in caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_name_is_taken_is_refused(tmp_path: Path) -> None:
    run_of(tmp_path, name="one")
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path, name="one")
    assert caught.value.code == "E115"


def test_a_gate_that_fails_raises_after_the_report_is_written(tmp_path: Path) -> None:
    job = Job(rounds=1, privacy=Privacy(unit="none"), secure=Secure(mode="off"), leakage=Leakage(gate="auc <= 0.01"))
    with pytest.raises(Exhausted) as caught:
        run_of(tmp_path, job=job, name="gated")
    run = Run(tmp_path / "gated")
    assert caught.value.code == "E507" and str(run.report) in caught.value.hint
    assert run.report.exists() and run.status == "finished" and run.rounds == 1


def test_a_task_that_fails_at_the_server_leaves_a_run_that_says_so(tmp_path: Path) -> None:
    class Odd(Halves):
        def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
            raise RuntimeError("patient 42")

    with pytest.raises(RuntimeError):
        run_of(tmp_path, Odd(), name="odd")
    run = Run(tmp_path / "odd")
    (finished,) = run.events("run-finished")
    assert (run.status, finished["code"]) == ("failed", "E900")
    assert "patient 42" not in run.folder.events.read_text()


def test_a_task_without_held_out_records_trains_unmeasured(tmp_path: Path) -> None:
    class Blind(Halves):
        def held_out(self) -> Split | None:
            return None

    run = run_of(tmp_path, Blind())
    assert (run.status, run.rounds, dict(run.final), run.leakage) == ("finished", 2, {}, ())


def test_a_model_that_is_not_finite_fails_its_gate_for_want_of_a_measurement(tmp_path: Path) -> None:
    class Infinite(Halves):
        def model(self) -> torch.nn.Module:
            model = torch.nn.Linear(2, 2)
            with torch.no_grad():
                model.bias.fill_(torch.inf)
            return model

    job = Job(rounds=1, privacy=Privacy(unit="none"), secure=Secure(mode="off"), leakage=Leakage(gate="auc <= 1"))
    with pytest.raises(Exhausted):
        run_of(tmp_path, Infinite(), job=job, name="infinite")
    assert Run(tmp_path / "infinite").leakage == ()


def test_a_split_by_column_decides_how_many_sites_there_are(tmp_path: Path) -> None:
    pooled = breast_cancer()
    _, scenario, sites = prepare(pooled, Scenario(sites=7, split="iid"))
    assert scenario.sites == len(sites) == 7
    again, _, fewer = prepare(prepare(pooled, Scenario(sites=7, split="iid"))[0], Scenario(sites=3, split="iid"))
    assert len(fewer) == 3
    assert sum(len(again.data(site).train) for site in fewer) == len(pooled.pool().train)


def test_sites_of_a_thousand_sort_by_their_names() -> None:
    _, _, sites = prepare(Halves(), Scenario(sites=1000))
    names = [site.name for site in sites]
    assert names == sorted(names) and len(set(names)) == 1000


def test_a_run_shows_itself(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert re.fullmatch(r"<Run .*-halves: finished, 2 rounds, accuracy 0\.\d+, loss [\d.]+>", repr(run))
    assert "iframe" in run._repr_html_()


def test_simulate_is_what_the_package_offers() -> None:
    assert hedgerow.simulate is simulate


@pytest.mark.parametrize(
    ("engine", "given"),
    [("in-process", {"workers": 2}), ("ray", {"memory": 1 << 30}), ("cohort", {"address": "localhost:1"})],
)
def test_what_an_engine_has_no_use_for_is_refused(tmp_path: Path, engine: str, given: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured) as caught:
        run_of(tmp_path / "runs", engine=engine, **given)
    assert caught.value.code == "E105" and caught.value.place in given
    assert not (tmp_path / "runs").exists()
