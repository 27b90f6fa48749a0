"""A Flower app folder: its references, its settings, and what Hedgerow knows about it."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar, dotted, nearest
from hedgerow.task import Task
from hedgerow.tomlfile import read_toml, table

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

__all__ = ["Project"]

SECTIONS = ("scenario",)  # of [tool.hedgerow]
_opened: set[Path] = set()  # the project whose modules this process has imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder with a `pyproject.toml` that has `[tool.flwr.app.components]`."""

    folder: Path
    tree: Mapping[str, Any]
    server: str
    client: str

    @classmethod
    def open(cls, path: str | Path) -> Project:
        """Read a project.

        Raises:
            Misconfigured: E110 no folder or no pyproject.toml, E111 not TOML or not a Flower app, E101 a section under
                [tool.hedgerow] that is not known.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise Misconfigured("E110", f"there is no folder '{path}'", hint="make a project with: hedgerow new NAME")
        if not (folder / "pyproject.toml").exists():
            raise Misconfigured(
                "E110",
                "there is no pyproject.toml in the project's folder",
                place=str(folder),
                hint="name the project's folder, or make one with: hedgerow new NAME",
            )
        tree = read_toml(folder / "pyproject.toml")
        components = table(tree, "tool", "flwr", "app", "components")
        server, client = components.get("serverapp"), components.get("clientapp")
        if not isinstance(server, str) or not isinstance(client, str):
            raise Misconfigured(
                "E111",
                "pyproject.toml names no serverapp and clientapp under [tool.flwr.app.components]",
                place=str(folder),
                hint="make a project with: hedgerow new NAME",
            )
        _refuse_unknown_sections(tree, folder / "pyproject.toml")
        return cls(folder=folder.resolve(), tree=tree, server=server, client=client)

    @property
    def name(self) -> str:
        return str(table(self.tree, "project").get("name", self.folder.name))

    @property
    def config(self) -> dict[str, Scalar]:
        """The app's run configuration with dotted keys, as Flower flattens it."""
        return dotted(table(self.tree, "tool", "flwr", "app", "config"))

    def job(self, overrides: Mapping[str, Scalar] | None = None) -> Job:
        """The job in the run configuration.

        Raises:
            Misconfigured: E101–E106, with the line; E101 if the section itself is mistyped.
        """
        app = table(self.tree, "tool", "flwr", "app")
        if "config" not in app:
            for name in difflib.get_close_matches("config", app, 1, 0.6):
                raise _unknown_section(self.folder / "pyproject.toml", "tool.flwr.app", name, ["config"])
        job = Job.from_flat(self.config, source=self.folder / "pyproject.toml")
        return job.override(overrides) if overrides else job

    def scenario(self, overrides: Mapping[str, Scalar] | None = None) -> Scenario:
        """`[tool.hedgerow.scenario]`, the defaults where there is none."""
        values = dotted(table(self.tree, "tool", "hedgerow", "scenario"))
        scenario = Scenario.from_flat(values, source=self.folder / "pyproject.toml")
        return scenario.override(overrides) if overrides else scenario

    def run_config(self, overrides: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """A foreign app's configuration with overrides, which may only change keys that it has.

        Raises:
            Misconfigured: E101 for another key.
        """
        config = self.config
        for key in overrides:
            if key not in config:
                hint = nearest(key, list(config)) if config else "the app has no [tool.flwr.app.config] to change"
                raise Misconfigured("E101", f"unknown key '{key}'", place=self.name, hint=hint)
        return {**config, **overrides}

    def supernodes(self) -> int:
        """How many sites a foreign app asks for in its federation settings; 10 where it does not say."""
        federations = table(self.tree, "tool", "flwr", "federations")
        chosen = federations.get("default")
        first = [federations[chosen]] if isinstance(chosen, str) and chosen in federations else []
        for federation in [*first, *federations.values()]:
            if isinstance(federation, Mapping):
                count = table(federation, "options").get("num-supernodes")
                if isinstance(count, int) and count > 0:
                    return count
        return 10

    def apps(self) -> tuple[ServerApp, ClientApp]:
        """Import the project's code.

        Raises:
            Misconfigured: E111 if it cannot be imported or holds something else.
        """
        from flwr.clientapp import ClientApp
        from flwr.serverapp import ServerApp

        _forget_other_projects(self.folder)
        client, server = (_loaded(reference, self.folder) for reference in (self.client, self.server))
        if not isinstance(client, ClientApp) or not isinstance(server, ServerApp):
            raise Misconfigured(
                "E111",
                f"'{self.server}' and '{self.client}' are {type(server).__name__} and {type(client).__name__}, "
                "but must be a ServerApp and a ClientApp",
                place=str(self.folder),
            )
        return server, client

    def task(self) -> Task | None:
        """The task of a Hedgerow project; `None` for another Flower app.

        Raises:
            Misconfigured: E111 if its code cannot be imported, or the task is none.
        """
        from hedgerow.client import HedgerowClientApp

        _, client = self.apps()
        if not isinstance(client, HedgerowClientApp):
            return None
        if not isinstance(client.task, Task):
            what = type(client.task).__name__
            hint = f"write client_app({client.task.__name__}())" if isinstance(client.task, type) else ""
            raise Misconfigured(
                "E111",
                f"client_app was given '{what}', which is no hedgerow.Task",
                place=self.client,
                hint=hint or "give it an object of a subclass of hedgerow.Task",
            )
        return client.task


def _refuse_unknown_sections(tree: Mapping[str, Any], source: Path) -> None:
    for name in table(tree, "tool", "hedgerow"):
        if name not in SECTIONS:
            raise _unknown_section(source, "tool.hedgerow", name, SECTIONS)


def _unknown_section(source: Path, parent: str, name: str, known: Sequence[str]) -> Misconfigured:
    near = [f"[{parent}.{section}]" for section in difflib.get_close_matches(name, known, 1, 0.5)]
    hint = f"did you mean {near[0]}?" if near else "the sections are " + ", ".join(f"[{parent}.{s}]" for s in known)
    lines = source.read_text(encoding="utf-8").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if name in text.partition("#")[0]), None)
    place = source.name if line is None else f"{source.name}:{line}"
    return Misconfigured("E101", f"unknown section [{parent}.{name}]", place=place, hint=hint)


def _loaded(reference: str, folder: Path) -> Any:
    """The object that a reference names.

    Raises:
        Misconfigured: E111 with the line of the project's code that failed.
    """
    from hedgerow.flowercompat import load_component

    try:
        return load_component(reference, folder)
    except Misconfigured as error:
        cause = error.__cause__
        if cause is None:
            raise
        missing = isinstance(cause, ModuleNotFoundError)
        hint = "install it, and list it under dependencies in pyproject.toml" if missing else ""
        place = _line_in(folder, cause) or error.place
        raise Misconfigured(error.code, error.message, place=place, hint=error.hint or hint) from cause


def _line_in(folder: Path, error: BaseException) -> str:
    """Where in the project's own code an error was raised, `data.py:12`; empty if it was not there."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    for name, line in reversed(frames):
        if Path(name).is_relative_to(folder):
            return f"{Path(name).relative_to(folder)}:{line}"
    return ""


def _forget_other_projects(folder: Path) -> None:
    """Take earlier projects' modules away: each calls them `app` and `data`, and Python would hand out the old ones."""
    others = _opened - {folder}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and any(Path(file).is_relative_to(other) for other in others):
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if Path(path) not in others]
    _opened.clear()
    _opened.add(folder)
