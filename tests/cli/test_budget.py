"""`hedgerow budget`: what was spent, an operator's limit, and a file for the audit."""

from pathlib import Path
from typing import Any

import pytest

from hedgerow.privacy import Gaussian, Ledger
from hedgerow.privacy.export import verified_export
from hedgerow.store import STORE_VARIABLE


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setenv(STORE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def charged(store: Path) -> Path:
    with Ledger(store / "ledger.sqlite") as ledger:
        one = Gaussian(noise_multiplier=5.0)
        ledger.reserve(one, dataset="ward-7", unit="record", budget=(5.0, 1e-5), job="j", randomness="os").release()
    return store


def test_an_empty_store_says_how_a_ledger_comes_to_be(hedgerow: Any, store: Path) -> None:
    assert hedgerow("budget", "show", "--json").data == {"ledgers": []}
    assert "first private job" in hedgerow("budget", "show").out
    assert hedgerow("budget", "export", "out.json", "--json").error["code"] == "E117"


def test_a_newcomer_sets_a_limit_sees_it_and_hands_the_ledger_over(hedgerow: Any, store: Path) -> None:
    assert hedgerow("budget", "set", "ward-7", "--epsilon", "3", "--json").error["code"] == "E117"
    assert hedgerow("budget", "set", "ward-7", "--epsilon", "3", "--new").exit_code == 0
    lower = hedgerow("budget", "set", "ward-7", "--epsilon", "2", "--delta", "1e-6", "--json").data
    assert (lower["before"]["epsilon"], lower["limit"]["epsilon"], lower["limit"]["delta"]) == (3.0, 2.0, 1e-6)
    (told,) = hedgerow("budget", "show", "--json").data["ledgers"]
    assert told["datasets"][0]["limit"]["epsilon"] == 2.0
    for name in ("out.json", "out.csv"):
        data = hedgerow("budget", "export", name, "--json").data
        assert data["format"] == name[-4:].lstrip(".")
        assert verified_export(Path(name)).hash == data["head"]["hash"] == told["head"]["hash"]
    assert hedgerow("budget", "export", "out.csv", "--json").error["code"] == "E115"


def test_what_was_spent_is_shown_with_its_unit_and_delta_and_reading_changes_nothing(
    hedgerow: Any, charged: Path
) -> None:
    before = (charged / "ledger.sqlite").read_bytes()
    (told,) = hedgerow("budget", "show", "--json").data["ledgers"]
    (line,) = told["datasets"]
    assert (line["dataset"], line["unit"], line["delta"], line["charges"]) == ("ward-7", "record", 1e-5, 1)
    assert (line["jobs"], line["randomness"], line["limit"], told["durable"]) == (["j"], ["os"], None, True)
    assert "ward-7" in hedgerow("budget", "show", str(charged)).out
    assert (charged / "ledger.sqlite").read_bytes() == before


def test_an_unknown_data_set_is_answered_with_the_nearest(hedgerow: Any, charged: Path) -> None:
    error = hedgerow("budget", "set", "wrad-7", "--epsilon", "3", "--json").error
    assert error["code"] == "E117" and "ward-7" in error["hint"]


@pytest.mark.parametrize("words", [("--epsilon", "nan"), ("--epsilon", "-1"), ("--epsilon", "1", "--delta", "1")])
def test_a_limit_that_is_none_is_refused(hedgerow: Any, charged: Path, words: tuple[str, ...]) -> None:
    assert hedgerow("budget", "set", "ward-7", *words, "--json").error["code"] == "E103"


def test_a_broken_ledger_is_named_with_its_exit_code(hedgerow: Any, store: Path) -> None:
    (store / "ledger.sqlite").write_bytes(b"no ledger" * 500)
    answer = hedgerow("budget", "show", "--json")
    assert (answer.exit_code, answer.error["code"]) == (5, "E402")
