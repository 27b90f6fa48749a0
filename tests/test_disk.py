"""Tests of hedgerow.disk: the old file or the new one, never half of either, and a code for the reason."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hedgerow.disk import append_whole, disk_errors, write_whole
from hedgerow.errors import Exhausted


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def failing(error: int) -> Callable[..., None]:
    def fail(*arguments: object) -> None:
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize(
    ("error", "code"), [("ENOSPC", "E503"), ("EDQUOT", "E503"), ("EROFS", "E504"), ("EIO", "E504")]
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: str, code: str
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(getattr(errno, error)))
        with pytest.raises(Exhausted) as caught:
            write_whole(path, b"new")
    assert caught.value.code == code
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == {"file"}
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_an_interrupt_in_mid_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert files(tmp_path) == {"file"}


@pytest.mark.parametrize(("error", "code"), [(errno.ENOSPC, "E503"), (errno.EACCES, "E504")])
def test_the_error_says_what_could_not_be_written_where_and_why(tmp_path: Path, error: int, code: str) -> None:
    with pytest.raises(Exhausted) as caught, disk_errors("the report", tmp_path):
        failing(error)()
    assert str(caught.value).startswith(f"{code} the report cannot be written: {os.strerror(error)} ({tmp_path})")


def test_errors_that_are_not_the_disks_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), disk_errors("the report", tmp_path):
        raise ZeroDivisionError


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_gets_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    write_whole(tmp_path / "file", b"new", mode=mode)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("room", [0, 3])
def test_what_a_full_disk_let_through_of_an_addition_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old\n")
    write = os.write
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda handle, data: write(handle, data[:room]))
            with pytest.raises(OSError) as caught:
                append_whole(file, b"new\n")
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old\n"
        append_whole(file, b"new\n")
    finally:
        os.close(file)
    assert path.read_bytes() == b"old\nnew\n"
