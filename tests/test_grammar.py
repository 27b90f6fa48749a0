"""Tests of hedgerow.grammar: one line of text in one of several forms, or an error that says which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Choice, Form, Grammar, Number

SHARE = Number(name="P", high=1, above=True)
PAIR = (Number(name="LOW", high=1), Number(name="HIGH", high=1))
GRAMMAR = Grammar(
    name="presence",
    forms=(
        Form(kind="always"),
        Form(kind="random", numbers=(SHARE,), example="random:0.3"),
        Form(kind="swing", numbers=PAIR, example="swing:0.1,0.4"),
        Form(kind="count", numbers=(Number(name="N", low=1, high=9, whole=True),), example="count:3"),
        Form(kind="trace", text="FILE.csv", example="trace:sites.csv"),
    ),
)


@pytest.mark.parametrize(
    ("written", "choice"),
    [
        ("always", Choice(kind="always")),
        (" always ", Choice(kind="always")),
        ("random:1", Choice(kind="random", numbers=(1.0,))),
        ("random : 2.5e-1", Choice(kind="random", numbers=(0.25,))),
        ("swing:0, .5", Choice(kind="swing", numbers=(0.0, 0.5))),
        ("count:9", Choice(kind="count", numbers=(9.0,))),
        ("trace:a folder/b:c,d.csv", Choice(kind="trace", text="a folder/b:c,d.csv")),
    ],
)
def test_each_form_is_read(written: str, choice: Choice) -> None:
    assert GRAMMAR.parse(written) == choice


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("randm:0.5", "unknown presence 'randm:0.5'", "did you mean 'random'?"),
        ("ALWAYS", "unknown presence", "did you mean 'always'?"),
        ("", "unknown presence ''", "always, random:P, swing:LOW,HIGH, count:N or trace:FILE.csv"),
        ("zzz", "unknown presence", "the choices are always,"),
        ("always:", "takes nothing after it", "write always"),
        ("always:3", "takes nothing after it", "write always"),
        ("random", "must state P above 0 and at most 1", "random:0.3"),
        ("random:0", "must state P", "random:0.3"),
        ("random:1.01", "must state P", "random:0.3"),
        ("random:-0.5", "must state P", "random:0.3"),
        ("random:nan", "must state P", "random:0.3"),
        ("random:inf", "must state P", "random:0.3"),
        ("random:1e999", "must state P", "random:0.3"),
        ("random:0_1", "must state P", "random:0.3"),
        ("random:0.1,0.2", "must state P", "random:0.3"),
        ("random:0.1,", "must state P", "random:0.3"),
        ("random:0.1:0.2", "must state P", "random:0.3"),
        ("swing:0.1", "must state LOW from 0 to 1, and HIGH from 0 to 1", "swing:0.1,0.4"),
        ("swing:0.1,2", "must state LOW", "swing:0.1,0.4"),
        ("count:1.5", "must state a whole number N from 1 to 9", "count:3"),
        ("count:0", "must state a whole number", "count:3"),
        ("trace:", "must state FILE.csv", "trace:sites.csv"),
        ("trace", "must state FILE.csv", "trace:sites.csv"),
    ],
)
def test_anything_else_is_refused_with_a_way_out(written: str, message: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        GRAMMAR.parse(written)
    assert caught.value.code == "E103" and caught.value.place == "presence"
    assert message in caught.value.message and hint in caught.value.hint


@given(st.floats(0, 1, exclude_min=True))
def test_a_number_in_range_is_read_to_the_last_bit(share: float) -> None:
    assert GRAMMAR.parse(f"random:{share!r}").numbers == (share,)


@given(st.text(max_size=20))
def test_no_text_is_read_halfway(written: str) -> None:
    try:
        choice = GRAMMAR.parse(written)
    except Misconfigured as error:
        assert error.code == "E103" and error.hint
    else:
        assert choice.kind in [form.kind for form in GRAMMAR.forms]
