"""The processes of a federation on one machine: started in order, watched, and stopped in reverse, whatever happens.

Every process we start leads a process group of its own and carries a mark in its environment, which its children
inherit (Flower starts grandchildren in groups of their own, and they outlive a parent that was killed). Stopping means:
ask, wait, kill, then look for the mark and kill what is left. A keeper process does the same if this one dies without
a chance to clean up.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hedgerow.disk import disk_errors
from hedgerow.errors import Exhausted, HedgerowError

__all__ = [
    "MARKS_CAN_BE_READ",
    "Process",
    "Processes",
    "end_processes",
    "free_port",
    "marked_processes",
    "plain_text",
]

MARK = "HEDGEROW_LOCAL_RUN"
GRACE = 10.0  # Flower's own exit takes up to 5 s (its force-exit timer) and 3 s for its HTTP server
POLL = 0.05
MARKS_CAN_BE_READ = Path("/proc/self/environ").exists()
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process we started: who it is (for people, and as a file name), and where its output goes."""

    label: str
    name: str
    stage: str
    log: Path
    popen: subprocess.Popen[str]
    relay: threading.Thread | None = None

    @property
    def drained(self) -> bool:
        """Whether all of its lines have been relayed."""
        return self.relay is None or not self.relay.is_alive()

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    def text(self) -> str:
        """Everything it has written so far, without colours."""
        return plain_text(self.log.read_text(encoding="utf-8", errors="replace"))

    def tail(self, lines: int = 12) -> tuple[str, ...]:
        """The last lines it wrote that are not empty."""
        return tuple(line for line in self.text().splitlines() if line.strip())[-lines:]

    def early_end(self) -> HedgerowError:
        """What to say when it ended before its time."""
        said = "\n  ".join(("it said last:", *self.tail())) if self.tail() else "it said nothing"
        return HedgerowError(
            "E902", f"{self.label} ended with exit status {self.popen.poll()}", place=str(self.log), hint=said
        )


class Processes:
    """A context that owns processes: when it is left, for whatever reason, none of them is running any more.

    Processes are stopped stage by stage, the stage started last first; within a stage all at once. A second Ctrl-C
    while stopping skips the waiting.
    """

    def __init__(self, *, logs: Path, environment: Mapping[str, str], grace: float = GRACE) -> None:
        self.logs = logs
        self.mark = secrets.token_hex(16)
        self._environment = {**environment, MARK: self.mark}
        self._grace = grace
        self._started: list[Process] = []
        self._keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with disk_errors("the logs", self.logs):
            # A site's log holds the words of its exceptions, and those may hold a record.
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "hedgerow.simulations.local.keeper", self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        stage: str,
        label: str = "",
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Process:
        """Start a process whose output goes to `<logs>/<name>.log`, and to `on_line` too, line by line, if given.

        `on_line` is called in a thread of its own, with colours removed.

        Raises:
            Exhausted: E504 the log cannot be written. HedgerowError: E902 the command cannot be started.
        """
        log = self.logs / f"{name}.log"
        try:
            with log.open("w", encoding="utf-8") as file:
                popen = subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=file if on_line is None else subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**self._environment, **(environment or {})},
                    cwd=folder,
                    start_new_session=True,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
        except OSError as error:
            if error.filename == str(log):
                raise Exhausted("E504", f"the log cannot be written: {error.strerror}", place=str(log)) from None
            raise HedgerowError(
                "E902", f"{label or name} cannot be started: {error.strerror}", place=str(command[0])
            ) from None
        relay = None
        if on_line is not None and popen.stdout is not None:
            relay = threading.Thread(target=_relay, args=(popen.stdout, log, on_line), daemon=True)
            relay.start()
        process = Process(label=label or name, name=name, stage=stage, log=log, popen=popen, relay=relay)
        self._started.append(process)
        self._tell_keeper(str(popen.pid))
        return process

    def ended(self, stage: str) -> tuple[Process, ...]:
        """The processes of a stage that are not running any more."""
        return tuple(process for process in self._started if process.stage == stage and process.ended)

    def forget(self, process: Process) -> None:
        """Stop watching a process that has ended as it should, or that will be started again, and drop its log."""
        self._started.remove(process)
        process.log.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop everything, in reverse; calling it again does nothing."""
        groups: list[list[Process]] = []
        for process in self._started:
            if groups and groups[-1][0].stage == process.stage:
                groups[-1].append(process)
            else:
                groups.append([process])
        try:
            for group in reversed(groups):
                self._end(group)
        finally:
            for process in self._started:
                _signal_group(process, signal.SIGKILL)
                process.popen.wait()
            end_processes(self.mark, grace=0.0)
            self._started.clear()
            self._dismiss_keeper()

    def _end(self, group: Sequence[Process]) -> None:
        """Ask all of a stage to stop, and kill those that have not after the grace period."""
        for process in group:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        for process in group:
            try:
                process.popen.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.popen.wait()

    def _tell_keeper(self, line: str) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            try:
                self._keeper.stdin.write(f"{line}\n")
                self._keeper.stdin.flush()
            except BrokenPipeError:
                self._keeper = None  # somebody killed the keeper: the run itself does not need it

    def _dismiss_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.kill()  # before its input closes, which it would take for our death
            keeper.communicate()


def free_port() -> int:
    """A loopback port that the operating system says is free now. Another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_text(text: str) -> str:
    """Text without terminal colours.

    >>> plain_text("\\x1b[92mINFO\\x1b[0m ready")
    'INFO ready'
    """
    return COLOURS.sub("", text)


def marked_processes(mark: str) -> tuple[int, ...]:
    """The ids of all running processes that carry the mark, where the system tells (Linux); else none."""
    needle, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = entry.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or it is another user's
            continue
        if needle in variables:
            found.append(int(entry.parent.name))
    return tuple(sorted(set(found) - {os.getpid()}))


def end_processes(mark: str, *, grace: float) -> None:
    """Ask every marked process to stop, wait up to `grace` seconds, and kill what is left, until nothing is."""
    for process in marked_processes(mark):
        _signal(process, signal.SIGTERM if grace > 0 else signal.SIGKILL)
    deadline = time.monotonic() + grace
    while left := marked_processes(mark):
        if time.monotonic() >= deadline:
            for process in left:
                _signal(process, signal.SIGKILL)
        time.sleep(POLL)


def _relay(stream: IO[str], log: Path, on_line: Callable[[str], None]) -> None:
    """Copy lines to the log and to `on_line`, until the process and all that inherited its output have ended."""
    with stream, log.open("a", encoding="utf-8") as file:
        for line in stream:
            file.write(line)
            file.flush()
            on_line(plain_text(line.rstrip("\n")))


def _signal_group(process: Process, number: signal.Signals) -> None:
    """Signal a process and its children. Once waited for, its number may be another's: then the mark finds them."""
    if process.ended and MARKS_CAN_BE_READ:
        return
    try:
        os.killpg(process.popen.pid, number)
    except (ProcessLookupError, PermissionError):  # gone; on macOS a group of zombies gives the second
        pass


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass
