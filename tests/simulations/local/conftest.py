"""Stand-ins for Flower's commands, so that starting, watching and cleaning up are tested in a second each.

They speak as Flower 1.41 was seen to speak; `test_live.py` runs the same calls against the real ones. Each writes down
its number, words and variables, so that a test can look at what it was given and whether it is gone.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMON = """
import json, os, signal, subprocess, sys, time
words, mode = sys.argv[1:], os.environ.get("FAKE_MODE", "")
trace = os.environ["FAKE_TRACE"]

def option(name):
    return words[words.index(name) + 1] if name in words else None

def note(kind, pid):
    with open(trace, "a") as file:
        file.write(json.dumps({"kind": kind, "pid": pid, "words": words, "environment": dict(os.environ)}) + "\\n")

def seen(kind):
    return [line for line in open(trace) if json.loads(line)["kind"] == kind]

def wait(path=None):
    while not (path and os.path.exists(path)):
        time.sleep(0.02)
"""

SUPERLINK = """
import socket, ssl
note("superlink", os.getpid())
if mode == "taken" or mode == "taken-once" and len(seen("superlink")) == 1:
    sys.exit("[Errno 98] error while attempting to bind on address: address already in use")
child = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & wait"], start_new_session=True)
note("grandchild", child.pid)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(option("--ssl-certfile"), option("--ssl-keyfile"))
with socket.create_server((option("--host"), int(option("--port")))) as server:
    while True:
        try:
            context.wrap_socket(server.accept()[0], server_side=True).close()
        except OSError:
            pass
"""

SUPERNODE = """
import tomllib
note("site", os.getpid())
told = tomllib.load(open(option("--node-config"), "rb"))
note("told " + json.dumps(told), os.getpid())
print("\\x1b[92mINFO \\x1b[0m:      SuperNode ID: 77", flush=True)
if mode == "site-dies" and told["partition-id"] == 1:
    wait(trace + ".running")
    sys.exit("out of memory")
wait()
"""

FLWR = """
if words[0] == "supernode":
    note("register", os.getpid())
    sys.exit("bad key" if mode == "no-register" else 0)
if words[0] == "ls":
    status = {"app-fails": "finished:failed", "stream-breaks": "running"}.get(mode, "finished:completed")
    print(json.dumps({"success": True, "runs": [{"status": status, "status-details": "ValueError"}]}))
    sys.exit(0)
note("run", os.getpid())
if mode == "refuses":
    sys.exit("\\u256d\\u2500 Error \\u2500\\u256e\\n\\u2502 no such key \\u2502")
open(trace + ".running", "w").close()
print("Using SuperLink: lab", "Successfully started run 42", sep="\\n")
print("\\x1b[92mINFO \\x1b[0m:      [ROUND 1/1]", flush=True)
if mode in ("waits", "site-dies"):
    wait(trace + ".go-on")
print("last line", end="", flush=True)
"""

Trace = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def fake_flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    """Put the stand-ins where the interpreter's commands are looked for; returns what they wrote down."""
    commands, trace = tmp_path / "commands", tmp_path / "trace.jsonl"
    commands.mkdir()
    for name, body in {"flower-superlink": SUPERLINK, "flower-supernode": SUPERNODE, "flwr": FLWR}.items():
        (commands / name).write_text(f"#!{os.path.realpath(sys.executable)} -ISs\n{COMMON}{body}", encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setattr("hedgerow.simulations.local.federation.interpreter_commands", lambda: commands)
    monkeypatch.setenv("FAKE_TRACE", str(trace))
    return lambda: [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A Flower app folder that nothing loads."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        """
[project]
name = "tiny"
version = "1.0.0"

[tool.flwr.app]
publisher = "nobody"

[tool.flwr.app.components]
serverapp = "tiny:server"
clientapp = "tiny:client"

[tool.flwr.app.config]  # what a run may change
rounds = 2
privacy.epsilon = 3.0
""",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Whether a process still runs. One that ended but was not yet collected by its parent does not run."""

    def answer(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False

    return answer
