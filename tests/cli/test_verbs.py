"""The help texts: one style, no leftovers of the tools behind them; `python -m hedgerow` is `hedgerow`."""

import re
import subprocess
import sys
from typing import Any

import pytest

from hedgerow import __version__

VERBS = ("demo", "new", "check", "sim", "local", "attack", "audit", "ls", "report", "resume")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_is_plain_and_starts_with_a_sentence(hedgerow: Any, verb: str) -> None:
    answer = hedgerow(verb, "--help")
    assert answer.exit_code == 0
    usage, _, first, *_ = answer.out.splitlines()
    assert usage.startswith(f"Usage: hedgerow {verb} [OPTIONS]")
    assert re.fullmatch(r"  [A-Z].*\.", first)
    for leftover in ("\\[", "TEXT", "typer", "None", "callback"):
        assert leftover not in answer.out
    assert "--json" in answer.out


@pytest.mark.parametrize("verb", ("check", "sim", "local", "attack", "report", "resume"))
def test_what_may_be_left_out_is_said(hedgerow: Any, verb: str) -> None:
    assert "left out" in " ".join(hedgerow(verb, "--help").out.split())


def test_every_engine_that_can_be_chosen_is_in_the_help(hedgerow: Any) -> None:
    from hedgerow.simulations.engine import ENGINES

    help_of_sim = hedgerow("sim", "--help").out
    assert all(f"'{name}'" in help_of_sim for name in ("auto", *ENGINES) if name != "local")


def test_the_list_of_verbs_cuts_no_sentence_short(hedgerow: Any) -> None:
    out = hedgerow("--help").out
    assert "..." not in out.partition("Commands:")[2]
    assert all(re.search(rf"^  {verb} +[A-Z].*\.$", out, re.MULTILINE) for verb in VERBS)


def test_no_words_are_answered_with_the_help(hedgerow: Any) -> None:
    answer = hedgerow()
    assert (answer.exit_code, answer.out) == (2, "")
    assert answer.err == hedgerow("--help").out


def test_the_version_is_told(hedgerow: Any) -> None:
    assert hedgerow("--version").out == f"hedgerow {__version__}\n"


def test_python_m_hedgerow_is_the_same_command() -> None:
    words = [sys.executable, "-m", "hedgerow"]
    done = subprocess.run([*words, "sim", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("Usage: hedgerow sim ")
    assert subprocess.run([*words, "simm"], capture_output=True).returncode == 2


def test_a_new_project_on_a_table_tells_what_to_look_at(hedgerow: Any, tmp_path: Any) -> None:
    rows = [f"{'ab'[n % 2]},{n if n != 7 else ''},{n % 3 % 2}" for n in range(60)]
    (tmp_path / "patients.csv").write_text("\n".join(["ward,age,outcome", *rows]) + "\n")
    words = ("--data", "patients.csv", "--label", "outcome", "--site", "ward")
    data = hedgerow("new", "mine", *words, "--json").data
    assert [finding["code"] for finding in data["findings"]] == ["E123"]
    answer = hedgerow("new", "yours", *words)
    assert "E123" in answer.out
    assert answer.out.endswith("next:\n  hedgerow check yours\n  hedgerow sim yours\n")
    assert hedgerow("check", "yours", "--json").error["code"] == "E123"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--data", "none.csv", "--label", "outcome"], "E120"),
        (["--data", "patients.csv"], "E104"),
        (["--data", "patients.csv", "--label", "outcom"], "E121"),
        (["--data", "patients.csv", "--label", "outcome", "--site", "wrad"], "E121"),
        (["--label", "outcome"], "E105"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_before_anything_is_written(
    hedgerow: Any, tmp_path: Any, words: list[str], code: str
) -> None:
    rows = [f"{'ab'[n % 2]},{n},{n % 2}" for n in range(40)]
    (tmp_path / "patients.csv").write_text("\n".join(["ward,age,outcome", *rows]) + "\n")
    error = hedgerow("new", "mine", *words, "--json").error
    assert error["code"] == code and error["hint"]
    assert not (tmp_path / "mine").exists()
