"""Small projects in a folder, and the command line in this process."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hedgerow.cli import main

PYPROJECT = """[project]
name = "tiny"
version = "0.1.0"

[tool.flwr.app]
publisher = "me"

[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"

[tool.flwr.app.config]
rounds = 3
privacy.unit = "record"
privacy.epsilon = 3.0
privacy.delta = 1e-3
aggregate.byzantine = 1
cohort.quorum = 3
secure.mode = "off"
{job}
[tool.hedgerow.scenario]
sites = 5
split = "iid"
{scenario}
"""
APP = """from data import task

from hedgerow.client import client_app
from hedgerow.server import server_app

server = server_app(task)
client = client_app(task)
"""
DATA = """import numpy as np
import torch

from hedgerow import Data, Split, Task


def draw(seed, n):
    x = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64))


class Tiny(Task):
    name = "tiny"
    labels = ("in", "out")

    def model(self):
        return torch.nn.Linear(2, 2)

    def data(self, site):
        return Data(draw(site.index, 40), draw(100 + site.index, 4))

    def held_out(self):
        return draw(999, 50)

"""

MakeProject = Callable[..., Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command printed and how it ended."""

    exit_code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON line on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        envelope: dict[str, Any] = json.loads(lines[0])
        assert envelope["schema_version"] == 1
        assert envelope["exit_code"] == self.exit_code
        assert set(envelope) == {"schema_version", "status", "exit_code", "error" if self.exit_code else "data"}
        return envelope

    @property
    def data(self) -> dict[str, Any]:
        assert self.envelope["status"] == "ok", self.out
        return dict(self.envelope["data"])

    @property
    def error(self) -> dict[str, Any]:
        assert self.envelope["status"] == "error"
        return dict(self.envelope["error"])


Hedgerow = Callable[..., Answer]


@pytest.fixture(autouse=True)
def in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in a folder of their own, and leave no project on the path of the next."""
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path


@pytest.fixture
def hedgerow(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hedgerow:
    """`hedgerow("sim", "tiny", "--json")`, in this process."""
    import signal

    handler = signal.getsignal(signal.SIGINT)

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["hedgerow", *words])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, handler)
        out, err = capfd.readouterr()
        return Answer(exit_code=code, out=out, err=err)

    return run


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """`project(job=…, scenario=…, code=…, replace={…})`: a project with five sites of 40 points in the plane.

    `code` follows the class `Tiny` in data.py and may define another `task`.
    """

    def make(
        name: str = "tiny",
        *,
        job: str = "",
        scenario: str = "",
        code: str = "",
        replace: Mapping[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        text = PYPROJECT.format(job=job, scenario=scenario)
        for old, new in (replace or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
        (folder / "app.py").write_text(APP, encoding="utf-8")
        ready = "" if "task =" in code else "\ntask = Tiny()\n"
        (folder / "data.py").write_text(DATA + code + ready, encoding="utf-8")
        return folder

    return make
