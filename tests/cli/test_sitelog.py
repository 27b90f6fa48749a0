"""A site's failure is said once, not once a round."""

import io
import logging

import pytest

from hedgerow.cli.sitelog import failures_once
from hedgerow.errors import Misconfigured

log = logging.getLogger("hedgerow.client")


def fail(site: str, words: str) -> None:
    try:
        raise ValueError(words)
    except ValueError:
        log.exception("%s failed", site)


def test_failures_at_one_place_are_said_once() -> None:
    stream = io.StringIO()
    with failures_once(stream):
        for number in range(5):
            fail("ward-1", f"record {number}")
    assert stream.getvalue().count("ward-1 failed: ValueError: record 0") == 1
    assert "record 1" not in stream.getvalue()
    assert "test_sitelog.py:" in stream.getvalue() and "HEDGEROW_DEBUG" in stream.getvalue()


def test_errors_of_one_code_are_said_once_and_of_another_again() -> None:
    stream = io.StringIO()
    with failures_once(stream):
        for number in range(3):
            for code in ("E102", "E125"):
                log.warning("%s does not take part: %s", f"ward-{number}", Misconfigured(code, f"words {number}"))
    assert stream.getvalue().count("does not take part") == 2
    assert "E102 words 0" in stream.getvalue() and "E125 words 0" in stream.getvalue()


def test_the_log_is_as_it_was_afterwards() -> None:
    before = log.propagate, list(log.handlers)
    with failures_once(io.StringIO()):
        assert not log.propagate
    assert (log.propagate, list(log.handlers)) == before


def test_debug_leaves_the_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEROW_DEBUG", "1")
    with failures_once(io.StringIO()):
        assert log.propagate and not log.handlers
