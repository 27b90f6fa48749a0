"""Tests of hedgerow.errors: every code has one family, one text and one exit code."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import CODES, Exhausted, HedgerowError, Misconfigured, Refused, Rejected, Tampered

FAMILIES = (Misconfigured, Refused, Rejected, Tampered, Exhausted, HedgerowError)


def family(code: str) -> type[HedgerowError]:
    (found,) = [kind for kind in FAMILIES if code.startswith(kind.family)]
    return found


def test_every_code_belongs_to_exactly_one_family() -> None:
    assert all(re.fullmatch(r"E[1-59]\d\d", code) for code in CODES)
    assert {family(code) for code in CODES} == set(FAMILIES)


def test_every_family_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in FAMILIES]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes


@settings(deadline=None)
@given(st.sampled_from(sorted(CODES)), st.sampled_from(FAMILIES))
def test_a_code_of_another_family_cannot_be_raised(code: str, kind: type[HedgerowError]) -> None:
    if code.startswith(kind.family):
        assert kind(code, "x").title == CODES[code]
    else:
        with pytest.raises(KeyError):
            kind(code, "x")


@pytest.mark.parametrize("code", ["E199", "", "E1", "e101", "X101"])
def test_a_code_that_is_not_documented_cannot_be_raised(code: str) -> None:
    with pytest.raises(KeyError):
        Misconfigured(code, "x")


@settings(deadline=None)
@given(st.sampled_from(sorted(CODES)), st.text(), st.text(), st.text())
def test_an_error_crosses_processes_whole(code: str, message: str, place: str, hint: str) -> None:
    error = family(code)(code, message, place=place, hint=hint)
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert (again.code, again.message, again.place, again.hint, again.title) == (
            code,
            message,
            place,
            hint,
            CODES[code],
        )


def test_an_error_reads_as_one_sentence_with_what_it_has() -> None:
    assert str(Refused("E201", "no")) == "E201 no"
    assert str(Refused("E201", "no", place="a")) == "E201 no (a)"
    assert str(Refused("E201", "no", hint="ask")) == "E201 no; ask"
