"""The plot of a sweep: lines over a number, dots for the rest, nothing outside of the picture."""

import itertools
import re
from collections.abc import Callable, Mapping

import pytest

from hedgerow.report.svg import HEIGHT, WIDTH
from hedgerow.report.sweepchart import MOST_LINES, SweepChart, sweep_chart
from hedgerow.report.sweeprows import SweepRow, SweepRun, sweep_rows
from hedgerow.settings import Scalar

Grid = Mapping[str, tuple[Scalar, ...]]


def rows(grid: Grid, value: Callable[[int, int], float | None], seeds: int = 3) -> tuple[SweepRow, ...]:
    runs = [
        SweepRun(
            name=f"{k}-{seed}",
            settings=dict(zip(grid, values, strict=True)),
            seed=seed,
            status="finished",
            metric="accuracy",
            value=value(k, seed),
        )
        for k, values in enumerate(itertools.product(*grid.values()))
        for seed in range(seeds)
    ]
    return sweep_rows(runs)


def drawn(grid: Grid, value: Callable[[int, int], float | None] = lambda k, seed: k / 10 + seed / 100) -> SweepChart:
    chart = sweep_chart(rows(grid, value), grid, metric="accuracy", title="Accuracy")
    assert chart is not None
    return chart


def test_a_number_makes_lines_one_for_each_other_combination() -> None:
    chart = drawn({"privacy.epsilon": (1, 3, 8), "aggregate.rule": ("median", "krum")})
    assert len(re.findall(r'<path [^>]*class="line ', chart.svg)) == 2
    assert chart.svg.count("<circle") == chart.svg.count('class="whisker') == 6
    assert chart.legend == (("s0", "rule median"), ("s1", "rule krum"))
    assert ">ε</text>" in chart.svg and "logarithmic" not in chart.caption


def test_a_wide_range_is_drawn_on_a_logarithmic_axis() -> None:
    chart = drawn({"local.lr": (0.01, 0.1, 1)})
    assert "logarithmic" in chart.caption and chart.legend == ()
    x = [float(found) for found in re.findall(r'<circle cx="([\d.]+)"', chart.svg)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)


def test_choices_make_a_dot_each() -> None:
    chart = drawn({"aggregate.rule": ("median", "krum", "mean")})
    assert 'class="line ' not in chart.svg and chart.svg.count("<circle") == 3
    assert ">krum</text>" in chart.svg and "A row is a cell (rule)" in chart.caption


def test_more_lines_than_shades_make_dots() -> None:
    many = tuple(range(1, MOST_LINES + 2))
    chart = drawn({"local.lr": tuple(k / 10 for k in range(1, 10)), "local.batch": (8, 16), "rounds": many})
    assert 'class="line ' not in chart.svg and chart.cut


def test_one_cell_or_none_measured_makes_no_picture() -> None:
    grid: Grid = {"rounds": (1, 2)}
    assert sweep_chart(rows(grid, lambda k, seed: None), grid, metric="accuracy", title="") is None
    alone = rows(grid, lambda k, seed: 0.5 if k == 0 else None)
    assert sweep_chart(alone, grid, metric="accuracy", title="") is None


@pytest.mark.parametrize("grid", [{"rounds": (1, 5, 50)}, {"aggregate.rule": ("median", "krum")}, {"rounds": (0, -3)}])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e9])
def test_everything_lies_in_the_picture(grid: Grid, scale: float) -> None:
    chart = drawn(grid, lambda k, seed: scale * (k * k - seed))
    height = float(re.findall(r'viewBox="0 0 \d+ ([\d.]+)"', chart.svg)[0])
    assert height <= HEIGHT
    for x, y in re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', chart.svg):
        assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= height
    for path in re.findall(r' d="M([^"]+)" class="(?:line|whisker)', chart.svg):
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        assert all(0 <= x <= WIDTH and 0 <= y <= height for x, y in points)


def test_an_interval_too_wide_to_draw_is_cut_and_that_is_said() -> None:
    grid: Grid = {"aggregate.rule": ("median", "krum")}
    assert "go on beyond it" in drawn(grid, lambda k, seed: 0.5 + k / 1000 + seed).caption
    assert "go on beyond it" not in drawn(grid, lambda k, seed: 0.5 + k + seed / 100).caption


def test_what_a_user_wrote_is_escaped() -> None:
    chart = drawn({"leakage.gate": ("auc <= 0.5", "auc <= 0.6")})
    assert "auc &lt;= 0.5" in chart.svg and "auc <=" not in chart.svg
