"""The charts with values over rounds or over things: lines with bands, stacked columns, bars.

Series differ by dash and by shade, not by hue alone, and the table behind each chart has every number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hedgerow.report.numbers import significant
from hedgerow.report.svg import (
    HEIGHT,
    WIDTH,
    Axis,
    drawing,
    element,
    frame,
    hatching,
    label,
    line_path,
    ticks,
    whole_ticks,
)

__all__ = ["Bar", "Series", "bars", "columns", "lines", "shortened", "thinned"]

MOST_POINTS = 250
_ROW = 26
Point = TypeVar("Point")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line: points `(x, y)`, and for a band the points `(x, low, high)`."""

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A horizontal bar of `value`, with the mark of a `limit` it must not pass."""

    name: str
    value: float
    text: str
    limit: float | None = None


def lines(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    up: str,
    across: str = "round",
    bounds: tuple[float, float] | None = None,
    level: tuple[float, str] | None = None,
) -> str:
    """Values over rounds. `bounds` fixes the upward axis; `level` draws one horizontal line with its name."""
    points = [point for entry in series for point in entry.points]
    values = [y for _, y in points] + [y for s in series for _, *ends in s.band for y in ends]
    values += [level[0]] if level else []
    low, high = bounds or (min(0.0, *values, 0.0), max(*values, 1e-12) * 1.06)
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    last = last if last > first else first + 1
    down = Axis(low=low, high=high, name=up, vertical=True, marks=ticks(low, high, _short))
    along = Axis(low=first, high=last, name=across, marks=whole_ticks(first, last))
    parts = [frame(along, down), label(up, 4, 11, "axis-name")]
    if level:
        y = down.at(level[0])
        parts.append(line_path([(along.at(first), y), (along.at(last), y)], "level"))
        parts.append(label(level[1], along.at(last), y - 5, "tick", "end"))
    for k, entry in enumerate(series):
        band = thinned(entry.band)
        edge = [(along.at(x), down.at(top)) for x, _, top in band]
        edge += [(along.at(x), down.at(bottom)) for x, bottom, _ in reversed(band)]
        parts.append(line_path(edge, f"band s{k % 5}", closed=True))
    for k, entry in enumerate(series):
        drawn = [(along.at(x), down.at(y)) for x, y in thinned(entry.points)]
        parts.append(line_path(drawn, f"line s{k % 5}"))
        if len(drawn) <= 30:
            parts.extend(element("circle", cx=x, cy=y, r=2.2, class_=f"dot s{k % 5}") for x, y in drawn)
    return drawing(name, title, description, *parts)


def columns(
    name: str, title: str, description: str, heights: Sequence[tuple[int, int, int]], *, up: str, first: int = 1
) -> str:
    """Stacked counts `(kept, left out)` per round, and whether the round was void (third entry 1).

    The part left out is hatched, a void round has a cross above it.
    """
    highest = max((kept + out for kept, out, _ in heights), default=0) or 1
    down = Axis(low=0, high=highest * 1.12, name=up, vertical=True, marks=whole_ticks(0, highest))
    along = Axis(low=0, high=len(heights), name="round")
    hatch, hatched = hatching(name)
    parts = [hatch, frame(along, down), label(up, 4, 11, "axis-name")]
    for value, text in whole_ticks(first, first + len(heights) - 1):
        parts.append(label(text, along.at(value - first + 0.5), HEIGHT - 24, anchor="middle"))
    gap = 0.12 if len(heights) <= 60 else 0.0
    for k, (kept, out, void) in enumerate(heights):
        left, width = along.at(k + gap), along.at(k + 1 - gap) - along.at(k + gap)
        base, middle, top = down.at(0), down.at(kept), down.at(kept + out)
        if kept:
            parts.append(element("rect", x=left, y=middle, width=width, height=base - middle, class_="fill s0"))
        if out:
            box = {"x": left, "y": top, "width": width, "height": middle - top}
            parts.append(element("rect", **box, class_="fill out"))
            parts.append(element("rect", **box, fill=hatched))
        if void:
            parts.append(label("✕", left + width / 2, top - 4, "tick", "middle"))
    return drawing(name, title, description, *parts)


def bars(name: str, title: str, description: str, items: Sequence[Bar]) -> str:
    """Horizontal bars, each with its text, and the limit as an upright mark where there is one."""
    highest = max(max(item.value, item.limit or 0.0) for item in items) or 1.0
    start, end = 118, WIDTH - 78
    parts = []
    for k, item in enumerate(items):
        y = 8 + k * _ROW
        length = (end - start) * item.value / highest
        parts.append(label(shortened(item.name, 17), start - 8, y + 13, anchor="end"))
        parts.append(element("rect", x=start, y=y, width=end - start, height=16, rx=2, class_="track"))
        parts.append(element("rect", x=start, y=y, width=max(length, 1.0), height=16, rx=2, class_="fill s0"))
        if item.limit is not None:
            x = start + (end - start) * item.limit / highest
            parts.append(line_path([(x, y - 2), (x, y + 18)], "limit"))
        parts.append(label(item.text, end + 8, y + 13))
    return drawing(name, title, description, *parts, height=12 + len(items) * _ROW)


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most 250 of the points, evenly chosen, both ends included."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(k * (len(points) - 1) / (MOST_POINTS - 1))] for k in range(MOST_POINTS)]


def shortened(text: str, length: int) -> str:
    """A name that fits: the whole of it stands in the table."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:g}" if 1e-3 <= abs(value) < 1e5 else significant(value, 2)
