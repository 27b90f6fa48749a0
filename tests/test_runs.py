"""Tests of hedgerow.runs: nothing half-written, nothing believed that was changed, one process at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hedgerow.checkpoints
from hedgerow.errors import Exhausted, HedgerowError, Misconfigured, Tampered
from hedgerow.job import Job, Privacy, Secure
from hedgerow.runs import RunFolder, list_runs
from hedgerow.scenario import Scenario
from hedgerow.update import Layout, Vector

LAYOUT = Layout(names=("w", "b", "scale"), shapes=((2, 3), (2,), ()))
JOB = Job(privacy=Privacy(unit="none"), secure=Secure(mode="off"))


def model(number: float) -> Vector:
    return np.arange(LAYOUT.size, dtype=np.float32) + np.float32(number)


def memory(number: float) -> dict[str, np.ndarray]:
    return {"m": model(number) * 2, "declared.a": np.array([7], np.int64)}


def made(parent: Path, name: str | None = None, scenario: Scenario | None = None) -> RunFolder:
    return RunFolder.create(parent, job=JOB, scenario=scenario, engine="in-process", task="Digits & co.", name=name)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return made(tmp_path, "a")


def latest(folder: RunFolder) -> Any:
    found = folder.latest()
    assert found is not None
    return found


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_a_run_opens_as_it_was_made(tmp_path: Path) -> None:
    for name, scenario in (("a", None), ("b", Scenario(sites=3, attack="gaussian", attackers=1, seed=5))):
        folder = made(tmp_path, name, scenario)
        assert RunFolder.open(folder.path) == folder
    assert [run.name for run in list_runs(tmp_path)] == ["a", "b"]


def test_runs_of_the_same_second_get_names_of_their_own(tmp_path: Path) -> None:
    names = {made(tmp_path).name for _ in range(5)}
    assert len(names) == 5
    assert all("digits-co" in name for name in names)


@pytest.mark.parametrize("task", ["", "…", "a" * 1000])
def test_any_tasks_name_makes_a_folder(tmp_path: Path, task: str) -> None:
    folder = RunFolder.create(tmp_path, job=JOB, scenario=None, engine="ray", task=task)
    assert RunFolder.open(folder.path).task == task


def test_a_name_that_exists_is_refused(folder: RunFolder) -> None:
    with pytest.raises(Misconfigured) as caught:
        made(folder.path.parent, "a")
    assert caught.value.code == "E115"


@pytest.mark.parametrize("name", ["../a", "a/b", "/tmp/a", ".", "..", "a\0b", ".hidden", "a" * 200, "a\n"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        made(tmp_path / "runs", name)
    assert caught.value.code == "E103"
    assert not files(tmp_path)


def test_a_run_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "file"):
        with pytest.raises(Misconfigured) as caught:
            RunFolder.open(path)
        assert caught.value.code == "E112"


JUNK: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"3",
    b"\xff",
    b"{}",
    b'{"schema_version": 1}',
    b'{"schema_version": 2}',
    b'{"schema_version": 2, "job": 3}',
    b'{"schema_version": 2, "job": {"rounds": 3}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", JUNK)
def test_a_job_file_from_elsewhere_is_e113_and_is_passed_over_in_lists(folder: RunFolder, content: bytes) -> None:
    other = made(folder.path.parent, "b")
    (folder.path / "job.json").write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        RunFolder.open(folder.path)
    assert caught.value.code == "E113"
    assert list_runs(folder.path.parent) == [other]


@given(key=st.sampled_from(["job", "job_digest", "scenario", "engine", "task", "project"]), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_junk_in_any_field_never_raises_anything_else(folder: RunFolder, key: str, data: st.DataObject) -> None:
    record = json.loads((made(folder.path.parent).path / "job.json").read_text())
    record[key] = data.draw(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()))
    (folder.path / "job.json").write_text(json.dumps(record))
    try:
        RunFolder.open(folder.path)
    except (Misconfigured, Tampered):
        return


def test_a_job_that_was_changed_is_tampered(folder: RunFolder) -> None:
    path = folder.path / "job.json"
    path.write_text(path.read_text().replace('"rounds": 10', '"rounds": 99'))
    with pytest.raises(Tampered) as caught:
        RunFolder.open(folder.path)
    assert caught.value.code == "E401"
    assert list_runs(folder.path.parent) == []


def test_a_checkpoint_comes_back_bit_by_bit(folder: RunFolder) -> None:
    assert folder.latest() is None
    assert folder.rounds() == {}
    values = model(0)
    values[:4] = [-0.0, 1e-45, 3e38, np.nan]
    sha256 = folder.save(1, LAYOUT, values, memory(1))
    layout, checkpoint = latest(RunFolder.open(folder.path))
    assert layout == LAYOUT
    assert (checkpoint.round, checkpoint.model_sha256) == (1, sha256)
    assert checkpoint.model.tobytes() == values.tobytes()
    assert {name: value.tobytes() for name, value in checkpoint.state.items()} == {
        name: value.tobytes() for name, value in memory(1).items()
    }
    assert folder.rounds() == {1: sha256}


def test_views_and_reversed_arrays_are_saved_as_they_read(folder: RunFolder) -> None:
    values = np.arange(2 * LAYOUT.size, dtype=np.float32)[::-2]
    folder.save(1, LAYOUT, values, {"m": np.arange(6.0)[::-1], "t": np.arange(6).reshape(2, 3).T})
    _, checkpoint = latest(folder)
    assert checkpoint.model.tolist() == values.tolist()
    assert checkpoint.state["m"].tolist() == [5, 4, 3, 2, 1, 0]
    assert checkpoint.state["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_equal_models_have_one_file_and_one_name(folder: RunFolder) -> None:
    names = {folder.save(number, LAYOUT, model(0), {}) for number in (0, 1, 2)}
    assert len(names) == 1
    assert len(list((folder.path / "models").iterdir())) == 1


def test_a_round_done_again_replaces_itself_and_what_followed(folder: RunFolder) -> None:
    for number in range(4):
        folder.save(number, LAYOUT, model(number), {})
    folder.save(2, LAYOUT, model(9), {})
    assert sorted(folder.rounds()) == [0, 1, 2]
    assert latest(folder)[1].model.tolist() == model(9).tolist()


@pytest.mark.parametrize("which", ["model", "state"])
def test_a_flipped_byte_anywhere_is_tampered(folder: RunFolder, which: str) -> None:
    folder.save(1, LAYOUT, model(1), memory(1))
    entry = json.loads((folder.path / "manifest.jsonl").read_text().splitlines()[-1])
    path = folder.path / "models" / f"{entry[which]}.safetensors"
    whole = path.read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Tampered) as caught:
            folder.latest()
        assert (caught.value.code, caught.value.place) == ("E401", str(path))
    path.unlink()
    with pytest.raises(Tampered):
        folder.latest()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_a_manifest_cut_anywhere_is_tampered_or_ends_with_an_earlier_round(
    folder: RunFolder, data: st.DataObject
) -> None:
    """A line that was cut counts for nothing, and nothing is written on behind it."""
    path = folder.path / "manifest.jsonl"
    path.unlink(missing_ok=True)
    for number in range(3):
        folder.save(number, LAYOUT, model(number), {})  # states of rounds long past are gone
    whole = path.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(cut)
    left = cut.count(b"\n") - 1  # rounds
    if left < 1:
        for use in (folder.latest, folder.rounds, lambda: folder.save(3, LAYOUT, model(3), {})):
            with pytest.raises(Tampered) as caught:
                use()
            assert caught.value.code == "E401"
    else:
        assert latest(folder)[1].round == left - 1
        folder.save(left, LAYOUT, model(9), {})
        assert sorted(folder.rounds()) == list(range(left + 1))
        assert latest(RunFolder.open(folder.path))[1].model.tolist() == model(9).tolist()


CHANGES = [
    ({"schema_version": 1}, "E113"),
    ({"schema_version": 3}, "E113"),
    ({"schema_version": None}, "E113"),
    ({"rounds": []}, "E401"),
    ({"rounds": [3]}, "E401"),
    ({"rounds": [{}]}, "E401"),
    ({"rounds": [{"round": "1", "model": "a", "state": ""}]}, "E401"),
    ({"rounds": [{"round": 1, "model": "../../a", "state": ""}]}, "E401"),
    ({"rounds": [{"round": 1, "model": 3, "state": ""}]}, "E401"),
    ({"names": ["w", "b"]}, "E401"),
    ({"names": ["w", "b", "other"]}, "E401"),
    ({"names": 3}, "E401"),
    ({"shapes": [[3, 2], [2], []]}, "E401"),
    ({"shapes": [[2, "3"], [2], []]}, "E401"),
    ({"shapes": [6, [2], []]}, "E401"),
]


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_a_manifest_from_elsewhere_is_refused_by_code(folder: RunFolder, change: dict[str, Any], code: str) -> None:
    folder.save(1, LAYOUT, model(1), {})
    manifest = folder.path / "manifest.jsonl"
    header, *lines = map(json.loads, manifest.read_text().splitlines())
    told = {**header, "rounds": lines, **change}
    rounds = told.pop("rounds")
    manifest.write_text("".join(json.dumps(line) + "\n" for line in [told, *rounds]))
    with pytest.raises(HedgerowError) as caught:
        folder.latest()
    assert caught.value.code == code


def test_a_run_with_the_manifest_of_an_earlier_version_is_refused_and_left_as_it_is(folder: RunFolder) -> None:
    folder.save(1, LAYOUT, model(1), {})
    header, *rounds = map(json.loads, (folder.path / "manifest.jsonl").read_text().splitlines())
    (folder.path / "manifest.jsonl").unlink()
    (folder.path / "manifest.json").write_text(json.dumps({**header, "schema_version": 1, "rounds": rounds}))
    files = sorted(folder.path.rglob("*"))
    for again in (folder, RunFolder.open(folder.path)):
        for use in (again.latest, again.rounds, lambda again=again: again.save(2, LAYOUT, model(2), {})):
            with pytest.raises(Misconfigured) as caught:
                use()
            assert caught.value.code == "E113"
    assert sorted(folder.path.rglob("*")) == files


def test_a_manifest_from_elsewhere_deletes_nothing_outside_its_folder(folder: RunFolder) -> None:
    """Old states are deleted by the name that the manifest gives them."""
    victim = folder.path.parent / "victim.safetensors"
    victim.touch()
    for number in range(1, 5):
        folder.save(number, LAYOUT, model(number), {})
    path = folder.path / "manifest.jsonl"
    header, *rounds = map(json.loads, path.read_text().splitlines())
    rounds[-2]["state"] = "../../victim"
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *rounds)))
    for number in (5, 6):
        with pytest.raises(Tampered):
            folder.save(number, LAYOUT, model(number), {})
    assert victim.exists()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_pruning_never_takes_what_a_resume_needs(tmp_path: Path, states: list[int], again: int) -> None:
    """Rounds may share a state or a model, and a run may go back: after every save the latest checkpoint is whole."""
    folder = made(tmp_path)
    for number, state in [*enumerate(states), *list(enumerate(states))[min(again, len(states) - 1) :]]:
        folder.save(number, LAYOUT, model(state), memory(state))
        _, checkpoint = latest(folder)
        assert checkpoint.round == number
        assert checkpoint.model.tolist() == model(state).tolist()
        assert checkpoint.state["m"].tolist() == memory(state)["m"].tolist()


def test_a_state_that_is_also_a_model_is_not_pruned(folder: RunFolder) -> None:
    as_state = dict(LAYOUT.split(model(0)))
    for number in range(6):
        folder.save(number, LAYOUT, model(0), as_state if number == 0 else memory(number))
        assert latest(folder)[1].model.tolist() == model(0).tolist()


def test_old_optimiser_states_go_and_the_models_stay(folder: RunFolder) -> None:
    for number in range(10):
        folder.save(number, LAYOUT, model(number), memory(number))
    kept = {path.stem for path in (folder.path / "models").iterdir()}
    assert set(folder.rounds().values()) <= kept
    assert len(kept) == 10 + 2


def test_when_space_is_short_the_first_and_the_last_three_models_stay(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedgerow.checkpoints, "KEPT_BYTES", 1)
    for number in range(20):
        folder.save(number, LAYOUT, model(number), {})
    rounds = folder.rounds()
    assert sorted(rounds) == list(range(20))
    kept = {path.stem for path in (folder.path / "models").iterdir()}
    assert kept == {rounds[number] for number in (0, 17, 18, 19)}
    assert latest(folder)[1].round == 19


def test_only_as_many_models_go_as_space_needs(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.save(0, LAYOUT, model(0), {})
    (file,) = (folder.path / "models").iterdir()
    monkeypatch.setattr(hedgerow.checkpoints, "KEPT_BYTES", 15 * file.stat().st_size)
    for number in range(1, 20):
        folder.save(number, LAYOUT, model(number), {})
    kept = {path.stem for path in (folder.path / "models").iterdir()}
    assert [number for number, name in folder.rounds().items() if name not in kept] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("writes", range(3))
@pytest.mark.parametrize("room", [None, 0, 30])
def test_a_full_disk_at_any_write_of_a_save_keeps_the_previous_checkpoint(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, writes: int, room: int | None
) -> None:
    """A save writes the model, the state and a line of the manifest; the disk is full after `writes` of them.

    With `room` for some bytes of the line, the system writes as many.
    """
    folder.save(1, LAYOUT, model(1), memory(1))
    done: list[str] = []
    replace, write = os.replace, os.write

    def full_replace(source: str, target: str) -> None:
        if len(done) == writes:
            raise OSError(errno.ENOSPC, "full")
        done.append(target)
        replace(source, target)

    def full_write(file: int, data: bytes) -> int:
        if room is None:
            raise OSError(errno.ENOSPC, "full")
        return write(file, data[:room])

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_replace)
        patch.setattr(os, "write", full_write)
        with pytest.raises(Exhausted) as caught:
            folder.save(2, LAYOUT, model(2), memory(2))
    assert len(done) == writes
    assert caught.value.code == "E503"
    assert "resume" in caught.value.hint
    assert latest(folder)[1].round == latest(RunFolder.open(folder.path))[1].round == 1
    assert not [file for file in files(folder.path) if file.endswith(".tmp")]
    folder.save(2, LAYOUT, model(2), memory(2))
    assert latest(folder)[1].model.tolist() == model(2).tolist()


def test_a_folder_that_cannot_be_written_is_a_clear_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Exhausted) as caught:
        made(tmp_path / "file")
    assert (caught.value.code, caught.value.place) == ("E504", str(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_clear_stop(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exhausted) as caught:
        made(tmp_path)
    assert caught.value.code == "E504"


def test_a_run_whose_models_are_gone_can_be_listed_but_not_saved(folder: RunFolder) -> None:
    shutil.rmtree(folder.path / "models")
    assert list_runs(folder.path.parent) == [folder]
    with pytest.raises(Exhausted):
        folder.save(1, LAYOUT, model(1), {})


def test_a_second_holder_is_refused_at_once_and_the_next_one_is_not(folder: RunFolder) -> None:
    with folder.lock(), pytest.raises(Exhausted) as caught, folder.lock():
        pass
    assert caught.value.code == "E506"
    with pytest.raises(ValueError), folder.lock():
        raise ValueError("the run failed")
    with folder.lock():
        pass


def test_a_lock_is_held_across_processes_and_a_kill_releases_it(folder: RunFolder) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from hedgerow.runs import RunFolder
        with RunFolder.open(Path(sys.argv[1])).lock():
            print("held", flush=True)
            sys.stdin.readline()
    """)
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(Exhausted) as caught, folder.lock():
            pass
        assert caught.value.code == "E506"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=30)
    with folder.lock():
        pass


def test_a_folder_without_runs_has_none(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "job.json").mkdir()
    assert list_runs(tmp_path) == []
    assert list_runs(tmp_path / "nothing") == []
