"""SVG text, and the frame that the charts with axes share. Colours and type come from the page's style sheet."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = [
    "HEIGHT",
    "WIDTH",
    "Axis",
    "drawing",
    "element",
    "frame",
    "hatching",
    "label",
    "line_path",
    "ticks",
    "whole_ticks",
]

WIDTH, HEIGHT = 420, 270
LEFT, RIGHT, TOP, BOTTOM = 48, 20, 26, 40

Attribute = str | float | int


def element(name: str, *children: str, **attributes: Attribute) -> str:
    """One element; `_` in an attribute's name stands for `-`, and a trailing `_` is dropped (`class_`).

    >>> element("text", escape("a < b"), x=1.50, class_="tick")
    '<text x="1.5" class="tick">a &lt; b</text>'
    """
    words = [f'{key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items()]
    opening = " ".join([name, *words])
    return f"<{opening}>{''.join(children)}</{name}>" if children else f"<{opening}/>"


def drawing(name: str, title: str, description: str, *children: str, height: float = HEIGHT) -> str:
    """A whole picture with its title and description, which a screen reader speaks."""
    return element(
        "svg",
        element("title", escape(title), id=f"{name}-title"),
        element("desc", escape(description), id=f"{name}-desc"),
        *children,
        viewBox=f"0 0 {WIDTH} {_value(height)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def label(text: str, x: float, y: float, class_: str = "tick", anchor: str = "start") -> str:
    """A line of text; whatever it says is escaped."""
    return element("text", escape(text), x=x, y=y, class_=class_, text_anchor=anchor)


def line_path(points: Sequence[tuple[float, float]], class_: str, closed: bool = False) -> str:
    """A polyline through points in the picture's own units."""
    steps = "L".join(f"{_value(x)} {_value(y)}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_) if points else ""


def hatching(name: str) -> tuple[str, str]:
    """The definition of a hatch for the picture of this name, and the fill that names it."""
    lines = element("path", d="M0 5L5 0", class_="hatch")
    pattern = element("pattern", lines, id=f"{name}-hatch", width=5, height=5, patternUnits="userSpaceOnUse")
    return element("defs", pattern), f"url(#{name}-hatch)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One direction of a chart: from data to picture, and where its ticks stand."""

    low: float
    high: float
    name: str
    log: bool = False
    vertical: bool = False
    marks: tuple[tuple[float, str], ...] = ()

    def at(self, value: float) -> float:
        """The picture's coordinate of a value; what lies outside is drawn on the edge."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        if self.log:
            value = math.log10(max(value, self.low))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        if self.vertical:
            return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
        return LEFT + share * (WIDTH - RIGHT - LEFT)


def frame(across: Axis, up: Axis) -> str:
    """Grid lines, ticks and the names of both axes."""
    parts = []
    for value, text in up.marks:
        y = up.at(value)
        parts.append(element("path", d=f"M{LEFT} {_value(y)}H{WIDTH - RIGHT}", class_="grid"))
        parts.append(label(text, LEFT - 6, y + 4, anchor="end"))
    for value, text in across.marks:
        parts.append(label(text, across.at(value), HEIGHT - BOTTOM + 16, anchor="middle"))
    parts.append(element("path", d=f"M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}", class_="axis"))
    parts.append(label(across.name, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "axis-name", "middle"))
    return "".join(parts)


def ticks(low: float, high: float, text: Callable[[float], str], wanted: int = 5) -> tuple[tuple[float, str], ...]:
    """Round values between two ends: steps of 1, 2 or 5 times a power of ten.

    >>> [value for value, _ in ticks(0.0, 1.0, str)]
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple((round(k * step, 12), text(round(k * step, 12))) for k in range(first, last + 1))


def whole_ticks(first: float, last: float) -> tuple[tuple[float, str], ...]:
    """Ticks at whole numbers only; one at `first` where the two are less than 1 apart."""
    if last - first < 1:
        return ((first, f"{first:.0f}"),)
    return tuple((value, text) for value, text in ticks(first, last, lambda v: f"{v:,.0f}") if value == round(value))


def _value(value: Attribute) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
