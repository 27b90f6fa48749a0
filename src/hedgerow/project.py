"""A Flower app folder: its references, its settings, and what Hedgerow knows about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar, dotted, nearest, read_toml, table
from hedgerow.task import Task

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

__all__ = ["Project"]


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
            Misconfigured: E110 no folder or no pyproject.toml, E111 not TOML or not a Flower app.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise Misconfigured("E110", f"there is no folder '{path}'", hint="make a project with: hedgerow new NAME")
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
            Misconfigured: E101–E106, with the line.
        """
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
                raise Misconfigured("E101", f"unknown key '{key}'", place=self.name, hint=nearest(key, list(config)))
        return {**config, **overrides}

    def supernodes(self) -> int:
        """How many sites a foreign app asks for in its federation settings; 10 where it does not say."""
        federations = table(self.tree, "tool", "flwr", "federations")
        for federation in federations.values():
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

        from hedgerow.flowercompat import load_component

        client, server = load_component(self.client, self.folder), load_component(self.server, self.folder)
        if not isinstance(client, ClientApp) or not isinstance(server, ServerApp):
            raise Misconfigured("E111", "the components are no ServerApp and ClientApp", place=str(self.folder))
        return server, client

    def task(self) -> Task | None:
        """The task of a Hedgerow project; `None` for another Flower app."""
        from hedgerow.client import HedgerowClientApp

        _, client = self.apps()
        return client.task if isinstance(client, HedgerowClientApp) else None
