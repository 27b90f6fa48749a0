"""Values reach Flower as they were given, and keys that nobody knows are named."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.settings import Scalar, dotted
from hedgerow.simulations.local.run_config import app_config, app_with, missing_keys, toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: st.SearchStrategy[Scalar] = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_toml_text_reads_back_as_what_was_written(values: dict[str, Scalar]) -> None:
    read = tomllib.loads(toml_text(values))
    assert read == values
    assert [type(value) for value in read.values()] == [type(value) for value in values.values()]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?", fullmatch=True), VALUES, max_size=5))
def test_flower_itself_reads_the_same_values_from_the_file(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Scalar]
) -> None:
    from flwr.common.config import parse_config_args

    path = tmp_path_factory.mktemp("c") / "run.toml"
    path.write_text(toml_text(values), encoding="utf-8")
    assert parse_config_args([str(path)]) == values


def test_the_apps_own_keys_are_read_under_dotted_names(app: Path) -> None:
    assert app_config(app) == {"rounds": 2, "privacy.epsilon": 3.0}


def test_a_folder_that_is_not_a_flower_app_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="E110"):
        app_config(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n', encoding="utf-8")
    with pytest.raises(Misconfigured, match="E111.*no serverapp"):
        app_config(tmp_path)


def test_a_key_that_nobody_knows_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(Misconfigured, match="E101.*did you mean 'local.batch'"):
        missing_keys(["local.bacth"], ["rounds"], ["local.batch"])
    with pytest.raises(Misconfigured, match="the app's keys are rounds"):
        missing_keys(["zzz"], ["rounds"], [])


def test_without_additions_the_app_itself_is_run(app: Path, tmp_path: Path) -> None:
    assert app_with(app, tmp_path / "copy", {}) == app and not (tmp_path / "copy").exists()


def test_a_copy_states_the_additions_and_the_app_stays_as_it_was(app: Path, tmp_path: Path) -> None:
    before = (app / "pyproject.toml").read_bytes()
    (app / "pkg").mkdir()
    (app / "pkg" / "code.py").write_text("x = 1\n", encoding="utf-8")
    copy = app_with(app, tmp_path / "copy", {"local.lr": 0.5, "privacy.clip": 2.0})
    assert app_config(copy) == {"rounds": 2, "privacy.epsilon": 3.0, "local.lr": 0.5, "privacy.clip": 2.0}
    assert (copy / "pkg" / "code.py").read_text(encoding="utf-8") == "x = 1\n"
    assert (app / "pyproject.toml").read_bytes() == before


def test_a_missing_section_is_added_and_one_that_cannot_be_extended_is_named(app: Path, tmp_path: Path) -> None:
    project = app / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text[: text.index("[tool.flwr.app.config]")], encoding="utf-8")
    assert app_config(app_with(app, tmp_path / "a", {"local.lr": 0.5})) == {"local.lr": 0.5}
    project.write_text(text.replace("[tool.flwr.app.config]", "[tool.flwr.app]\nconfig.x = 1"), encoding="utf-8")
    with pytest.raises(Misconfigured, match="E111"):
        app_with(app, tmp_path / "b", {"local.lr": 0.5})


def test_environments_hidden_folders_links_and_earlier_runs_are_not_copied(app: Path, tmp_path: Path) -> None:
    for name in (".git", "runs", "env", "pkg"):
        (app / name).mkdir()
        (app / name / "file.py").touch()
    (app / "env" / "pyvenv.cfg").touch()
    (app / "link.py").symlink_to(app / "pkg" / "file.py")
    copy = app_with(app, app / "pkg" / "copy", {"x": 1})
    assert {path.relative_to(copy).as_posix() for path in copy.rglob("*")} == {"pyproject.toml", "pkg", "pkg/file.py"}
    assert dotted(tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8")))["tool.flwr.app.config.x"] == 1


@pytest.mark.parametrize(
    "stated",
    [
        '[tool.flwr.app.config]\nrounds = 2\nprivacy.epsilon = 3.0  # for the whole job\n"privacy.delta" = 1e-5\n',
        "[ tool.flwr.app.config ]\nrounds = 2\n[tool.flwr.app.config.privacy]\nepsilon = 3.0\ndelta = 1e-5\n",
        "[tool.flwr.app.config]\nrounds = 2\nprivacy = { epsilon = 3.0, delta = 1e-5 }\n",
    ],
)
def test_a_copy_has_lost_what_must_not_be_there_however_it_was_written(app: Path, tmp_path: Path, stated: str) -> None:
    project = app / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    text = text[: text.index("[tool.flwr.app.config]")] + stated + '[tool.hedgerow.scenario]\nsplit = "iid"\n'
    project.write_text(text, encoding="utf-8")
    copy = app_with(app, tmp_path / "copy", {"privacy.unit": "none"}, ["privacy.epsilon", "privacy.delta"])
    assert app_config(copy) == {"rounds": 2, "privacy.unit": "none"}
    left, before = (tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in (copy, app))
    del left["tool"]["flwr"]["app"]["config"], before["tool"]["flwr"]["app"]["config"]
    assert left == before and project.read_text(encoding="utf-8") == text


def test_a_configuration_that_lines_of_text_cannot_change_is_refused(app: Path, tmp_path: Path) -> None:
    project = app / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    inline = "[tool.flwr.app]\nconfig = { rounds = 2, x = 1 }\n[tool.other]"
    project.write_text(text.replace("[tool.flwr.app.config]", inline), encoding="utf-8")
    with pytest.raises(Misconfigured, match="E111"):
        app_with(app, tmp_path / "copy", {}, ["x"])
