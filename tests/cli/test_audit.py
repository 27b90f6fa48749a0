"""`hedgerow audit --conformance`: a line for every check, and an error where one fails."""

import re
from typing import Any

import pytest

from hedgerow.privacy import OsRandomness

LINES = ("audit", "tiny", "--conformance", "--restarts", "0")


def test_every_check_has_a_line_with_what_it_catches_and_does_not_show(hedgerow: Any, project: Any) -> None:
    project()
    answer = hedgerow(*LINES)
    assert (answer.exit_code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    checks = [line for line in lines if line.startswith("  ✓ passed")]
    assert lines[-1].startswith(f"all {len(checks)} checks passed")
    assert all("(p " in line for line in checks)
    assert {"catches", "does not show"} <= {line.strip().partition(":")[0] for line in lines}
    assert "path opacus, operating system generator" in answer.out
    assert "path cohort, " in answer.out and "not a DP release" in answer.out


def test_a_failing_mechanism_ends_with_an_error(hedgerow: Any, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project()
    draw = OsRandomness.gaussian
    monkeypatch.setattr(
        OsRandomness, "gaussian", lambda self, shape, std, dtype=None: draw(self, shape, std / 2, dtype)
    )
    answer = hedgerow(*LINES, "--path", "opacus")
    assert (answer.exit_code, answer.out) == (6, "")
    assert re.search(r"✗ FAILED  noise size: the noise is 0\.[45]", answer.err)
    assert answer.err.splitlines()[-2].startswith("E508 noise size")
    error = hedgerow(*LINES, "--path", "opacus", "--json").error
    assert error["code"] == "E508"
    failed = {check["name"] for part in error["parts"] for check in part["checks"] if not check["passed"]}
    assert "noise size" in failed and "clip" not in failed


def test_a_fresh_process_repeats_a_round_with_the_jobs_overrides(hedgerow: Any, project: Any) -> None:
    project()
    words = ("audit", "tiny", "--conformance", "--path", "opacus", "--json", "-c", "local.batch=8")
    alone = hedgerow(*words, "--restarts", "0").data["parts"][0]
    (part,) = hedgerow(*words, "--restarts", "1").data["parts"]
    assert part["passed"] and "1 more process" in part["title"]
    assert part["releases"] - alone["releases"] == 40 // 8


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ((), "E104", "--conformance"),
        (("--conformance", "-c", "privacy.unit=none"), "E105", "privacy.unit"),
        (("--conformance", "--path", "cohrt"), "E103", "cohort"),
        (("--conformance", "-c", "rouns=3"), "E101", "rounds"),
        (("--conformance", "--restarts", "-1"), "E103", ""),
    ],
)
def test_what_cannot_be_audited_is_told_with_the_next_step(
    hedgerow: Any, project: Any, words: tuple[str, ...], code: str, hint: str
) -> None:
    project()
    error = hedgerow("audit", "tiny", "--json", *words).error
    assert error["code"] == code and hint in error["hint"]


def test_the_help_is_plain(hedgerow: Any) -> None:
    help_of_audit = hedgerow("audit", "--help").out
    assert help_of_audit.splitlines()[2] == "  Test whether a project's privacy does what it claims."
    assert "\\[" not in help_of_audit and "left out" in " ".join(help_of_audit.split())
