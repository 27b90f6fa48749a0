import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.report.charts import Bar, Series, bars, columns, lines, thinned
from hedgerow.report.heatmap import heatmap
from hedgerow.report.roc import Ceiling, Curve, roc_chart
from hedgerow.report.summary import Interval, Leak, TprAt
from hedgerow.report.svg import HEIGHT, WIDTH, Axis, ticks
from hedgerow.wilson import wilson

HOSTILE = "<script>alert(1)</script>"
AUC = Interval(value=0.6, low=0.55, high=0.65, confidence=0.95)


def leak(points: tuple[tuple[float, float], ...]) -> Leak:
    at = TprAt(fpr=0.01, interval=Interval(value=0.0, low=0.0, high=0.05, confidence=0.95), note="")
    return Leak(
        adversary="a", attack="b", scope="all sites", members=90, nonmembers=100, auc=AUC, tpr=(at,), roc=points
    )


CHARTS = {
    "lines": lines("c", HOSTILE, HOSTILE, [Series(name=HOSTILE, points=((0, 0.1), (1, 0.9)))], up=HOSTILE),
    "one point": lines("c", "t", "d", [Series(name="a", points=((3, 0.0),), band=((3, 0.0, 0.0),))], up="x"),
    "below zero": lines("c", "t", "d", [Series(name="a", points=((0, -3.0), (1, -2.0)))], up="x", level=(1.0, "l")),
    "columns": columns("c", HOSTILE, "d", [(8, 2, 0), (0, 9, 1), (0, 0, 1)], up="sites", first=4),
    "bars": bars(
        "c", "t", "d", [Bar(name=HOSTILE, value=1.0, text="1", limit=2.0), Bar(name="b", value=0.0, text="0")]
    ),
    "heat": heatmap("c", "t", "d", [(HOSTILE, [0, 5]), ("b", [0, 0])], [HOSTILE, "2"]),
    "roc": roc_chart(
        "c", "t", "d", [Curve(name=HOSTILE, leak=leak(((0, 0), (0, 0.1), (1, 1))))], Ceiling(epsilon=3.0, delta=1e-5)
    ),
}


@pytest.mark.parametrize("kind", CHARTS)
def test_a_chart_is_well_formed_named_and_stays_inside_its_picture(kind: str) -> None:
    tree = ElementTree.fromstring(CHARTS[kind])
    named = {child.get("id"): child.text for child in tree if child.tag in ("title", "desc")}
    assert tree.get("role") == "img"
    assert (tree.get("aria-labelledby") or "").split() == ["c-title", "c-desc"] == list(named)
    assert all(named.values())
    assert not [child for child in tree.iter() if child.tag == "script"]
    height = float((tree.get("viewBox") or "").split()[3])
    for path in tree.iter("path"):
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d") or ""):
            assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= max(height, HEIGHT)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_any_values_can_be_drawn(values: list[float]) -> None:
    picture = lines("c", "t", "d", [Series(name="a", points=tuple(enumerate(values)))], up="x")
    ElementTree.fromstring(picture)
    assert "nan" not in picture and "inf" not in picture


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    found = [value for value, _ in ticks(low, low + width, str)]
    assert len(found) <= 7 and found == sorted(found)
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in found) or width < 1e-9 * abs(low)


def test_a_higher_value_is_drawn_higher() -> None:
    up = Axis(low=0, high=1, name="x", vertical=True)
    assert up.at(0.9) < up.at(0.1)
    assert Axis(low=1e-3, high=1, name="x", log=True).at(0.0) == Axis(low=1e-3, high=1, name="x").at(1e-3)


def test_a_long_series_is_thinned_with_both_ends_kept() -> None:
    assert list(thinned(range(10))) == list(range(10))
    short = list(thinned(range(5000)))
    assert len(short) == 250 and (short[0], short[-1]) == (0, 4999) and short == sorted(set(short))


def test_the_stronger_colour_has_more_records() -> None:
    picture = heatmap("c", "t", "d", [("a", [0, 1, 50, 100])], ["w", "x", "y", "z"])
    assert re.findall(r'class="heat h(\d)"', picture) == ["0", "1", "5", "9"]


@given(st.floats(0.01, 12), st.floats(0, 0.01), st.floats(0, 1))
def test_the_ceiling_is_a_trade_off_above_guessing(epsilon: float, delta: float, fpr: float) -> None:
    ceiling = Ceiling(epsilon=epsilon, delta=delta)
    assert fpr - 1e-12 <= ceiling.at(fpr) <= 1
    assert ceiling.at(fpr) <= Ceiling(epsilon=epsilon + 1, delta=delta).at(fpr) + 1e-12


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_band_of_a_share_contains_the_share(successes: int, trials: int) -> None:
    share = min(1.0, successes / trials)
    low, high = wilson(share, trials)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
