"""A sweep as Python sees it."""

from pathlib import Path

import pytest

from hedgerow import Job, Scenario, Task, sweep
from hedgerow.simulations.sweeps import Sweep


@pytest.fixture
def done(tmp_path: Path, job: Job, task: Task, scenario: Scenario) -> Sweep:
    return sweep(job, task, grid={"local.lr": [0.1, 0.5]}, seeds=3, scenario=scenario, runs=tmp_path)


def test_the_table_has_a_row_per_cell(done: Sweep) -> None:
    first, second = done.table
    assert [row["local.lr"] for row in done.table] == [0.1, 0.5]
    assert (first["seeds"], first["metric"], first["failed"]) == (3, "accuracy", {})
    values = [done.runs[f"lr-0.5_seed-{seed}"].final["accuracy"] for seed in (4, 5, 6)]
    assert second["mean"] == pytest.approx(sum(values) / 3)
    others = [done.runs[f"lr-0.1_seed-{seed}"].final["accuracy"] for seed in (4, 5, 6)]
    assert second["difference"] == pytest.approx(sum(a - b for a, b in zip(values, others, strict=True)) / 3)
    assert first["difference"] is None and first["epsilon"] is None
    assert isinstance(first["auc"], float) and isinstance(first["seconds"], float)


def test_it_says_what_it_found(done: Sweep) -> None:
    assert repr(done).startswith(f"<Sweep {done.name}: finished, 6 of 6 runs, 2 cells>\n  local.lr=0.1  accuracy 0.")
    assert "n = 3" in repr(done)
    assert "<iframe" in done._repr_html_()


def test_it_reads_the_same_from_its_folder(done: Sweep) -> None:
    assert Sweep(str(done.path)).table == done.table
    assert done.report == done.path / "report.html" and done.report.exists()


def test_a_report_that_is_drawn_again_is_the_same(done: Sweep) -> None:
    before = done.report.read_bytes()
    done.report.unlink()
    assert Sweep(done.path).draw().read_bytes() == before


def test_the_door_is_the_function_also_after_the_package_was_imported() -> None:
    import hedgerow.simulations.sweeps.running

    assert hedgerow.sweep is hedgerow.simulations.sweep is hedgerow.simulations.sweeps.running.sweep
