"""The one plot of a sweep: the metric against a swept number, or cell by cell where no number was swept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hedgerow.report.charts import shortened
from hedgerow.report.numbers import measured
from hedgerow.report.svg import WIDTH, Axis, drawing, element, frame, label, line_path, ticks
from hedgerow.report.sweeprows import SYMBOLS, Grid, Spread, SweepRow, headings
from hedgerow.settings import Scalar

__all__ = ["MOST_LINES", "SweepChart", "sweep_chart"]

MOST_LINES = 5  # as many as shades and dashes tell apart
MOST_DOTS = 40
WIDEST = 5  # what an interval may take on each side, in units of the distance between the means
_ROW = 24
_APART = 26  # the least distance of two ticks' texts, in the picture's units
_BAND = 14.0  # the lines' whiskers at one value stand beside each other within this width
_NAME = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepChart:
    """The picture, its legend (shade and name), what it shows in words, and whether some cells found no place in it."""

    svg: str
    legend: tuple[tuple[str, str], ...]
    caption: str
    cut: bool


def sweep_chart(rows: Sequence[SweepRow], grid: Grid, *, metric: str, title: str) -> SweepChart | None:
    """Lines over the swept number with the most values, one for each combination of the other keys, if that makes at
    most five; otherwise a dot per cell. `None` where fewer than two cells were measured."""
    shown = [(row, row.result) for row in rows if row.result is not None]
    if len(shown) < 2:
        return None
    along = _along(grid)
    if along is None:
        return _dots(shown, grid, metric=metric, title=title)
    others = [key for key in grid if key != along]
    series: dict[tuple[Scalar, ...], list[tuple[float, Spread]]] = {}
    for row, result in shown:
        series.setdefault(tuple(row.settings[key] for key in others), []).append((float(row.settings[along]), result))
    return _lines(series, others, along=along, metric=metric, title=title)


def _along(grid: Grid) -> str | None:
    """The key across which lines are drawn."""
    numeric = [key for key, values in grid.items() if len(values) > 1 and all(map(_is_number, values))]
    for key in sorted(numeric, key=lambda key: -len(grid[key])):
        if math.prod(len(values) for other, values in grid.items() if other != key) <= MOST_LINES:
            return key
    return None


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(
    series: Mapping[tuple[Scalar, ...], Sequence[tuple[float, Spread]]],
    others: Sequence[str],
    *,
    along: str,
    metric: str,
    title: str,
) -> SweepChart:
    values = sorted({x for points in series.values() for x, _ in points})
    across = _across(values, SYMBOLS.get(along, along))
    up = _up([result for points in series.values() for _, result in points], metric)
    names = [_words(others, chosen) for chosen in series]
    parts = [frame(across, up), label(metric, 4, 11, "axis-name")]
    for k, points in enumerate(series.values()):
        beside = _BAND * (k / (len(series) - 1) - 0.5) if len(series) > 1 else 0.0
        drawn = [(across.at(x) + beside, result) for x, result in sorted(points, key=lambda point: point[0])]
        parts.append(line_path([(x, up.at(result.mean)) for x, result in drawn], f"line s{k % MOST_LINES}"))
        for x, result in drawn:
            parts.append(_whisker(x, result, up, k))
            parts.append(element("circle", cx=x, cy=up.at(result.mean), r=2.6, class_=f"dot s{k % MOST_LINES}"))
    scale = " The horizontal axis is logarithmic." if across.log else ""
    edge = _edge([result for points in series.values() for _, result in points], up.low, up.high)
    caption = f"Each point is the mean over seeds, its upright line the 95 % t interval.{scale}{edge}"
    spoken = "; ".join(
        f"{name + ': ' if name else ''}{', '.join(f'{measured(result.mean)} at {_text(x)}' for x, result in points)}"
        for name, points in zip(names, series.values(), strict=True)
    )
    legend = tuple((f"s{k % MOST_LINES}", name) for k, name in enumerate(names)) if others else ()
    return SweepChart(svg=drawing(_NAME, title, spoken, *parts), legend=legend, caption=caption, cut=False)


def _dots(shown: Sequence[tuple[SweepRow, Spread]], grid: Grid, *, metric: str, title: str) -> SweepChart:
    """A row per cell: a dot for the mean, a line for its interval."""
    drawn = shown[:MOST_DOTS]
    start, end, bottom = 150, WIDTH - 14, 10 + len(drawn) * _ROW
    low, high = _ends([result for _, result in drawn])
    parts = []
    for value, text in ticks(low, high, _text):
        x = start + (end - start) * (value - low) / (high - low)
        parts.append(element("path", d=f"M{x:.1f} 4V{bottom}", class_="grid"))
        parts.append(label(text, x, bottom + 15, anchor="middle"))
    parts.append(label(metric, (start + end) / 2, bottom + 31, "axis-name", "middle"))
    for k, (row, result) in enumerate(drawn):
        y = 16 + k * _ROW
        name = ", ".join(_scalar(row.settings[key]) for key in grid)  # a key in each line would take its room
        parts.append(label(shortened(name, 22), start - 8, y + 4, anchor="end"))
        if result.low is not None and result.high is not None:
            left, right = (
                start + (end - start) * (min(max(x, low), high) - low) / (high - low) for x in (result.low, result.high)
            )
            parts.append(line_path([(left, y), (right, y)], "whisker s0"))
        middle = start + (end - start) * (result.mean - low) / (high - low)
        parts.append(element("circle", cx=middle, cy=y, r=3.4, class_="dot s0"))
    spoken = "; ".join(
        f"{_words(list(grid), list(row.settings.values()))}: {measured(result.mean)}" for row, result in drawn
    )
    edge = _edge([result for _, result in drawn], low, high)
    order = ", ".join(headings(grid))
    caption = f"A row is a cell ({order}): the dot is the mean over seeds, the line its 95 % t interval.{edge}"
    picture = drawing(_NAME, title, spoken, *parts, height=bottom + 40)
    return SweepChart(svg=picture, legend=(), caption=caption, cut=len(drawn) < len(shown))


def _whisker(x: float, result: Spread, up: Axis, k: int) -> str:
    if result.low is None or result.high is None:
        return ""
    return line_path([(x, up.at(result.low)), (x, up.at(result.high))], f"whisker s{k % MOST_LINES}")


def _across(values: Sequence[float], name: str) -> Axis:
    """An axis with a little room at both ends, ticks at the swept values that have room for their text."""
    log = values[0] > 0 and values[-1] / values[0] >= 10
    if log:
        margin = (values[-1] / values[0]) ** 0.06
        low, high = values[0] / margin, values[-1] * margin
    else:
        margin = (values[-1] - values[0]) * 0.06 or abs(values[0]) * 0.5 or 1.0
        low, high = values[0] - margin, values[-1] + margin
    bare = Axis(low=low, high=high, name=name, log=log)
    marks: list[tuple[float, str]] = []
    for value in values:
        if not marks or bare.at(value) - bare.at(marks[-1][0]) >= _APART:
            marks.append((value, _text(value)))
    return Axis(low=low, high=high, name=name, log=log, marks=tuple(marks))


def _up(results: Sequence[Spread], name: str) -> Axis:
    low, high = _ends(results)
    return Axis(low=low, high=high, name=name, vertical=True, marks=ticks(low, high, _text))


def _ends(results: Sequence[Spread]) -> tuple[float, float]:
    """From the lowest to the highest mean with their intervals, as far as those leave the means apart: two seeds can
    have an interval a hundred times as wide as what there is to see, and it is then cut at the edge."""
    means = [result.mean for result in results]
    low, high = min(means), max(means)
    room = max(high - low, 0.02 * max(abs(low), abs(high)), 1e-9)
    lows = [result.low for result in results if result.low is not None]
    highs = [result.high for result in results if result.high is not None]
    low, high = max(min([low, *lows]), low - WIDEST * room), min(max([high, *highs]), high + WIDEST * room)
    margin = 0.06 * (high - low) or room
    return low - margin, high + margin


def _edge(results: Sequence[Spread], low: float, high: float) -> str:
    """What must be said of intervals that the picture has no room for."""
    beyond = [r for r in results if r.low is not None and r.high is not None and (r.low < low or r.high > high)]
    return " Intervals that reach the edge of the picture go on beyond it: so few seeds say little." if beyond else ""


def _words(keys: Sequence[str], values: Sequence[Scalar]) -> str:
    """`rule krum, ε 3`, which a legend has room for."""
    return ", ".join(f"{name} {_scalar(value)}" for name, value in zip(headings(keys), values, strict=True))


def _scalar(value: Scalar) -> str:
    return _text(value) if _is_number(value) and not isinstance(value, str) else str(value)


def _text(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 else f"{value:.3g}"
