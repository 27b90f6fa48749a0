"""A run that was stopped, also by kill -9, ends with the same bytes and the same spending as one that was not."""

import functools
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.simulations.halves import Halves

import hedgerow.checkpoints
import hedgerow.disk
import hedgerow.runs
import hedgerow.server.framing
from hedgerow import Aggregate, Cohort, Job, Leakage, Privacy, Run, Scenario, Secure, Server
from hedgerow.errors import Exhausted, Misconfigured, Tampered
from hedgerow.eventlog import EventLog
from hedgerow.privacy import Ledger
from hedgerow.runs import RunFolder
from hedgerow.simulations import resume, simulate

SITES, ROUNDS = 3, 3
JOB = Job(
    rounds=ROUNDS,
    cohort=Cohort(quorum=3),
    server=Server(optimizer="adam"),  # with a memory, which a checkpoint must carry
    privacy=Privacy(unit="record", epsilon=3.0, delta=1e-3),
    aggregate=Aggregate(byzantine=1),
    secure=Secure(mode="off"),
)
SCENARIO = Scenario(sites=SITES, seed=3)
RESUMED = {("run-resumed", None, None)}

# What makes a run durable: each of these is a place where a kill may fall.
STEPS: Mapping[str, tuple[Any, str]] = {
    "save": (RunFolder, "save"),
    "append": (EventLog, "append_all"),
    "reserve": (Ledger, "reserve_each"),
    "release": (Ledger, "release_each"),
    "job": (hedgerow.runs, "write_whole"),
    "write_whole": (hedgerow.checkpoints, "write_whole"),
    "append_whole": (hedgerow.checkpoints, "append_whole"),
    "write_report": (hedgerow.server.framing, "write_report"),
}


