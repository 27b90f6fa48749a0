"""Tests of hedgerow.tomltext: what is written is what is read back."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from hedgerow.settings import Scalar
from hedgerow.tomltext import toml_literal

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats()


@given(word=TEXT)
def test_quoted_text_reads_the_same_in_python_and_toml(word: str) -> None:
    assert tomllib.loads(f"word = {toml_literal(word)}")["word"] == eval(toml_literal(word)) == word


@given(value=TEXT | st.booleans() | NUMBERS)
def test_every_value_comes_back_with_its_type(value: Scalar) -> None:
    read = tomllib.loads(f"value = {toml_literal(value)}")["value"]
    assert type(read) is type(value)
    assert repr(read) == repr(value)  # as text, since no number equals NaN
