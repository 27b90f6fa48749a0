"""Imports go one way between the parts, and one file alone knows Flower's insides."""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PARTS = ("server", "client", "aggregation", "privacy", "simulations")
DYNAMIC = ("import_module", "__import__", "find_spec")

# What each part never imports, wherever the import stands: inside a function and for type checkers too.
FORBIDDEN = {
    "aggregation": ("flwr", "hedgerow.server", "hedgerow.client", "hedgerow.simulations", "hedgerow.privacy"),
    "privacy": ("flwr", "hedgerow.server", "hedgerow.client", "hedgerow.simulations", "hedgerow.aggregation"),
    "server": ("hedgerow.client", "hedgerow.simulations"),
    "client": ("hedgerow.server", "hedgerow.simulations"),
    "simulations": (),
    "shared": ("hedgerow.simulations",),
}
# Only these two may name the simulations: the commands, and the lazy door `hedgerow.simulate`.
DOORS = ("hedgerow.cli", "hedgerow.__init__")

FLOWER_INSIDE = "hedgerow.flowercompat"
FLOWER_PUBLIC = (
    "flwr.app",
    "flwr.clientapp",
    "flwr.clientapp.mod",
    "flwr.serverapp",
    "flwr.serverapp.strategy",
    "flwr.simulation",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """`name` of `module` (or all of it, with an empty name), imported in a line; `early`: when the file is loaded."""

    module: str
    name: str
    line: int
    early: bool

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}".rstrip(".")

    def reaches(self, forbidden: str) -> bool:
        return f"{self.dotted}.".startswith(f"{forbidden}.")


def imports(source: str) -> Iterator[Import]:
    """Every import of a file, also through `importlib` with a constant name."""
    tree = ast.parse(source)
    late = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _for_type_checkers(block)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        early = id(node) not in late
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module=alias.name, name="", line=node.lineno, early=early)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(module=node.module or "", name=alias.name, line=node.lineno, early=early)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in DYNAMIC:
                yield Import(module=str(node.args[0].value), name="", line=node.lineno, early=early)


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id.endswith("TYPE_CHECKING")


def place_of(module: str) -> str:
    part = module.split(".")[1]
    return part if part in PARTS else "shared"


def wrong_ways(module: str, source: str) -> list[str]:
    """The imports that go against the direction of the parts."""
    place = place_of(module)
    forbidden = () if place == "shared" and f"{module}.".startswith(tuple(f"{d}." for d in DOORS)) else FORBIDDEN[place]
    found = [use for use in imports(source) if any(use.reaches(name) for name in forbidden)]
    if place == "shared" and not f"{module}.".startswith("hedgerow.cli."):
        parts = [f"hedgerow.{part}" for part in PARTS]
        found += [use for use in imports(source) if use.early and any(use.reaches(part) for part in parts)]
    return [f"{module}:{use.line} imports {use.dotted}" for use in found]


def flower_insides(module: str, source: str) -> list[str]:
    """The imports of Flower that are not of its public API, which is the `__all__` of its public modules."""
    if module == FLOWER_INSIDE:
        return []
    uses = [use for use in imports(source) if use.reaches("flwr")]
    return [f"{module}:{use.line} imports {use.dotted}" for use in uses if not _public(use)]


def _public(use: Import) -> bool:
    if not use.name:
        return use.module in FLOWER_PUBLIC
    if use.dotted in FLOWER_PUBLIC:
        return True
    return use.module in FLOWER_PUBLIC and use.name in importlib.import_module(use.module).__all__


def sources(checkout: Path) -> dict[str, str]:
    """Module name → source text; a package is named with its `__init__`."""
    files = [(path, path.relative_to(checkout)) for part in PARTS for path in (checkout / part).rglob("*.py")]
    own = checkout / "src/hedgerow"
    files += [(path, path.relative_to(own)) for path in own.rglob("*.py")]
    files = [(path, place) for path, place in files if not (path.is_relative_to(own) and place.parts[0] in PARTS)]
    return {".".join(("hedgerow", *place.with_suffix("").parts)): path.read_text() for path, place in files}


def test_imports_between_the_parts_go_one_way(checkout: Path) -> None:
    modules = sources(checkout)
    assert {place_of(module) for module in modules} == {*PARTS, "shared"}
    assert [wrong for module, source in modules.items() for wrong in wrong_ways(module, source)] == []


def test_one_file_alone_imports_flowers_insides(checkout: Path) -> None:
    modules = sources(checkout)
    assert FLOWER_INSIDE in modules
    assert [wrong for module, source in modules.items() for wrong in flower_insides(module, source)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hedgerow.aggregation.krum", "import flwr"),
        ("hedgerow.aggregation.krum", "def f():\n    from hedgerow.privacy import Ledger"),
        ("hedgerow.aggregation.krum", "if TYPE_CHECKING:\n    from hedgerow import server"),
        ("hedgerow.privacy.ledger", "import hedgerow.aggregation.arrays.gram as gram"),
        ("hedgerow.privacy.ledger", "importlib.import_module('hedgerow.client.app')"),
        ("hedgerow.server.round", "from hedgerow.client import client_app"),
        ("hedgerow.client.app", "from hedgerow.server.app import server_app"),
        ("hedgerow.client.app", "from hedgerow.simulations import simulate"),
        ("hedgerow.run", "def f():\n    import hedgerow.simulations.engine"),
        ("hedgerow.run", "from hedgerow.privacy import Ledger"),
        ("hedgerow.__init__", "from hedgerow.simulations import simulate"),
    ],
)
def test_an_import_against_the_direction_is_found(module: str, source: str) -> None:
    assert len(wrong_ways(module, source)) >= 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hedgerow.aggregation.krum", "from hedgerow.errors import Misconfigured"),
        ("hedgerow.privacy.ledger", "from hedgerow.privacy.chain import Entry"),
        ("hedgerow.server.round", "from hedgerow.aggregation import aggregate"),
        ("hedgerow.run", "def f():\n    from hedgerow.privacy import Ledger"),
        ("hedgerow.run", "if TYPE_CHECKING:\n    from hedgerow.privacy import Ledger"),
        ("hedgerow.__init__", "if _TYPE_CHECKING:\n    from hedgerow.simulations import simulate"),
        ("hedgerow.cli.demo", "from hedgerow.simulations import simulate"),
        ("hedgerow.simulations.engine", "from hedgerow.server.app import server_app"),
        ("hedgerow.serverless", "import flwr.app"),
    ],
)
def test_an_import_in_the_direction_is_allowed(module: str, source: str) -> None:
    assert wrong_ways(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "from flwr.common import Context",
        "import flwr.supercore.run",
        "from flwr import proto",
        "from flwr.app import message_from_proto",
        "def f():\n    from flwr.server.superlink.fleet import vce",
        "import_module('flwr.supernode.runtime')",
    ],
)
def test_an_import_of_flowers_insides_is_found(source: str) -> None:
    assert len(flower_insides("hedgerow.server.round", source)) == 1


@pytest.mark.parametrize(
    "source",
    ["import flwr.app", "from flwr.app import Message", "from flwr.serverapp import strategy", "import flowers"],
)
def test_an_import_of_flowers_public_names_is_allowed(source: str) -> None:
    assert flower_insides("hedgerow.server.round", source) == []
