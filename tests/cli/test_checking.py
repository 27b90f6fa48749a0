"""`hedgerow check`: every finding once, the worst first, and the first error decides."""

from typing import Any

import pytest

ONE_RECORD = """
class Odd(Tiny):
    def data(self, site):
        return Data(draw(site.index, 1 if site.index == 0 else 40), draw(100 + site.index, 4))

task = Odd()
"""


def test_a_job_that_can_start_is_told_with_its_size_and_digest(hedgerow: Any, project: Any) -> None:
    project()
    answer = hedgerow("check", "tiny")
    assert (answer.exit_code, answer.err) == (0, "")
    assert "the job can start: 5 sites, 3 rounds, digest" in answer.out


def test_an_error_is_told_once_before_the_warnings_and_the_notes(hedgerow: Any, project: Any) -> None:
    project(code=ONE_RECORD, replace={"cohort.quorum = 3": "cohort.quorum = 2"})
    answer = hedgerow("check", "tiny")
    assert (answer.exit_code, answer.out) == (2, "")
    lines = answer.err.splitlines()
    assert answer.err.count("single training record") == 1
    assert lines[0].startswith("✗ error E125")
    assert lines[-1] == "the job cannot start: 1 error"
    marks = [line[0] for line in lines if line[0] in "✗!·"]
    assert marks == sorted(marks, key="✗!·".index) and set(marks) == set("✗!·")


def test_the_envelope_has_the_first_error_and_every_finding(hedgerow: Any, project: Any) -> None:
    project(code=ONE_RECORD, replace={"privacy.delta = 1e-3": "privacy.delta = 0.5"})
    error = hedgerow("check", "tiny", "--json").error
    errors = [finding for finding in error["findings"] if finding["level"] == "error"]
    assert [finding["code"] for finding in errors] == ["E125", "E132"]
    assert {key: errors[0][key] for key in ("code", "message", "place", "hint")} == {
        key: error[key] for key in ("code", "message", "place", "hint")
    }
    assert error["findings"][0] == errors[0]
    assert "all findings" not in error["hint"]


BATCH_NORM = """
class Odd(Tiny):
    def model(self):
        return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))

task = Odd()
"""
NO_RECORDS = ONE_RECORD.replace("1 if", "0 if")


@pytest.mark.parametrize(
    ("code", "changes", "expected", "words"),
    [
        (BATCH_NORM, {}, "E130", "make_private_model"),
        (NO_RECORDS, {}, "E125", "leave such sites out"),
        ("", {"aggregate.byzantine = 1": "aggregate.byzantine = 4"}, "E105", "lower aggregate.byzantine"),
        ("", {"cohort.quorum = 3": "cohort.quorum = 9"}, "E105", "lower cohort.quorum"),
        ("", {"privacy.delta = 1e-3": "privacy.delta = 0.5"}, "E132", "write privacy.delta = 0.0001"),
        ("", {'privacy.unit = "record"\n': ""}, "E104", 'write privacy.unit = "record", "site" or "none"'),
        ("", {'secure.mode = "off"': 'secure.mode = "groups"'}, "E106", 'write secure.mode = "off"'),
        ("", {"rounds = 3": "rouns = 3"}, "E101", "did you mean 'rounds'?"),
        ("", {"rounds = 3": 'rounds = "three"'}, "E102", ""),
        ("", {"rounds = 3": "rounds = 0"}, "E103", ""),
        ("", {"rounds = 3": "rounds = 3\nleakage.gate = 'acu < 1'"}, "E103", "auc <= 0.55"),
        ("", {"rounds = 3": "rounds = "}, "E111", ""),
        ("", {'split = "iid"': 'split = "idd"'}, "E103", ""),
        ("", {"sites = 5": "sits = 5"}, "E101", "did you mean 'sites'?"),
    ],
)
def test_what_is_wrong_is_told_with_its_code_and_the_next_step(
    hedgerow: Any, project: Any, code: str, changes: dict[str, str], expected: str, words: str
) -> None:
    pooled = "" if "idd" not in str(changes) else POOLED
    project(code=code or pooled, replace=changes)
    answer = hedgerow("check", "tiny", "--json")
    assert answer.exit_code == 2
    assert answer.error["code"] == expected
    assert words in answer.error["hint"]


POOLED = """
from hedgerow import PooledTask

class Pool(PooledTask):
    labels = ("in", "out")

    def model(self):
        return torch.nn.Linear(2, 2)

    def pool(self):
        return Data(draw(0, 200), draw(1, 40))

task = Pool()
"""


@pytest.mark.parametrize(
    ("changes", "line"), [({"rounds = 3": "rouns = 3"}, 13), ({"sites = 5": "sites = 5\natack = 'none'"}, 23)]
)
def test_a_mistyped_key_is_told_with_its_line(hedgerow: Any, project: Any, changes: dict[str, str], line: int) -> None:
    folder = project(replace=changes)
    wrong = next(iter(changes.values())).splitlines()[-1]
    assert (folder / "pyproject.toml").read_text().splitlines()[line - 1] == wrong
    assert hedgerow("check", "tiny", "--json").error["place"] == f"pyproject.toml:{line}"


@pytest.mark.parametrize(
    ("option", "words", "code", "place"),
    [
        ("-c", "rouns=3", "E101", "-c"),
        ("-s", "sits=3", "E101", "-s"),
        ("-c", "rounds=many", "E102", "-c"),
        ("-c", "rounds", "E102", "-c"),
        ("-c", "rounds='3", "E102", "-c"),
        ("-s", "attack=sign-flip", "E105", "-s, attack"),
        ("-c", "privacy.unit=none", "", ""),
    ],
)
def test_a_mistake_in_an_override_is_told_at_its_option(
    hedgerow: Any, project: Any, option: str, words: str, code: str, place: str
) -> None:
    project()
    answer = hedgerow("check", "tiny", option, words, "--json")
    if not code:
        assert answer.exit_code == 0
        return
    assert (answer.error["code"], answer.error["place"]) == (code, place)


def test_words_after_an_option_that_is_given_again_add_up(hedgerow: Any, project: Any) -> None:
    project()
    apart = ("-c", "rounds=7", "-c", "local.lr=0.2", "-s", "sites=4", "-s", "seed=3")
    together = ("-c", "rounds=7 local.lr=0.2", "-s", "sites=4 seed=3")
    assert hedgerow("check", "tiny", *apart, "--json").data == hedgerow("check", "tiny", *together, "--json").data
    answer = hedgerow("check", "tiny", "-c", "rounds=7", "-c", "rounds=8", "--json")
    assert (answer.error["code"], answer.error["place"]) == ("E105", "-c, rounds")


def test_an_app_without_a_task_says_what_can_be_done_with_it(hedgerow: Any, project: Any) -> None:
    folder = project()
    (folder / "app.py").write_text(
        "from flwr.clientapp import ClientApp\nfrom flwr.serverapp import ServerApp\n"
        "client = ClientApp()\nserver = ServerApp()\n"
    )
    error = hedgerow("check", "tiny", "--json").error
    assert error["code"] == "E111" and "hedgerow sim" in error["hint"]
