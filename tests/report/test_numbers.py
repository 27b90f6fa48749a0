import doctest
import re
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.report.numbers import duration, epsilon, measured, significant, size


@pytest.mark.parametrize("name", ["beside", "fields", "histogram", "method", "numbers", "roc", "svg"])
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    result = doctest.testmod(import_module(f"hedgerow.report.{name}"))
    assert result.attempted > 0 and result.failed == 0


@given(st.floats(1e-6, 1e4))
def test_epsilon_is_never_understated(value: float) -> None:
    shown = float(epsilon(value).replace(",", ""))
    assert value * (1 - 1e-6) <= shown <= value * 1.0101


@given(st.floats(-1e12, 1e12))
def test_no_number_has_float_dust(value: float) -> None:
    text = significant(value)
    assert len(re.sub(r"e-?\d+|\D", "", text).lstrip("0")) <= 6
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006)


def test_a_narrow_interval_gets_one_decimal_more() -> None:
    assert measured(0.91342, 0.88, 0.94) == "0.91 (0.88 – 0.94)"
    assert measured(0.91342, 0.9111, 0.9158) == "0.913 (0.911 – 0.916)"


def test_sizes_and_times_have_units() -> None:
    assert [size(n) for n in (0, 999, 1000, 19_240, 2.5e9)] == ["0 B", "999 B", "1.00 kB", "19.2 kB", "2.50 GB"]
    assert [duration(s) for s in (0.0, 0.05, 59.0, 60.0, 3600.0)] == [
        "0 ms",
        "50.0 ms",
        "59.0 s",
        "1 min 00 s",
        "1 h 00 min",
    ]
