"""`ls`, `report` and how a run is found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def two_runs(hedgerow: Any, project: Any) -> list[str]:
    project()
    return [hedgerow("sim", "tiny", "-s", f"seed={seed}", "--json").data["run"] for seed in (0, 1)]


def test_no_runs_say_how_to_start_one(hedgerow: Any) -> None:
    assert "hedgerow demo" in hedgerow("ls").out
    assert hedgerow("ls", "--json").data == {"runs": [], "sweeps": [], "red_teams": []}
    for verb in ("report", "resume"):
        error = hedgerow(verb, "--json").error
        assert error["code"] == "E112" and "hedgerow demo" in error["hint"]


def test_the_runs_are_listed_in_order_with_what_became_of_them(hedgerow: Any, two_runs: list[str]) -> None:
    assert [run["run"] for run in hedgerow("ls", "--json").data["runs"]] == two_runs
    lines = hedgerow("ls").out.splitlines()
    assert all("finished  cohort     3 of 3 rounds  accuracy 0." in line for line in lines)


def test_a_damaged_run_does_not_hide_the_others(hedgerow: Any, two_runs: list[str]) -> None:
    log = Path("runs", two_runs[0], "events.jsonl")
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:3], "{not json", *lines[4:]]) + "\n")
    listed = hedgerow("ls")
    assert listed.exit_code == 0
    damaged, whole = listed.out.splitlines()
    assert "damaged (E403)" in damaged and "finished" in whole
    assert damaged.index("cohort") == whole.index("cohort")
    for verb in ("report", "resume"):
        answer = hedgerow(verb, two_runs[0], "--json")
        assert (answer.exit_code, answer.error["code"]) == (5, "E403")
        assert answer.error["place"].endswith("events.jsonl:4")


def test_a_folder_that_is_no_run_is_passed_over(hedgerow: Any, two_runs: list[str]) -> None:
    for name, text in (("noise", "{"), ("other", '{"schema_version": 99}')):
        Path("runs", name).mkdir()
        Path("runs", name, "job.json").write_text(text)
    assert len(hedgerow("ls", "--json").data["runs"]) == 2
    for name in ("noise", "other"):
        error = hedgerow("report", name, "--json").error
        assert (error["code"], error["place"]) == ("E113", f"runs/{name}")


def test_a_run_is_found_by_name_by_folder_and_as_the_newest(hedgerow: Any, two_runs: list[str]) -> None:
    first, second = two_runs
    assert hedgerow("report", first, "--json").data["run"] == first
    assert hedgerow("report", f"runs/{first}", "--runs", "elsewhere", "--json").data["run"] == first
    assert hedgerow("report", "--json").data["run"] == second


def test_a_run_that_is_not_there_is_answered_with_those_that_are(hedgerow: Any, two_runs: list[str]) -> None:
    error = hedgerow("resume", "2020", "--json").error
    assert error["code"] == "E112"
    assert all(name in error["hint"] for name in two_runs)


def test_a_sweep_stands_among_the_runs(hedgerow: Any, two_runs: list[str]) -> None:
    words = ("sim", "tiny", "--sweep", "aggregate.rule=median,krum", "--seeds", "2", "-c", "rounds=1", "--json")
    sweep = hedgerow(*words).data["sweep"]
    listed = hedgerow("ls", "--json").data
    assert [run["run"] for run in listed["runs"]] == two_runs
    (row,) = listed["sweeps"]
    assert (row["sweep"], row["status"], row["runs"], row["of"], row["failed"]) == (sweep, "finished", 4, 4, 0)
    last = hedgerow("ls").out.splitlines()[-1]
    assert last.startswith(sweep) and last.endswith("4 of 4 runs")
    assert hedgerow("report", "--json").data["sweep"] == sweep  # the newest
    assert hedgerow("resume", "--json").data["sweep"] == sweep
    assert hedgerow("report", sweep, "--json").data["report"] == f"runs/{sweep}/report.html"


def test_sweeps_are_listed_where_nothing_can_be_computed(
    hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project()
    sweep = hedgerow("sim", "tiny", "--seeds", "2", "-c", "rounds=1", "--json").data["sweep"]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("scipy", "jinja2")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert hedgerow("ls", "--json").data["sweeps"][0]["sweep"] == sweep
    assert hedgerow("report", sweep, "--json").error["code"] == "E107"


def test_a_report_can_set_runs_beside_each_other(hedgerow: Any, two_runs: list[str]) -> None:
    first, second = two_runs
    page = Path(hedgerow("report", first, second).out.strip())
    assert second in page.read_text(encoding="utf-8")
    hedgerow("report", first)
    assert second not in page.read_text(encoding="utf-8")


def test_a_finished_run_resumes_to_itself(hedgerow: Any, two_runs: list[str]) -> None:
    data = hedgerow("resume", two_runs[0], "--json").data
    assert (data["run"], data["status"], data["rounds"]) == (two_runs[0], "finished", 3)


def test_a_job_that_was_changed_on_the_disk_is_not_gone_on_with(hedgerow: Any, two_runs: list[str]) -> None:
    path = Path("runs", two_runs[0], "job.json")
    record = json.loads(path.read_text())
    record["job"]["privacy.epsilon"] = 300.0
    path.write_text(json.dumps(record))
    answer = hedgerow("resume", two_runs[0], "--json")
    assert (answer.exit_code, answer.error["code"]) == (5, "E401")
