"""Tests of hedgerow.findings: findings keep what the error said, whatever its family."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import CODES, Exhausted, HedgerowError, Misconfigured, Refused, Rejected, Tampered
from hedgerow.findings import LEVELS, Finding, refuse_errors

FAMILIES = (Misconfigured, Refused, Rejected, Tampered, Exhausted, HedgerowError)


@settings(deadline=None)
@given(st.sampled_from(sorted(CODES)))
def test_an_error_of_any_family_comes_back_as_it_was(code: str) -> None:
    kind = next(kind for kind in FAMILIES if code.startswith(kind.family))
    error = kind(code, "what", place="where", hint="how")
    with pytest.raises(HedgerowError) as caught:
        refuse_errors([Finding(level="note", message="x"), Finding.of(error)])
    assert type(caught.value) is kind
    assert str(caught.value) == str(error)


def test_warnings_and_notes_refuse_nothing_and_the_first_error_does() -> None:
    mild = [Finding(level=level, message="x") for level in LEVELS[1:]]
    refuse_errors(mild)
    errors = [Finding(level="error", code=code, message="x") for code in ("E105", "E104")]
    with pytest.raises(Misconfigured) as caught:
        refuse_errors([*mild, *errors])
    assert caught.value.code == "E105"


@pytest.mark.parametrize(("level", "code"), [("fatal", "E105"), ("error", "E999"), ("error", ""), ("note", "E999")])
def test_a_finding_that_nobody_could_look_up_cannot_be_made(level: str, code: str) -> None:
    with pytest.raises(KeyError):
        Finding(level=level, code=code, message="x")
