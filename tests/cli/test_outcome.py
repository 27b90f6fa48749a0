"""`ls`, `report` and how a run is found."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def two_runs(hedgerow: Any, project: Any) -> list[str]:
    project()
    return [hedgerow("sim", "tiny", "-s", f"seed={seed}", "--json").data["run"] for seed in (0, 1)]


def test_no_runs_say_how_to_start_one(hedgerow: Any) -> None:
    assert "hedgerow demo" in hedgerow("ls").out
    assert hedgerow("ls", "--json").data == {"runs": []}
    for verb in ("report", "resume"):
        error = hedgerow(verb, "--json").error
        assert error["code"] == "E112" and "hedgerow demo" in error["hint"]


def test_the_runs_are_listed_in_order_with_what_became_of_them(hedgerow: Any, two_runs: list[str]) -> None:
    assert [run["run"] for run in hedgerow("ls", "--json").data["runs"]] == two_runs
    lines = hedgerow("ls").out.splitlines()
    assert all("finished  in-process     3 of 3 rounds  accuracy 0." in line for line in lines)


def test_a_damaged_run_does_not_hide_the_others(hedgerow: Any, two_runs: list[str]) -> None:
    log = Path("runs", two_runs[0], "events.jsonl")
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:3], "{not json", *lines[4:]]) + "\n")
    listed = hedgerow("ls")
    assert listed.exit_code == 0
    damaged, whole = listed.out.splitlines()
    assert "damaged (E403)" in damaged and "finished" in whole
    assert damaged.index("in-process") == whole.index("in-process")
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
