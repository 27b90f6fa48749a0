"""One readable line per round, for ten sites and for a thousand."""

import io
from collections.abc import Mapping
from typing import Any

import pytest

from hedgerow.cli.demo import say_twin
from hedgerow.progress import Progress

EVALUATED = {"event": "evaluated", "round": 1, "metrics": {"accuracy": 0.8}, "low": 0.7, "high": 0.9}


def closed(rejected: list[tuple[str, str]], number: int = 1) -> dict[str, Any]:
    entries = [{"site": site, "code": code, "reason": "whatever the rule calls it"} for site, code in rejected]
    return {"event": "round-closed", "round": number, "rejected": entries}


def lines(*events: Mapping[str, Any]) -> list[str]:
    stream = io.StringIO()
    progress = Progress(stream)
    for event in events:
        progress(event)
    return stream.getvalue().splitlines()


STARTED = {"event": "round-started", "round": 1, "rounds": 20, "asked": 5}


@pytest.mark.parametrize("scenario", [{}, {"seed": 0}])
def test_a_simulated_epsilon_is_called_no_dp_release_from_the_first_line(scenario: dict[str, Any]) -> None:
    job = {"privacy.unit": "record", "privacy.epsilon": 3.0, "privacy.delta": 1e-4, "rounds": 20}
    job |= {"aggregate.rule": "mean", "aggregate.before": "none", "aggregate.byzantine": 0}
    facts = {"run": "r", "engine": "in-process", "task": "t", "sites": 2, "parameters": 5}
    said = lines({"event": "run-started", "job": job, "scenario": scenario, **facts})
    assert any("ε ≤ 3 per record at δ = 0.0001" in line for line in said)
    assert any("not a DP release" in line for line in said) == bool(scenario)


def test_whom_the_rule_leaves_out_is_not_called_rejected() -> None:
    (line,) = lines(STARTED, closed([("site-03", "E310")]), EVALUATED)
    assert line == "round  1/20  accuracy 0.800 (0.70 to 0.90)  left out site-03"


def test_a_bad_update_is_rejected_with_its_reason() -> None:
    (line,) = lines(STARTED, closed([("site-03", "E310"), ("site-04", "E303"), ("site-05", "E303")]), EVALUATED)
    assert line.endswith("left out site-03  rejected site-04 site-05 (non-finite values)")


def test_a_thousand_silent_sites_fit_in_a_line() -> None:
    silent = [(f"site-{n:04d}", "E309") for n in range(600)] + [(f"site-{n:04d}", "E310") for n in range(600, 1000)]
    (line,) = lines(STARTED, closed(silent), EVALUATED)
    assert "and 594 more (no answer before the deadline)" in line
    assert "and 394 more" in line
    assert len(line) < 300


def test_many_reasons_are_counted_not_listed() -> None:
    codes = ["E301", "E302", "E303", "E304", "E305", "E301"]
    (line,) = lines(STARTED, closed([(f"site-{n}", code) for n, code in enumerate(codes)]), EVALUATED)
    assert "rejected site-0 site-5 (wrong shape or size)" in line
    assert line.count("(") == 4 and line.endswith("and 2 for other reasons")  # an interval and three reasons


def test_a_round_that_nobody_evaluates_has_its_line_too() -> None:
    told = lines(
        STARTED,
        closed([]),
        {**STARTED, "round": 2},
        closed([("a", "E308")], 2),
        {"event": "run-finished", "status": "finished"},
    )
    assert told == ["round  1/20", "round  2/20  rejected a (the site failed while training)"]


def test_the_budget_is_that_of_the_site_that_spent_most() -> None:
    spent = [
        {"event": "budget-spent", "site": site, "epsilon": epsilon, "limit": 3.0}
        for site, epsilon in (("a", 0.5), ("b", 0.25))
    ]
    (line,) = lines(STARTED, *spent, closed([]), EVALUATED)
    assert line.endswith("ε 0.50 of 3")


def test_a_round_without_a_model_says_why_and_who() -> None:
    voided = {**closed([("a", "E308")]), "event": "round-voided", "code": "E501", "reason": "1 usable update"}
    assert lines(STARTED, voided) == [
        "round 1 released nothing: E501 1 usable update  rejected a (the site failed while training)"
    ]


@pytest.mark.parametrize("passed", [True, False])
def test_a_gate_is_told_once(passed: bool) -> None:
    text = f"auc <= 0.5: {'passed' if passed else 'failed'}, at most 0.49"
    assert lines({"event": "gate-checked", "gate": "auc <= 0.5", "passed": passed, "text": text}) == [f"gate {text}"]


def test_a_metric_that_is_not_finite_is_told_in_words() -> None:
    (line,) = lines(STARTED, closed([]), {**EVALUATED, "metrics": {"accuracy": None}, "low": None, "high": None})
    assert line.endswith("accuracy not finite")


def test_a_reader_that_leaves_ends_the_printing_not_the_run() -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    progress = Progress(Left())
    for _ in range(3):
        for event in (STARTED, closed([]), EVALUATED):
            progress(event)


def test_a_twin_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    say_twin("undefended", {"accuracy": 0.25, "loss": 3.0})
    assert capsys.readouterr().out == "the same job without the robust rule: accuracy 0.250\n"
