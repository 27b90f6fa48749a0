"""One envelope on stdout and nothing else, whatever happens; a stable exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hedgerow.errors import CODES


def test_json_prints_one_envelope_wherever_it_stands_among_the_words(hedgerow: Any, project: Any) -> None:
    project()
    assert hedgerow("check", "--json", "tiny").data == hedgerow("check", "tiny", "--json").data


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["simm", "--json"], "did you mean 'sim'?"),
        (["sim", "--rouns", "3", "--json"], "did you mean '--runs'?"),
        (["sim", "--json", "a", "b"], "see hedgerow sim --help"),
        (["new", "--json"], "see hedgerow new --help"),
        (["--json", "sim"], "write --json after the verb"),
        (["--json"], "write --json after the verb"),
        (["ls", "--json", "--runs"], "see hedgerow --help"),
    ],
)
def test_a_mistake_in_the_command_line_is_an_envelope_too(hedgerow: Any, words: list[str], hint: str) -> None:
    answer = hedgerow(*words)
    assert answer.exit_code == 2
    assert answer.error["code"] == "E100"
    assert answer.error["hint"] == hint
    assert answer.error["message"]
    assert answer.err == ""


def test_a_mistyped_verb_is_told_once_for_people(hedgerow: Any) -> None:
    answer = hedgerow("simm")
    assert (answer.exit_code, answer.out) == (2, "")
    assert answer.err == "E100 No such command 'simm'\n  did you mean 'sim'?\n"


def test_what_a_project_prints_does_not_reach_the_envelope(hedgerow: Any, project: Any) -> None:
    project(code="import os\nprint('from the project')\nos.system('echo from a child')\n")
    answer = hedgerow("check", "tiny", "--json")
    assert answer.data["sites"] == 5
    assert "from the project" in answer.err and "from a child" in answer.err


def test_stdout_is_itself_again_after_an_answer_in_json(hedgerow: Any, project: Any) -> None:
    project()
    hedgerow("check", "tiny", "--json")
    assert "the job can start" in hedgerow("check", "tiny").out


@pytest.mark.parametrize("raised", ["RuntimeError('broken')", "SystemExit(3)"])
def test_an_error_nobody_foresaw_is_coded_and_says_where_it_was_raised(
    hedgerow: Any, project: Any, raised: str
) -> None:
    project(code=f"class Odd(Tiny):\n    def metrics(self, logits, y):\n        raise {raised}\ntask = Odd()\n")
    answer = hedgerow("sim", "tiny", "--json")
    assert answer.exit_code == 1
    assert answer.error["code"] == "E900"
    assert raised.partition("(")[0] in answer.error["message"]
    assert "data.py:" in answer.error["place"]
    assert "HEDGEROW_DEBUG" in answer.error["hint"]


def test_debug_shows_the_whole_way_to_an_error(hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEROW_DEBUG", "1")
    project(code="class Odd(Tiny):\n    def metrics(self, logits, y):\n        raise OSError('broken')\ntask = Odd()\n")
    answer = hedgerow("sim", "tiny", "--json")
    assert answer.error["code"] == "E900"
    assert "Traceback" in answer.err


def test_an_interruption_names_the_command_that_goes_on(
    hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: object, **named: object) -> None:
        raise KeyboardInterrupt

    project()
    hedgerow("sim", "tiny", "--runs", "my runs")
    for place, made in (("starting.check_job", False), ("engine.measure_leakage", True)):
        with monkeypatch.context() as patch:
            patch.setattr(f"hedgerow.simulations.{place}", interrupted)
            answer = hedgerow("sim", "tiny", "--json", "--runs", "my runs")
        assert (answer.exit_code, answer.error["code"]) == (130, "E901")
        run = hedgerow("ls", "--runs", "my runs", "--json").data["runs"][-1]["run"]
        command = f"hedgerow resume {run} --runs 'my runs'"
        assert answer.error["hint"] == (f"what was finished is kept; go on with: {command}" if made else "")


def test_a_verb_without_a_run_says_of_an_interruption_only_that_it_was_one(
    hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hedgerow.cli.checking.check_job", interrupted)
    project()
    answer = hedgerow("check", "tiny")
    assert (answer.exit_code, answer.err) == (130, f"E901 {CODES['E901']}\n")


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from hedgerow.cli import main
sys.argv = ["hedgerow", *{words!r}]
main()
"""


def without(packages: list[str], words: list[str]) -> subprocess.CompletedProcess[str]:
    code = BLOCKED.format(blocked=packages, words=words)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})


@pytest.mark.parametrize(
    ("packages", "words", "extra"),
    [
        (["torch", "flwr", "opacus", "sklearn", "jinja2"], ["demo"], "full"),
        (["flwr"], ["sim", "tiny"], "full"),
        (["torch"], ["check", "tiny"], "full"),
        (["opacus"], ["sim", "tiny"], "full"),
        (["jinja2"], ["sim", "tiny"], "full"),
        (["sklearn"], ["demo"], "full"),
        (["pyarrow"], ["new", "mine", "--data", "t.parquet", "--label", "y"], "full"),
        (["ray"], ["sim", "tiny", "--engine", "ray"], "ray"),
    ],
)
@pytest.mark.slow
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    project: Any, packages: list[str], words: list[str], extra: str
) -> None:
    project()
    Path("t.parquet").write_bytes(b"PAR1")
    done = without(packages, words)
    assert done.returncode == 2, done.stderr
    assert "E107" in done.stderr
    assert f"pip install 'hedgerow[{extra}]'" in done.stderr
    assert not Path("runs").exists() or extra == "ray"


def test_the_words_of_the_light_installation_need_no_extra(project: Any) -> None:
    done = without(["torch", "flwr", "opacus", "sklearn", "scipy", "jinja2"], ["ls", "--json"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"schema_version": 1, "status": "ok"')
