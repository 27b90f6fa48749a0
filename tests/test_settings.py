"""Tests of hedgerow.settings: three doors, nothing ignored, and the right line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar, dotted, parse_overrides
from hedgerow.tomlfile import read_toml, table

PLAIN: dict[str, Scalar] = {"privacy.unit": "none", "secure.mode": "off"}
NUMBERS = ("cohort.fraction", "cohort.grace", "local.lr", "local.momentum", "server.lr", "server.tau", "privacy.clip")
COUNTS = ("rounds", "cohort.quorum", "local.epochs", "local.batch", "aggregate.byzantine")
WORDS = ("evaluate", "local.optimizer", "server.optimizer", "privacy.unit", "aggregate.rule", "secure.mode")


def refused(values: dict[str, Scalar]) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        Job.from_flat({**PLAIN, **values})
    return caught.value


def refused_file(path: Path, text: str) -> Misconfigured:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        Job.load(path)
    return caught.value


@st.composite
def mistyped(draw: st.DrawFn) -> tuple[str, str]:
    """A key of the job, and the same with one letter missing, doubled or swapped with the next."""
    key = draw(st.sampled_from(Job.keys()))
    at = draw(st.integers(0, len(key) - 2))
    kind = draw(st.sampled_from(("missing", "doubled", "swapped")))
    wrong = {
        "missing": key[:at] + key[at + 1 :],
        "doubled": key[: at + 1] + key[at:],
        "swapped": key[:at] + key[at + 1] + key[at] + key[at + 2 :],
    }[kind]
    return key, wrong


@settings(deadline=None)
@given(mistyped())
def test_a_mistyped_key_names_the_key_that_was_meant(pair: tuple[str, str]) -> None:
    key, wrong = pair
    if wrong in Job.keys():
        return
    error = refused({wrong: 1})
    assert error.code == "E101"
    assert error.hint == f"did you mean '{key}'?"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("epsilon", "privacy.epsilon"), ("quorun", "cohort.quorum"), ("sever.momentum", "server.momentum")],
)
def test_a_key_without_its_table_or_with_a_mistyped_one_names_the_whole_key(wrong: str, meant: str) -> None:
    assert refused({wrong: 1}).hint == f"did you mean '{meant}'?"


def test_a_key_like_no_other_lists_them_all() -> None:
    error = refused({"zzzzzz": 1})
    assert all(key in error.hint for key in Job.keys())


@settings(deadline=None)
@given(st.sampled_from(NUMBERS + COUNTS), st.sampled_from([math.nan, math.inf, -math.inf, -1, 10**400, -(10**5000)]))
def test_no_number_that_cannot_be_meant_is_accepted(key: str, value: float) -> None:
    assert refused({key: value}).code in ("E102", "E103")


@settings(deadline=None)
@given(st.sampled_from(NUMBERS + COUNTS), st.one_of(st.booleans(), st.text(max_size=5)))
def test_true_and_text_are_not_numbers(key: str, value: Scalar) -> None:
    assert refused({key: value}).code == "E102"


@settings(deadline=None)
@given(st.sampled_from(COUNTS), st.floats(1, 9))
def test_a_fraction_is_not_a_count_even_when_it_is_whole(key: str, value: float) -> None:
    assert refused({key: value}).code == "E102"


@settings(deadline=None)
@given(st.sampled_from(WORDS), st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5)))
def test_only_the_choices_are_choices(key: str, value: Scalar) -> None:
    accepted = ("none", "off", "server", "sites", "sgd", "adam", "avg", "avgm", "yogi", "krum", "mean", "median", "sum")
    if value not in accepted:
        assert refused({key: value}).code in ("E102", "E103")


@pytest.mark.parametrize("value", [1, 1.0, None, "record", {"unit": "none"}])
def test_a_subtree_must_be_one(value: object) -> None:
    with pytest.raises(Misconfigured) as caught:
        Job(privacy=value, secure=Job.from_flat(PLAIN).secure)  # type: ignore[arg-type]
    assert caught.value.code == "E102"


def test_a_mistyped_choice_names_the_nearest() -> None:
    assert "did you mean 'trimmed-mean'?" in refused({"aggregate.rule": "trimed-mean"}).hint


def test_a_choice_that_must_be_written_out_is_asked_for() -> None:
    with pytest.raises(Misconfigured) as caught:
        Job.from_flat({"secure.mode": "off"})
    assert caught.value.code == "E104"
    assert caught.value.hint == 'write privacy.unit = "record", "site" or "none"'


HEAD = '[project]\nname = "x"\n\n[tool.other]\nlr = 3\nmomentum = 5\nrouns = 7\n\n'


@pytest.mark.parametrize(
    ("body", "key", "line"),
    [
        ("[tool.flwr.app.config]\nrouns = 5\n", "rouns", 10),
        ("[tool.flwr.app.config]\nlocal.lr = 0.1\nserver.lr = -1\n", "server.lr", 11),
        ("[tool.flwr.app.config]\nserver.lr = 0.1\nlocal.lr = -1\n", "local.lr", 11),
        (
            "[tool.flwr.app.config.local]\nmomentum = 0.5\n[tool.flwr.app.config.server]\nmomentum = 1\n",
            "server.mo",
            12,
        ),
        ("[tool.flwr.app.config.server]\nmomentum = 0.5\n[tool.flwr.app.config.local]\nmomentum = 1\n", "local.mo", 12),
        ("[tool.flwr.app.config]\n'server.lr' = 0.1\n\"local.lr\" = -1\n", "local.lr", 11),
        ("[tool.flwr.app.config]\nserver . lr = 0.1\n  local . lr = -1\n", "local.lr", 11),
        ("[tool.flwr.app.config]\nserver = { lr = 0.1 }\nlocal = { epochs = 1, lr = -1 }\n", "local.lr", 11),
        ("[tool.flwr.app]\nconfig.server.lr = 0.1\nconfig.local.lr = -1\n", "local.lr", 11),
        ("[tool.flwr]\napp.config.server.lr = 0.1\napp.config.local.lr = -1\n", "local.lr", 11),
        ("[tool.flwr.app.config]\n# local.lr = 2\nleakage.gate = '''\nlocal.lr = 3\n'''\nlocal.lr = -1\n", "local", 14),
        ("[tool.flwr.app.config.privacy]\nunit = 'none'\nepsilom = 3\n", "privacy.epsilom", 11),
        ("[tool.flwr.app.config.privcy]\nepsilon = 3\n", "privcy.epsilon", 10),
        ("[tool.flwr.app.config]\nlocal.lr = [1]\n", "local.lr", 10),
        ("[tool.flwr.app.config]\nrounds = 1979-05-27\n", "rounds", 10),
        ("[tool.flwr.app.config]\nrounds = 9223372036854775808\n", "rounds", 10),
        ("[tool.flwr.app.config]\nprivacy.unit='none'\nsecure.mode = 'groups'\n", "secure.mode", 11),
        ("[tool.flwr.app.config]\nsecure.mode='off'\nprivacy.unit = 'record'\n", "privacy.epsilon", 11),
        ("[tool.flwr.app.config.local]\nlr = 0.1\n[tool.flwr.app.config]\n'local.lr' = 0.2\n", "local.lr", 10),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_an_error_in_a_project_names_the_line(tmp_path: Path, body: str, key: str, line: int, ending: str) -> None:
    error = refused_file(tmp_path / "pyproject.toml", (HEAD + body).replace("\n", ending))
    assert error.place == f"pyproject.toml:{line}"
    assert key in error.message


def test_an_error_in_a_file_of_its_own_names_the_line(tmp_path: Path) -> None:
    text = (
        "rounds = 5\nprivacy.unit = 'none'\n[secure]\nmode = 'off'\n[server]\nmomentum = 0.5\n[local]\nmomentum = 3\n"
    )
    assert refused_file(tmp_path / "job.toml", text).place == "job.toml:8"


def test_a_missing_choice_names_the_file(tmp_path: Path) -> None:
    error = refused_file(tmp_path / "pyproject.toml", HEAD)
    assert (error.code, error.place) == ("E104", "pyproject.toml")


def test_a_scenario_names_its_own_line_and_not_the_jobs(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.flwr.app.config]\nseed = 1\n\n[tool.hedgerow.scenario]\nseed = -1\n")
    with pytest.raises(Misconfigured) as caught:
        Scenario.load(path)
    assert (caught.value.code, caught.value.place) == ("E103", "pyproject.toml:5")


def test_a_key_that_is_stated_twice_is_refused() -> None:
    with pytest.raises(Misconfigured) as caught:
        dotted({"local": {"lr": 1.0}, "local.lr": 2.0})
    assert (caught.value.code, caught.value.place) == ("E105", "local.lr")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"rounds = ", "E111"),
        (b"\xff\xfe", "E111"),
        (b"rounds = " + b"1" * 5000, "E111"),
        (b"rounds = " + b"[" * 100_000, "E111"),
    ],
)
def test_what_is_not_toml_is_said_to_be_none(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "job.toml").write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        read_toml(tmp_path / "job.toml")
    assert caught.value.code == code


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as missing:
        read_toml(tmp_path / "job.toml")
    with pytest.raises(Misconfigured) as folder:
        read_toml(tmp_path)
    assert (missing.value.code, folder.value.code) == ("E110", "E111")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("", {}),
        (None, {}),
        ("rounds=5 privacy.epsilon=2", {"rounds": 5, "privacy.epsilon": 2}),
        ("aggregate.rule=krum", {"aggregate.rule": "krum"}),
        ("aggregate.rule='krum'", {"aggregate.rule": "krum"}),
        ("aggregate.rule='\"krum\"'", {"aggregate.rule": "krum"}),
        ('leakage.gate="tpr@0.01 <= 0.03"', {"leakage.gate": "tpr@0.01 <= 0.03"}),
        ("leakage.gate=", {"leakage.gate": ""}),
        ("note=a=b", {"note": "a=b"}),
        ("fast=true slow=false", {"fast": True, "slow": False}),
        ("day=2026-11-24", {"day": "2026-11-24"}),
        ("list=[1]", {"list": "[1]"}),
        ("note='5 # five'", {"note": "5 # five"}),
        ("note='5\nrounds = 9'", {"note": "5\nrounds = 9"}),
        ("delta=1e-5", {"delta": 1e-5}),
    ],
)
def test_overrides_read_as_toml_values_and_else_as_text(words: str | None, values: dict[str, Scalar]) -> None:
    found = parse_overrides(words)
    assert found == values
    assert [type(value) for value in found.values()] == [type(value) for value in values.values()]


@pytest.mark.parametrize("words", ["rounds", "=5", "rounds='5", "rounds 5"])
def test_an_override_that_is_none_says_how_to_write_one(words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_overrides(words)
    assert caught.value.code == "E102"


def test_a_key_that_is_stated_twice_is_refused_so_that_none_is_lost() -> None:
    with pytest.raises(Misconfigured, match="E105 'rounds' is stated twice"):
        parse_overrides("rounds=5 local.lr=1 rounds=3")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_words_are_overrides_or_misconfigured(words: str) -> None:
    try:
        parse_overrides(words)
    except Misconfigured:
        return


def test_a_number_of_thousands_of_digits_is_text_that_no_count_accepts() -> None:
    values = parse_overrides("rounds=" + "1" * 5000)
    assert refused(values).code == "E102"


def test_a_table_that_is_no_table_is_empty() -> None:
    assert table({"tool": 3}, "tool", "flwr") == {}
