"""Processes are stopped whatever they do, and whatever happens to the process that started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hedgerow.errors import Exhausted, HedgerowError
from hedgerow.simulations.local.keeper import keep
from hedgerow.simulations.local.processes import Process, Processes, free_port, marked_processes

Running = Callable[[int], bool]
PYTHON = [os.path.realpath(sys.executable), "-ISs", "-c"]
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT = """
import subprocess, time
child = subprocess.Popen(["/bin/sh", "-c", "sleep 600"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def processes(tmp_path: Path, grace: float = 10.0) -> Processes:
    return Processes(logs=tmp_path / "logs", environment=dict(os.environ), grace=grace)


def test_children_and_grandchildren_in_sessions_of_their_own_are_stopped(tmp_path: Path, running: Running) -> None:
    with processes(tmp_path) as crew:
        parent = crew.start("parent", [*PYTHON, PARENT], stage="one")
        until(parent.tail)
        child = int(parent.tail()[0])
        assert running(child)
    assert not running(parent.popen.pid) and not running(child)
    assert marked_processes(crew.mark) == ()


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path, running: Running) -> None:
    with processes(tmp_path, grace=0.2) as crew:
        stubborn = crew.start("stubborn", [*PYTHON, STUBBORN], stage="one")
        until(stubborn.tail)
    assert stubborn.popen.returncode == -signal.SIGKILL and not running(stubborn.popen.pid)


def test_the_stage_started_last_is_stopped_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    body = """
import os, signal, sys, time
def end(number, frame):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2])
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""
    with processes(tmp_path) as crew:
        for stage in ("server", "sites", "run"):
            until(crew.start(stage, [*PYTHON, body, str(order), stage[0]], stage=stage).tail)
    assert order.read_text(encoding="utf-8") == "rss"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_passes_through_and_leaves_nothing(
    tmp_path: Path, running: Running, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        with processes(tmp_path) as crew:
            parent = crew.start("parent", [*PYTHON, PARENT], stage="one")
            until(parent.tail)
            raise error
    assert not running(parent.popen.pid) and not running(int(parent.tail()[0]))


def test_processes_of_a_killed_owner_are_ended_by_the_keeper(tmp_path: Path, running: Running) -> None:
    owner_code = f"""
import os, pathlib, signal, sys, time
from hedgerow.simulations.local.processes import Processes
crew = Processes(logs=pathlib.Path({str(tmp_path)!r}), environment=dict(os.environ))
with crew:
    process = crew.start("parent", {[*PYTHON, PARENT]!r}, stage="one")
    while not process.tail():
        time.sleep(0.02)
    print(crew.mark, process.popen.pid, process.tail()[0], flush=True)
    time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", owner_code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    mark, *pids = owner.stdout.readline().split()
    assert all(running(int(pid)) for pid in pids)
    owner.kill()
    owner.communicate()
    until(lambda: not marked_processes(mark))
    assert not any(running(int(pid)) for pid in pids)


def test_the_keeper_ends_only_what_carries_the_mark(tmp_path: Path, running: Running) -> None:
    with processes(tmp_path / "a") as ours, processes(tmp_path / "b") as others:
        mine = ours.start("p", [*PYTHON, PARENT], stage="one")
        other = others.start("p", [*PYTHON, PARENT], stage="one")
        until(lambda: mine.tail() and other.tail())
        keep([f"{mine.popen.pid}\n"], ours.mark)
        until(lambda: mine.ended)
        assert not running(int(mine.tail()[0]))
        assert running(other.popen.pid) and running(int(other.tail()[0]))


def test_an_early_end_is_told_with_the_last_words(tmp_path: Path) -> None:
    with processes(tmp_path) as crew:
        body = "print('\\x1b[31mstarting\\x1b[0m\\n\\nno memory'); raise SystemExit(3)"
        process = crew.start("site-0", [*PYTHON, body], stage="sites", label="site 'north'")
        until(lambda: process.ended)
        assert crew.ended("sites") == (process,) and crew.ended("server") == ()
    error = process.early_end()
    assert error.code == "E902" and "site 'north' ended with exit status 3" in error.message
    assert error.hint == "it said last:\n  starting\n  no memory" and error.place.endswith("site-0.log")


def test_lines_are_relayed_and_logged_also_the_last_one_without_an_end(tmp_path: Path) -> None:
    lines: list[str] = []
    with processes(tmp_path) as crew:
        process = crew.start("p", [*PYTHON, "print('a\\n\\x1b[1mb', end='')"], stage="one", on_line=lines.append)
        until(lambda: process.ended and process.drained)
    assert lines == ["a", "b"] and process.text() == "a\nb"


def test_logs_which_may_quote_a_record_are_the_owner_s_alone(tmp_path: Path) -> None:
    with processes(tmp_path) as crew:
        assert crew.logs.stat().st_mode & 0o077 == 0


def test_a_command_that_does_not_exist_and_logs_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    with processes(tmp_path) as crew:
        with pytest.raises(HedgerowError, match="E902"):
            crew.start("ghost", [tmp_path / "ghost"], stage="one")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Exhausted, match="E504"):
        with Processes(logs=tmp_path / "file" / "logs", environment={}):
            pass


def test_a_second_interrupt_while_stopping_still_leaves_nothing(
    tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        with processes(tmp_path) as crew:
            stubborn = crew.start("stubborn", [*PYTHON, STUBBORN], stage="one")
            until(stubborn.tail)

            def interrupted(group: list[Process]) -> None:
                raise KeyboardInterrupt

            monkeypatch.setattr(crew, "_end", interrupted)
    assert not running(stubborn.popen.pid)


def test_free_ports_are_on_loopback_and_can_be_used() -> None:
    ports = {free_port() for _ in range(5)}
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
    assert all(1024 <= port <= 65535 for port in ports)


def test_stopping_twice_does_nothing_more(tmp_path: Path) -> None:
    with processes(tmp_path) as crew:
        first = crew.start("p", [*PYTHON, STUBBORN.replace("SIG_IGN", "SIG_DFL")], stage="one")
        crew.stop()
        crew.stop()
        assert first.popen.returncode is not None