def struck(inner: Callable[..., Any], blow: Callable[[], None], *, number: int, after: bool) -> Callable[..., Any]:
    """`inner`, whose call `number` (from 1) is the last thing that happens, or the first that does not."""
    calls = 0

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            blow()
        result = inner(*arguments, **named)
        if calls == number and after:
            blow()
        return result

    return wrapped


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(step: str, number: int, after: bool, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed at a step; false if the step was never reached."""
    child = os.fork()
    if child == 0:
        home, name = STEPS[step]
        setattr(home, name, struck(getattr(home, name), kill, number=number, after=after))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def start(runs: Path, engine: str = "in-process", **changes: Any) -> Run:
    """One site at a time in-process: the most places where a kill may fall."""
    return simulate(JOB, Halves(), scenario=SCENARIO, runs=runs, name="run", engine=engine, **changes)


def told(run: Run) -> dict[str, Any]:
    """Everything about a run that must not depend on its stops."""
    with run.ledger() as ledger:
        spent = {f"site-{n:02d}": ledger.spent(f"site-{n:02d}", delta=1e-3) for n in range(1, SITES + 1)}
    return {
        "status": run.status,
        "model": run.model_sha256,
        "models": run.folder.rounds(),
        "epsilon": dict(run.epsilon),
        "spent": spent,
        "history": run.history,
        "leakage": run.leakage,
        "final": dict(run.final),
        "told": {(event["event"], event.get("round"), event.get("site")) for event in run.events()} - RESUMED,
        "report": run.report.exists(),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run that nothing stopped."""
    run = told(start(tmp_path_factory.mktemp("whole")))
    assert run["status"] == "finished" and len(run["models"]) == ROUNDS + 1
    return run


KILLS = [
    *[("save", number, after) for number in range(1, ROUNDS + 2) for after in (False, True)],
    *[("reserve", number, after) for number in (1, 3, 4, 9) for after in (False, True)],
    *[("release", number, after) for number in (1, 5, 9) for after in (False, True)],
    *[("append", number, after) for number in (1, 2, 4, 5, 8, 11, 12, 13, 17) for after in (False, True)],
    ("job", 1, True),
    *[("write_whole", number, after) for number in (1, 2, 3, 4, 5, 8) for after in (False, True)],
    *[("append_whole", number, after) for number in range(1, ROUNDS + 1) for after in (False, True)],
    ("write_report", 1, False),
    ("write_report", 1, True),
]


@pytest.mark.parametrize(("step", "number", "after"), KILLS)
def test_a_killed_run_ends_like_one_that_was_not(
    tmp_path: Path, whole: dict[str, Any], step: str, number: int, after: bool
) -> None:
    assert killed(step, number, after, lambda: start(tmp_path))
    resumed = resume(RunFolder.open(tmp_path / "run"), Halves())
    assert told(resumed) == whole


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same on the cohort engine."""
    return told(start(tmp_path_factory.mktemp("together"), "cohort"))


@pytest.mark.parametrize(
    ("step", "number"),
    [
        *[("save", number) for number in range(1, ROUNDS + 2)],
        *[(step, number) for step in ("reserve", "release") for number in range(1, ROUNDS + 1)],
        *[("append", number) for number in (1, 2, 3, 4, 6, 9, 13)],
        ("append_whole", 2),
        ("write_report", 1),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_cohort_ends_like_one_that_was_not(
    tmp_path: Path, together: dict[str, Any], step: str, number: int, after: bool
) -> None:
    assert killed(step, number, after, lambda: start(tmp_path, "cohort"))
    assert told(resume(RunFolder.open(tmp_path / "run"), Halves())) == together


def test_a_run_that_is_killed_in_every_resume_ends_the_same(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert killed("release", 2, True, lambda: start(tmp_path))
    for step, number in (("release", 2), ("save", 2), ("append", 7), ("reserve", 4), ("write_report", 1)):
        assert killed(step, number, False, lambda: resume(RunFolder.open(tmp_path / "run"), Halves()))
    assert told(resume(RunFolder.open(tmp_path / "run"), Halves())) == whole


def test_a_kill_before_the_job_is_written_leaves_no_run(tmp_path: Path) -> None:
    assert killed("job", 1, False, lambda: start(tmp_path))
    with pytest.raises(Misconfigured) as caught:
        RunFolder.open(tmp_path / "run")
    assert caught.value.code == "E112"


@pytest.mark.parametrize(("step", "number"), [("reserve", 5), ("save", 3), ("append", 14)])
def test_an_interrupted_run_says_so_and_ends_like_one_that_was_not(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    home, name = STEPS[step]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(home, name, struck(getattr(home, name), interrupt, number=number, after=True))
        start(tmp_path)
    stopped = Run(tmp_path / "run")
    assert stopped.status == "interrupted"
    assert stopped.events("run-finished")[0]["code"] == "E901"
    assert stopped.report.exists()
    assert told(resume(stopped.folder, Halves())) == whole


def test_a_full_disk_stops_the_run_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    append_whole = hedgerow.disk.append_whole

    def full(file: int, line: bytes) -> None:
        if Run(tmp_path / "run").rounds == 1:
            raise OSError(28, os.strerror(28))
        append_whole(file, line)

    with monkeypatch.context() as patch, pytest.raises(Exhausted) as caught:
        patch.setattr(hedgerow.checkpoints, "append_whole", full)
        start(tmp_path)
    assert caught.value.code == "E503" and "hedgerow resume" in caught.value.hint
    assert Run(tmp_path / "run").status == "failed"
    assert told(resume(RunFolder.open(tmp_path / "run"), Halves())) == whole


def test_a_disk_that_is_full_for_good_does_not_hide_what_stopped_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = EventLog.append

    def full(log: EventLog, event: Any) -> None:
        if type(event).__name__ in ("RoundClosed", "RunFinished"):
            raise Exhausted("E503", f"no room for {type(event).__name__}")
        append(log, event)

    monkeypatch.setattr(EventLog, "append", full)
    with pytest.raises(Exhausted, match="RoundClosed"):
        start(tmp_path)


def test_a_resumed_run_tells_its_listeners_where_it_goes_on(tmp_path: Path) -> None:
    assert killed("save", 3, True, lambda: start(tmp_path))
    heard: list[Mapping[str, Any]] = []
    resume(RunFolder.open(tmp_path / "run"), Halves(), listeners=[heard.append])
    assert (heard[0]["event"], heard[0]["after_round"]) == ("run-resumed", 2)  # round 2 was saved, but not evaluated
    assert [event["round"] for event in heard if event["event"] == "evaluated"] == [2, 3]
    assert [event["round"] for event in heard if event["event"] == "round-closed"] == [3]


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path) -> None:
    run = start(tmp_path)
    files = [path for path in run.path.rglob("*") if path.is_file() and not path.name.startswith((".lock", "ledger."))]
    before = {path: path.stat().st_mtime_ns for path in files}  # SQLite's own files come and go with connections
    assert resume(run.folder, Halves()).model_sha256 == run.model_sha256
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_that_failed_its_gate_fails_again_when_resumed(tmp_path: Path) -> None:
    strict = Job(
        **{name: getattr(JOB, name) for name in ("rounds", "cohort", "server", "privacy", "aggregate", "secure")},
        leakage=Leakage(gate="auc <= 0.01"),
    )
    attempts: list[Callable[[], Run]] = [
        lambda: simulate(strict, Halves(), scenario=SCENARIO, runs=tmp_path, name="run"),
        lambda: resume(RunFolder.open(tmp_path / "run"), Halves()),
    ]
    for attempt in attempts:
        with pytest.raises(Exhausted) as caught:
            attempt()
        assert caught.value.code == "E507"
    run = Run(tmp_path / "run")
    assert run.status == "finished" and run.report.exists()


def test_two_resumes_at_once_are_one_resume_and_an_error(tmp_path: Path) -> None:
    assert killed("save", 2, True, lambda: start(tmp_path))
    folder = RunFolder.open(tmp_path / "run")
    with folder.lock(), pytest.raises(Exhausted) as caught:
        resume(RunFolder.open(tmp_path / "run"), Halves())
    assert caught.value.code == "E506"
    assert resume(folder, Halves()).status == "finished"


def test_a_tampered_checkpoint_is_never_gone_on_from(tmp_path: Path) -> None:
    assert killed("save", 3, True, lambda: start(tmp_path))
    folder = RunFolder.open(tmp_path / "run")
    model = folder.path / "models" / f"{folder.rounds()[2]}.safetensors"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(bytes(data))
    with pytest.raises(Tampered) as caught:
        resume(folder, Halves())
    assert caught.value.code == "E401" and caught.value.place == str(model)


def test_a_run_is_not_gone_on_with_another_model(tmp_path: Path) -> None:
    class Wider(Halves):
        def model(self) -> torch.nn.Module:
            return torch.nn.Linear(2, 3)

    assert killed("save", 3, True, lambda: start(tmp_path))
    with pytest.raises(Misconfigured) as caught:
        resume(RunFolder.open(tmp_path / "run"), Wider())
    assert caught.value.code == "E113"


def test_a_deployment_is_not_resumed_as_a_simulation(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, job=JOB, scenario=None, engine="flower", task="halves")
    with pytest.raises(Misconfigured) as caught:
        resume(folder, Halves())
    assert caught.value.code == "E113"


def test_a_run_moved_to_another_place_goes_on_there(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert killed("save", 2, True, lambda: start(tmp_path / "here"))
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "run").rename(tmp_path / "there" / "run")
    assert told(resume(RunFolder.open(tmp_path / "there" / "run"), Halves())) == whole


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    path = start(tmp_path).path
    record = json.loads((path / "job.json").read_text())
    (path / "job.json").write_text(json.dumps({**record, "schema_version": 99}))
    with pytest.raises(Misconfigured) as caught:
        RunFolder.open(path)
    assert caught.value.code == "E113"
