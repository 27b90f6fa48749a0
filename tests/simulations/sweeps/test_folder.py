"""A sweep on disk: what was written comes back, and what was changed since is noticed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hedgerow import Job, Scenario
from hedgerow.aggregation import register_rule, registry
from hedgerow.errors import Exhausted, Misconfigured, Tampered
from hedgerow.simulations.sweeps.folder import SweepFolder, list_sweeps
from hedgerow.simulations.sweeps.record import definition_digest


@pytest.fixture
def written(tmp_path: Path, job: Job, scenario: Scenario) -> SweepFolder:
    planned = SweepFolder(
        path=tmp_path,
        job=job,
        scenario=scenario,
        grid={"rounds": (1, 2), "local.lr": (0.1, 0.5)},
        seeds=2,
        engine="auto",
        task="Größe 3",
        project="/some/where",
        command="hedgerow sim",
    )
    return planned.write(tmp_path)


def change(folder: SweepFolder, **changes: Any) -> None:
    path = folder.path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_written_comes_back(written: SweepFolder) -> None:
    found = SweepFolder.open(written.path)
    assert found == written
    assert found.digest() == written.digest()
    assert list(found.grid) == ["rounds", "local.lr"]
    assert written.name.endswith("-gr-e-3-sweep")


def test_a_sweep_is_the_same_one_wherever_its_folder_is(written: SweepFolder, tmp_path: Path) -> None:
    written.path.rename(tmp_path / "elsewhere")
    assert SweepFolder.open(tmp_path / "elsewhere").digest() == written.digest()


@pytest.mark.parametrize(
    "changes",
    [{"seeds": 3}, {"grid": {"rounds": [1, 3], "local.lr": [0.1, 0.5]}}, {"engine": "ray"}, {"digest": "0" * 64}],
)
def test_a_sweep_that_was_changed_is_noticed(written: SweepFolder, changes: dict[str, Any]) -> None:
    change(written, **changes)
    with pytest.raises(Tampered) as caught:
        SweepFolder.open(written.path)
    assert caught.value.code == "E401"
    assert list_sweeps(written.path.parent) == []


@pytest.mark.parametrize(
    "changes", [{"schema_version": 99}, {"grid": {"round": [1]}}, {"job": {}}, {"seeds": "many"}, {"grid": None}]
)
def test_a_sweep_that_cannot_be_understood_is_refused(written: SweepFolder, changes: dict[str, Any]) -> None:
    change(written, **changes)
    with pytest.raises(Misconfigured) as caught:
        SweepFolder.open(written.path)
    assert caught.value.code == "E113"


def test_a_folder_without_a_sweep_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        SweepFolder.open(tmp_path)
    assert caught.value.code == "E112"


def test_two_sweeps_of_one_second_have_two_folders(written: SweepFolder) -> None:
    again = {written.write(written.path.parent).path for _ in range(2)}
    assert len(again | {written.path}) == 3
    assert len(list_sweeps(written.path.parent)) == 3


@pytest.mark.parametrize(("name", "code"), [("mine", "E115"), ("a/b", "E103")])
def test_a_name_that_is_taken_or_is_none_is_refused(written: SweepFolder, name: str, code: str) -> None:
    written.write(written.path.parent, "mine")
    with pytest.raises(Misconfigured) as caught:
        written.write(written.path.parent, name)
    assert caught.value.code == code


def test_a_sweep_is_held_by_one_process(written: SweepFolder) -> None:
    with written.lock(), pytest.raises(Exhausted) as caught, written.lock():
        pass
    assert caught.value.code == "E506"
    with written.lock():
        pass


def test_a_setting_that_came_after_the_sweep_does_not_look_like_a_change_of_it(written: SweepFolder) -> None:
    file = written.path / "sweep.json"
    older = json.loads(file.read_bytes())
    del older["scenario"]["seed"], older["digest"]
    definition = {key: value for key, value in older.items() if key not in ("schema_version", "sweep")}
    file.write_text(json.dumps({**older, "digest": definition_digest("sweep", definition)}))
    assert SweepFolder.open(written.path).scenario.seed == Scenario().seed


def test_a_rule_of_ones_own_is_read_back_without_the_task_that_registers_it(
    tmp_path: Path, written: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_rules", own := dict(registry._rules))
    monkeypatch.setattr(registry, "RULES", own)
    monkeypatch.setattr(registry, "_owners", {})
    register_rule("only-here")(lambda rows, f: rows[0])
    mine = replace(written, grid={"aggregate.rule": ("median", "only-here")}).write(tmp_path, "mine")
    del own["only-here"]
    assert SweepFolder.open(mine.path) == mine
    assert {each.name for each in list_sweeps(tmp_path)} == {written.name, "mine"}
