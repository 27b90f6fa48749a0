"""One readable line per round, for ten sites and for a thousand, and one that is rewritten on a terminal."""

import doctest
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow import pace, statusline
from hedgerow.cli.demo import say_twin
from hedgerow.progress import Progress
from hedgerow.statusline import Screen, fitting, is_terminal, resident_memory

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


def test_more_suspects_than_expected_are_counted() -> None:
    (line,) = lines(STARTED, {**closed([]), "suspects": ["a", "b"]}, EVALUATED)
    assert line.endswith("  2 look hostile, more than the rule expects")


def test_a_thousand_silent_sites_fit_in_a_line() -> None:
    silent = [(f"site-{n:04d}", "E309") for n in range(600)] + [(f"site-{n:04d}", "E310") for n in range(600, 1000)]
    (line,) = lines(STARTED, closed(silent), EVALUATED)
    assert line.endswith("600 of 1,000 silent")
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
    planned = [{"event": "budget-planned", "site": site, "limit": limit} for site, limit in (("a", 3.0), ("b", 1.0))]
    spent = {"event": "budgets-spent", "epsilon": {"a": 0.5, "b": 0.25}}
    (line,) = lines(STARTED, *planned, spent, closed([]), EVALUATED)
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


def test_the_examples_in_the_docstrings_hold() -> None:
    for module in (pace, statusline):
        result = doctest.testmod(module)
        assert result.attempted > 0 and result.failed == 0


