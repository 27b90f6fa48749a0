"""A red team on disk: everything follows from one file, and a change of it is noticed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hedgerow import Job, Scenario
from hedgerow.aggregation import register_rule, registry
from hedgerow.errors import Exhausted, Misconfigured, Tampered
from hedgerow.simulations.redteam.battery import battery
from hedgerow.simulations.redteam.defences import Defence
from hedgerow.simulations.redteam.folder import RedTeamFolder, list_red_teams
from hedgerow.simulations.redteam.gate import Gate


@pytest.fixture
def folder(tmp_path: Path, job: Job, scenario: Scenario) -> RedTeamFolder:
    return RedTeamFolder(
        path=tmp_path,
        job=job,
        scenario=scenario,
        attacks=battery(scenario, ["sign-flip:4", "label-flip"]),
        defences=tuple(map(Defence.parse, ("median", "nnm|trimmed-mean|local.epochs=2"))),
        f=(1, 2),
        sites={"iid": 5, "dirichlet:0.5": 5},
        seeds=2,
        gates=(Gate.parse("worst.accuracy >= 0.5"),),
        recommends=True,
        engine="auto",
        task="halves",
        command="hedgerow attack .",
    ).write(tmp_path)


def test_what_is_read_is_what_was_written(tmp_path: Path, folder: RedTeamFolder) -> None:
    assert RedTeamFolder.open(folder.path) == folder
    assert list_red_teams(tmp_path) == [folder]
    assert folder.name.endswith("-halves-attack")


@pytest.mark.parametrize("key", ["seeds", "f", "defences", "attacks", "gates", "job", "sites"])
def test_a_change_is_noticed(folder: RedTeamFolder, key: str) -> None:
    file = folder.path / "redteam.json"
    record = json.loads(file.read_bytes())
    changed = {
        "seeds": 3,
        "f": [1],
        "defences": ["median"],
        "attacks": ["gaussian"],
        "gates": [],
        "job": {**record["job"], "rounds": 9},
        "sites": [["iid", 5]],
    }
    file.write_text(json.dumps({**record, key: changed[key]}))
    with pytest.raises(Tampered) as caught:
        RedTeamFolder.open(folder.path)
    assert caught.value.code == "E401"


@pytest.mark.parametrize(
    ("text", "code"), [("{", "E113"), ("{}", "E113"), ('{"schema_version": 1}', "E113"), (None, "E112")]
)
def test_what_is_no_red_team_is_said_to_be_none(tmp_path: Path, text: str | None, code: str) -> None:
    (tmp_path / "other").mkdir()
    if text is not None:
        (tmp_path / "other" / "redteam.json").write_text(text)
    with pytest.raises(Misconfigured) as caught:
        RedTeamFolder.open(tmp_path / "other")
    assert caught.value.code == code


def test_one_process_holds_it(folder: RedTeamFolder) -> None:
    with folder.lock(), pytest.raises(Exhausted) as caught, folder.lock():
        pass
    assert caught.value.code == "E506"


def test_a_rule_of_ones_own_is_read_back_without_the_task_that_registers_it(
    tmp_path: Path, folder: RedTeamFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_rules", own := dict(registry._rules))
    monkeypatch.setattr(registry, "RULES", own)
    monkeypatch.setattr(registry, "_owners", {})
    register_rule("only-here", needs=lambda f: 3 * f)(lambda rows, f: rows[0])
    defences = tuple(map(Defence.parse, ("median", "nnm|only-here|local.epochs=2")))
    mine = replace(folder, defences=defences).write(tmp_path, "mine")
    del own["only-here"]
    found = RedTeamFolder.open(mine.path)
    assert found == mine and [cell.name for cell in found.cells] == [cell.name for cell in mine.cells]
    assert [case.unfit for case in found.cases] == [case.unfit for case in mine.cases]
    assert any("needs 6 updates" in case.unfit for case in found.cases)
    assert [each.name for each in list_red_teams(tmp_path)] == [folder.name, "mine"]
