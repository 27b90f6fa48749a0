"""A Flower app folder: what is read from it, and what is said when it cannot be."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.project import Project

HEAD = """[project]
name = "mine"

[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"
"""
CONFIG = """
[tool.flwr.app.config]
rounds = 3
privacy.unit = "none"
secure.mode = "off"
"""
APP = "from data import task\nfrom hedgerow.client import client_app\nfrom hedgerow.server import server_app\n"
APP += "server, client = server_app(task), client_app(task)\n"
DATA = """import torch
from hedgerow import Data, Task

class Mine(Task):
    name = {name!r}
    def model(self):
        return torch.nn.Linear(2, 2)
    def data(self, site):
        raise NotImplementedError

task = Mine()
"""

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def path_as_before() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(toml: str = HEAD + CONFIG, files: Mapping[str, str] | None = None, *, name: str = "mine") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pyproject.toml").write_text(toml, encoding="utf-8")
        for file, text in {"app.py": APP, "data.py": DATA.format(name=name), **(files or {})}.items():
            (folder / file).write_text(text, encoding="utf-8")
        return folder

    return made


def error_of(work: Callable[[], object]) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        work()
    return caught.value


def test_a_project_gives_its_job_its_scenario_and_its_task(make: Make) -> None:
    project = Project.open(make(HEAD + CONFIG + "[tool.hedgerow.scenario]\nsites = 4\n"))
    task = project.task()
    assert task is not None
    assert (project.name, project.job().rounds, project.scenario().sites, task.name) == ("mine", 3, 4, "mine")


def test_two_projects_in_one_process_keep_their_own_code(make: Make) -> None:
    one, two = Project.open(make(name="one")), Project.open(make(name="two"))
    names = [task.name for project in (one, two, one) if (task := project.task()) is not None]
    assert names == ["one", "two", "one"]


def test_opening_a_project_twice_does_not_run_its_code_twice(make: Make) -> None:
    project = Project.open(make())
    assert project.task() is project.task()


@pytest.mark.parametrize("missing", ["folder", "file"])
def test_a_project_that_is_not_there_says_how_to_make_one(make: Make, missing: str) -> None:
    folder = make()
    (folder / "pyproject.toml").unlink()
    error = error_of(lambda: Project.open(folder if missing == "file" else folder / "deeper"))
    assert error.code == "E110" and "hedgerow new" in error.hint


def test_a_folder_that_is_no_flower_app_says_so(make: Make) -> None:
    error = error_of(lambda: Project.open(make("[project]\nname = 'mine'\n")))
    assert error.code == "E111" and "[tool.flwr.app.components]" in error.message


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("scenaro", "did you mean [tool.hedgerow.scenario]?"),
        ("Scenario", "did you mean [tool.hedgerow.scenario]?"),
        ("job", "the sections are [tool.hedgerow.scenario]"),
    ],
)
def test_a_mistyped_section_is_told_with_its_line(make: Make, section: str, hint: str) -> None:
    text = HEAD + CONFIG + f"[tool.hedgerow.{section}]\nsites = 3\n"
    error = error_of(lambda: Project.open(make(text)))
    assert (error.code, error.hint) == ("E101", hint)
    assert text.splitlines()[int(error.place.rpartition(":")[2]) - 1] == f"[tool.hedgerow.{section}]"


def test_a_section_need_not_be_written_as_one(make: Make) -> None:
    text = HEAD + CONFIG + "[tool]\nhedgerow = { scenaro = { sites = 3 } }\n"
    error = error_of(lambda: Project.open(make(text.replace("[tool.", "[ tool ."))))
    assert error.code == "E101" and error.place.startswith("pyproject.toml:")


def test_a_mistyped_config_section_is_told_with_its_line(make: Make) -> None:
    project = Project.open(make(HEAD + CONFIG.replace("config", "confg")))
    error = error_of(project.job)
    assert (error.code, error.hint) == ("E101", "did you mean [tool.flwr.app.config]?")
    assert error.place == "pyproject.toml:8"


def test_a_project_without_a_config_is_asked_for_what_has_no_default(make: Make) -> None:
    error = error_of(Project.open(make(HEAD)).job)
    assert error.code == "E104" and "privacy.unit" in error.message


@pytest.mark.parametrize(
    ("files", "words", "place"),
    [
        ({"data.py": "x = 1\nraise ValueError('boom')\n"}, "ValueError: boom", "data.py:2"),
        ({"data.py": "import sys\n\nsys.exit(3)\n"}, "SystemExit: 3", "data.py:3"),
        ({"data.py": "task = (\n"}, "SyntaxError", "data.py:1"),
        ({"data.py": "import nosuchpackage\n"}, "nosuchpackage", "data.py:1"),
        ({"app.py": "server = 1\n"}, "client", "mine"),
    ],
)
def test_code_that_cannot_be_imported_is_told_with_its_line(
    make: Make, files: dict[str, str], words: str, place: str
) -> None:
    error = error_of(Project.open(make(files=files)).task)
    assert error.code == "E111"
    assert words in error.message
    assert error.place.endswith(place)


def test_a_package_that_is_not_installed_is_told_with_what_to_do(make: Make) -> None:
    error = error_of(Project.open(make(files={"data.py": "import nosuchpackage\n"})).task)
    assert "install it" in error.hint


@pytest.mark.parametrize(("task", "hint"), [("object()", "hedgerow.Task"), ("Mine", "client_app(Mine())")])
def test_a_task_that_is_none_is_refused(make: Make, task: str, hint: str) -> None:
    files = {"data.py": DATA.format(name="mine").replace("task = Mine()", f"task = {task}")}
    error = error_of(Project.open(make(files=files)).task)
    assert error.code == "E111" and hint in error.hint


def test_components_that_are_no_apps_are_named(make: Make) -> None:
    error = error_of(Project.open(make(files={"app.py": "server, client = 1, 'two'\n"})).task)
    assert error.code == "E111" and "int and str" in error.message


def test_another_flower_app_has_no_task(make: Make) -> None:
    app = "from flwr.clientapp import ClientApp\nfrom flwr.serverapp import ServerApp\n"
    project = Project.open(make(files={"app.py": app + "client, server = ClientApp(), ServerApp()\n"}))
    assert project.task() is None


FEDERATIONS = """
[tool.flwr.federations]
{default}
[tool.flwr.federations.remote]
address = "127.0.0.1:9093"
[tool.flwr.federations.large]
options.num-supernodes = 20
[tool.flwr.federations.small]
options.num-supernodes = 4
"""


@pytest.mark.parametrize(
    ("text", "sites"),
    [
        ("", 10),
        (FEDERATIONS.format(default=""), 20),
        (FEDERATIONS.format(default='default = "small"'), 4),
        (FEDERATIONS.format(default='default = "remote"'), 20),
        (FEDERATIONS.format(default='default = "gone"'), 20),
    ],
)
def test_another_flower_app_gets_the_sites_that_its_federation_states(make: Make, text: str, sites: int) -> None:
    assert Project.open(make(HEAD + text)).supernodes() == sites


def test_another_apps_settings_can_be_changed_but_not_invented(make: Make) -> None:
    project = Project.open(make(HEAD + "[tool.flwr.app.config]\nlr = 0.1\nmodel.size = 3\n"))
    assert project.run_config({"model.size": 5}) == {"lr": 0.1, "model.size": 5}
    assert error_of(lambda: project.run_config({"lrr": 1})).hint == "did you mean 'lr'?"
    bare = Project.open(make(HEAD, name="bare"))
    assert "no [tool.flwr.app.config]" in error_of(lambda: bare.run_config({"lr": 1})).hint