class Terminal(io.StringIO):
    """A terminal that knows a carriage return, erasing a line, and nothing else."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """What stands there: the lines that stay, and the last one with the cursor in it."""
        *kept, last = self.getvalue().split("\n")
        return [line.split("\r\x1b[2K")[-1] for line in (*kept, last)]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run_of(
    rounds: int, *, silent: Mapping[int, int] | None = None, void: Iterable[int] = (), clock: float | None = None
) -> Iterator[dict[str, Any]]:
    """The events of a run; `silent` sites of ten did not answer in a round."""
    for n in range(1, rounds + 1):
        yield {"event": "round-started", "round": n, "rounds": rounds, "asked": 10}
        rejected = [(f"site-{k}", "E309") for k in range((silent or {}).get(n, 0))]
        time = {} if clock is None else {"clock": n * clock}
        if n in void:
            yield {**closed(rejected, n), **time, "event": "round-voided", "code": "E501", "reason": "too few"}
            continue
        yield {**closed(rejected, n), **time}
        yield {**EVALUATED, "round": n, "metrics": {"accuracy": n / rounds}}
    yield {"event": "run-finished", "status": "finished"}


def watched(
    events: Iterable[Mapping[str, Any]], *, seconds: float = 0.05, live: bool | None = None, width: int = 100
) -> tuple[Terminal, list[str]]:
    """The terminal at the end, and the status line after each event; `seconds` pass before every event."""
    stream, clock, seen = Terminal(), Clock(), []
    progress = Progress(stream, live=live, clock=clock, memory=lambda: 412_000_000, width=lambda: width)
    for event in events:
        clock.now += seconds
        progress(event)
        seen.append(stream.screen[-1])
    return stream, seen


def test_on_a_terminal_one_line_tells_the_state_and_the_last_round_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    stream, seen = watched(run_of(40, clock=3600.0), seconds=0.2)
    assert stream.screen == ["round 40/40  accuracy 1.000 (0.70 to 0.90)", ""]
    assert (
        seen[3 * 20 - 1]
        == "round 20/40  accuracy 0.500 (0.70 to 0.90)  1.7 rounds/s  12 s left  412 MB  simulated 20 h 00 min"
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.floats(0.001, 40))
def test_the_line_is_drawn_at_most_ten_times_a_second_and_never_wraps(width: int, seconds: float) -> None:
    planned = {"event": "budget-planned", "site": "a", "limit": 3.0}
    spent = {"event": "budgets-spent", "epsilon": {"a": 1.0}}
    events = [planned, *(event for each in run_of(30, void=(7,)) for event in (each, spent))]
    stream, seen = watched(events, seconds=seconds, live=True, width=width)
    assert all(len(line) < width for line in seen)
    kept = stream.screen[:-1]
    assert kept == [
        "round 7 released nothing: E501 too few",
        "round 30/30  accuracy 1.000 (0.70 to 0.90)  ε 1.00 of 3",
    ]
    drawn = stream.getvalue().count("\x1b[2K") - 2 * len(kept)  # a line that stays may erase and draw again
    assert drawn <= 1 + 10 * seconds * len(events)


def test_a_narrow_terminal_shows_the_round_and_the_metric_first() -> None:
    _, seen = watched(run_of(40, clock=3600.0), live=True, width=31)
    assert seen[60] == "round 20/40  accuracy 0.500"
    _, seen = watched(run_of(40, clock=3600.0), live=True, width=65)
    assert seen[60] == "round 20/40  accuracy 0.500  6.9 rounds/s  2.9 s left  412 MB"


def test_words_that_fill_two_columns_are_counted_so() -> None:
    assert fitting([(1, "精度 0.8")], 6) == "精度 0"


def test_a_bad_update_stays_on_the_screen_once() -> None:
    events = [
        event if event["event"] != "round-closed" else {**event, "rejected": [{"site": "x", "code": "E303"}]}
        for event in run_of(30)
    ]
    stream, _ = watched(events, live=True)
    assert [line[:11] for line in stream.screen] == ["round  1/30", "round 30/30", ""]
    assert "rejected x (non-finite values)" in stream.screen[0]


def test_a_run_that_is_stopped_tells_its_last_round() -> None:
    stopped = {"event": "run-finished", "status": "interrupted", "rounds": 5, "code": "E901", "reason": "interrupted"}
    stream, _ = watched([*list(run_of(30))[:15], stopped], live=True)
    assert stream.screen == [
        "round  5/30  accuracy 0.167 (0.70 to 0.90)",
        "interrupted after round 5: E901 interrupted",
        "",
    ]
    stream, _ = watched([*list(run_of(1000))[: 3 * 57], stopped], live=False)
    assert stream.screen[-3].startswith("round   57/1000  accuracy 0.057")


@pytest.mark.parametrize("rounds", [1, 7, 200])
def test_a_short_run_has_a_line_for_each_round(rounds: int) -> None:
    told = lines(*run_of(rounds))
    assert told == [
        f"round {n:>{len(str(rounds))}}/{rounds}  accuracy {n / rounds:.3f} (0.70 to 0.90)"
        for n in range(1, rounds + 1)
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(201, 4000), st.integers(2, 200))
def test_a_long_run_has_about_two_hundred_lines_and_none_is_missed_that_matters(rounds: int, strange: int) -> None:
    events = list(run_of(rounds, silent={strange: 3, strange + 1: 3}))
    told = [int(line[5:].partition("/")[0]) for line in lines(*events)]
    assert told == sorted(set(told)) and len(told) <= 215
    assert {*range(1, 11), strange, rounds} <= set(told)


def test_a_long_run_tells_its_pace_and_its_memory_elsewhere_too() -> None:
    stream, _ = watched(run_of(600), live=False, seconds=0.1)
    told = stream.screen[:-1]
    assert told[-2].startswith("round 595/600") and told[-2].endswith("  3.3 rounds/s  1.5 s left  412 MB")
    assert told[-1].endswith("  3.3 rounds/s  412 MB")


def test_rounds_without_a_model_are_counted_once_there_are_many() -> None:
    stream, seen = watched(run_of(300, void=range(1, 250)), live=True, seconds=0.5)
    kept = stream.screen[:-1]
    assert sum("released nothing: E501" in line for line in kept) == 20
    assert kept[-1] == "249 rounds in all released nothing" and kept[-2].startswith("round 300/300")
    assert "100 void rounds" in "".join(seen)


def test_the_pace_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    measured = pace.Pace(clock)
    for n in range(200):
        clock.now += 1.0 if n < 100 else 0.25
        measured.reached(n)
    assert measured.words(299) == ("4.0 rounds/s", "25 s left")
    clock.now += 7200.0
    measured.reached(200)
    assert measured.words(299)[0].endswith("/round")


@given(st.lists(st.floats(0, 1e5), max_size=60))
def test_the_pace_is_never_negative_and_holds_few_marks(steps: list[float]) -> None:
    clock = Clock()
    measured = pace.Pace(clock)
    for n, step in enumerate(steps):
        clock.now += step
        measured.reached(n)
        assert not any("-" in word or "nan" in word for word in measured.words(len(steps)))


def chosen(**changes: Any) -> dict[str, Any]:
    facts = {"engine": "cohort", "path": "layers", "reason": "linear layers", "private": "ghost norms"}
    return {"event": "engine-chosen", **facts, "difference": 3e-8, "workers": 2, "chunk": 8, "device": "cpu", **changes}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "engine cohort: stacked layers, ghost norms; 2 workers (difference to one by one 3e-08)"),
        ({"private": "", "difference": None, "workers": 1}, "engine cohort: stacked layers; 1 worker"),
        ({"path": "vmap", "device": "cuda"}, "engine cohort: vmap, ghost norms; 2 workers on cuda"),
        (
            {"path": "one-by-one", "private": "opacus", "reason": "batch normalisation"},
            "notice: engine cohort trains one site after another (opacus): batch normalisation",
        ),
        ({"path": "tomorrow's", "private": ""}, "engine cohort: tomorrow's; 2 workers"),
    ],
)
def test_the_path_that_trains_the_sites_is_told(changes: dict[str, Any], line: str) -> None:
    assert lines(chosen(**changes))[0].startswith(line)


def test_a_thousand_budgets_in_one_event_show_the_highest_of_its_limit() -> None:
    planned = [{"event": "budget-planned", "site": site, "limit": limit} for site, limit in (("a", 3.0), ("b", 2.0))]
    spent = {"event": "budgets-spent", "round": 1, "epsilon": {"a": 0.25, "b": 0.5}}
    assert lines(*planned, STARTED, spent, closed([]), EVALUATED)[0].endswith("ε 0.50 of 2")
    assert lines(STARTED, spent, closed([]), EVALUATED)[0].endswith("ε 0.50")
    unbounded = {**spent, "epsilon": {"a": None, "b": 0.5}}
    assert lines(*planned, STARTED, unbounded, closed([]), EVALUATED)[0].endswith("ε inf of 3")


@pytest.mark.parametrize(
    ("environment", "live"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
    ],
)
def test_only_a_terminal_that_can_rewrite_a_line_gets_one(environment: dict[str, str], live: bool) -> None:
    assert is_terminal(Terminal(), environment) is live
    assert not is_terminal(io.StringIO(), environment)


def test_there_are_no_colours_to_switch_off() -> None:
    stream, _ = watched(run_of(30), live=True)
    assert "\x1b" not in stream.getvalue().replace("\x1b[2K", "")


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error"), ValueError("closed file")])
def test_a_terminal_that_goes_away_ends_the_printing_not_the_run(error: Exception) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise error

    progress = Progress(Gone(), live=True)
    for event in run_of(30):
        progress(event)


def test_an_alphabet_without_epsilon_ends_nothing() -> None:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"), live=False)
    screen.print("ε 0.50")
    screen.print("after it")
    assert raw.getvalue() == b"? 0.50\nafter it\n"


def test_the_memory_shown_is_this_process_s() -> None:
    held = resident_memory()
    assert held is None or 1e6 < held < 1e12


def test_a_process_without_a_stdout_runs_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    Progress()({"event": "run-finished", "status": "failed", "rounds": 1, "code": "E501", "reason": "too few"})


MEASURED = {"scope": "all sites", "attack": "loss threshold", "adversary": "queries the final model"}
MEASURING: list[dict[str, Any]] = [
    {"event": "leakage-started", "sites": 1200, "records": 9000},
    {"event": "leakage-measured", "result": {**MEASURED, "auc": {"value": 0.5, "low": 0.4, "high": 0.6}}},
    {"event": "run-finished", "status": "finished"},
]
MEASURING_WORDS = "measuring membership inference on 9,000 records of 1,200 sites"


def test_what_takes_time_after_the_rounds_is_told_while_it_does() -> None:
    rounds = list(run_of(2))[:-1]
    said = lines(*rounds, *MEASURING)
    assert said[2] == MEASURING_WORDS and said[3].startswith("membership inference (loss threshold")


def test_on_a_terminal_the_measuring_is_told_until_its_result() -> None:
    rounds = list(run_of(2))[:-1]
    stream, seen = watched([*rounds, *MEASURING], live=True, seconds=0.0)
    assert seen[len(rounds)] == MEASURING_WORDS
    assert not any(MEASURING_WORDS in line for line in stream.screen)
    assert stream.screen[-2].startswith("membership inference (loss threshold") and stream.screen[-1] == ""
