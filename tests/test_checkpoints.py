"""Tests of hedgerow.checkpoints: a line a round, what is remembered between saves, and who else writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedgerow.checkpoints import Checkpoints
from hedgerow.update import Layout, Vector

LAYOUT = Layout(names=("w", "b"), shapes=((2, 2), (2,)))


def model(number: float) -> Vector:
    return np.arange(LAYOUT.size, dtype=np.float32) + np.float32(number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def opened(path: Path) -> Checkpoints:
    return Checkpoints(path, durable=False)


def save(checkpoints: Checkpoints, number: int, value: float | None = None) -> str:
    return checkpoints.save(number, LAYOUT, model(number if value is None else value), {"m": model(-number)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.booleans()), min_size=1, max_size=5))
def test_after_any_saves_and_returns_every_reader_sees_the_rounds_that_count(
    path: Path, stretches: list[tuple[int, int, bool]]
) -> None:
    """Each stretch: go on from a round, or go back to it, for some rounds, maybe in another process."""
    (path / "manifest.jsonl").unlink(missing_ok=True)
    writer, expected = opened(path), dict[int, str]()
    for at, (back_to, rounds, anew) in enumerate(stretches):
        writer = opened(path) if anew else writer
        start = min(back_to, max(expected, default=-1) + 1)
        expected = {number: name for number, name in expected.items() if number < start}
        for number in range(start, start + rounds):
            expected[number] = save(writer, number, 100 * at + number)
            assert writer.rounds() == opened(path).rounds() == expected
            found = opened(path).latest()
            assert found is not None and found[1].round == number and found[1].model_sha256 == expected[number]
            assert found[1].state["m"].tolist() == model(-number).tolist()


def test_a_round_adds_its_line_and_writes_nothing_else_again(path: Path) -> None:
    checkpoints = opened(path)
    save(checkpoints, 0)
    manifest = path / "manifest.jsonl"
    file, lines = manifest.stat().st_ino, [manifest.read_bytes()]
    for number in range(1, 30):
        save(checkpoints, number)
        lines.append(manifest.read_bytes())
    assert manifest.stat().st_ino == file
    assert all(after.startswith(before) for before, after in zip(lines, lines[1:], strict=False))
    assert max(len(after) - len(before) for before, after in zip(lines, lines[1:], strict=False)) < 200


def test_another_layout_makes_another_manifest(path: Path) -> None:
    checkpoints, wider = opened(path), Layout(names=("w",), shapes=((7,),))
    first = save(checkpoints, 0)
    second = checkpoints.save(1, wider, np.ones(7, np.float32), {})
    found = opened(path).latest()
    assert found is not None and found[0] == wider
    assert opened(path).rounds() == {0: first, 1: second}


def test_what_another_writer_did_in_between_is_noticed(path: Path) -> None:
    one, other = opened(path), opened(path)
    names = [save(writer, number) for number, writer in enumerate((one, one, other, one, other, one))]
    assert opened(path).rounds() == dict(enumerate(names))


def test_an_announcement_that_fails_leaves_the_round_uncounted(path: Path) -> None:
    checkpoints = opened(path)
    first = save(checkpoints, 0)

    def refuse(sha256: str) -> None:
        raise ValueError("the event log is full")

    with pytest.raises(ValueError):
        checkpoints.save(1, LAYOUT, model(1), {}, announce=refuse)
    assert checkpoints.rounds() == opened(path).rounds() == {0: first}
    second = save(checkpoints, 1)
    assert checkpoints.rounds() == {0: first, 1: second}
