"""What only a process of its own shows: signals, pipes, and what stdout holds at its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEDGEROW = [sys.executable, "-m", "hedgerow"]


def stopped(words: list[str], line: str, times: int) -> tuple[int, str, str]:
    """Start a command and press Ctrl-C `times` as soon as it prints a line that begins with `line`."""
    process = subprocess.Popen([*HEDGEROW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = []
    for text in process.stdout:
        said.append(text)
        if text.startswith(line):
            for _ in range(times):
                os.kill(process.pid, signal.SIGINT)
            break
    rest, errors = process.communicate()
    return process.returncode, "".join(said) + rest, errors


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_the_checkpoint_and_resume_ends_with_the_same_model(
    hedgerow: Any, project: Any, times: int
) -> None:
    project(replace={"rounds = 3": "rounds = 40"})
    code, out, err = stopped(["sim", "tiny"], "round  5/40", times)
    assert code == 130
    assert "Traceback" not in err and "Traceback" not in out
    (run,) = hedgerow("ls", "--json").data["runs"]
    assert err == f"E901 interrupted\n  what was finished is kept; go on with: hedgerow resume {run['run']}\n"
    assert 5 <= run["rounds"] < 40 and run["status"] in ("interrupted", "unfinished")
    resumed = hedgerow("resume", "--json").data
    whole = hedgerow("sim", "tiny", "--runs", "whole", "--json").data
    for key in ("model_sha256", "epsilon", "final", "rounds"):
        assert resumed[key] == whole[key]


def test_ctrl_c_after_the_measurement_tells_where_the_finished_run_s_report_is(hedgerow: Any, project: Any) -> None:
    project()
    code, _, err = stopped(["sim", "tiny"], "membership inference", 1)
    (run,) = hedgerow("ls", "--json").data["runs"]
    assert run["status"] == "finished" and Path(run["folder"], "report.html").exists()
    if code:  # 0 where the run was through before the signal came
        assert (code, err) == (
            130,
            f"E901 interrupted\n  the run had finished; its report is {Path(run['folder'], 'report.html')}\n",
        )


def test_ctrl_c_under_json_is_one_envelope(project: Any) -> None:
    project(code="print('started', flush=True)\n", replace={"rounds = 3": "rounds = 4000"})
    process = subprocess.Popen(
        [*HEDGEROW, "sim", "tiny", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert next(line for line in process.stderr if line.startswith("started"))
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert json.loads(out)["error"]["code"] == "E901"


@pytest.mark.parametrize("verb", [["sim", "tiny"], ["ls"], pytest.param(["check", "tiny"], marks=pytest.mark.slow)])
def test_a_reader_that_leaves_changes_nothing(hedgerow: Any, project: Any, verb: list[str]) -> None:
    project()
    process = subprocess.Popen([*HEDGEROW, *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert [run["status"] for run in hedgerow("ls", "--json").data["runs"]] == ["finished"] * (verb[0] == "sim")


@pytest.mark.slow
def test_a_closed_stdout_does_not_stop_a_run(hedgerow: Any, project: Any) -> None:
    project()
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *HEDGEROW, "sim", "tiny"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert hedgerow("ls", "--json").data["runs"][0]["status"] == "finished"


@pytest.mark.slow
def test_a_demo_that_is_interrupted_ends_like_one_that_is_not(hedgerow: Any) -> None:
    code, out, _ = stopped(["demo", "--runs", "stopped"], "round  3/20", 1)
    assert code == 130
    resumed = hedgerow("resume", "--runs", "stopped", "--json").data
    whole = hedgerow("demo", "--runs", "whole", "--json").data
    for key in ("model_sha256", "epsilon", "final", "rounds"):
        assert resumed[key] == whole[key]
    for data in (resumed, whole):
        assert len(list(Path(data["folder"], "twins").glob("*/report.html"))) == 2
