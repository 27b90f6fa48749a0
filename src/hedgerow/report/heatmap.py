"""The split of the data: how many records of each label each site has."""

from collections.abc import Sequence

from hedgerow.report.charts import shortened
from hedgerow.report.numbers import count
from hedgerow.report.svg import WIDTH, drawing, element, label

__all__ = ["heatmap"]

_LEFT, _TOP, _LEVELS = 104, 34, 9


def heatmap(
    name: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[int]]], labels: Sequence[str]
) -> str:
    """Sites down, labels across: the darker a cell, the more records. Numbers stand in the cells where they fit."""
    highest = max((value for _, values in rows for value in values), default=0) or 1
    width = (WIDTH - _LEFT - 8) / max(len(labels), 1)
    height = 22 if len(rows) <= 25 else 12
    fits = width >= 24 and height >= 22
    parts = [
        label(shortened(text, max(2, int(width / 6.5))), _LEFT + (k + 0.5) * width, _TOP - 8, anchor="middle")
        for k, text in enumerate(labels)
    ]
    parts.append(label("label", _LEFT + width * len(labels) / 2, 11, "axis-name", "middle"))
    for j, (site, values) in enumerate(rows):
        y = _TOP + j * height
        if height >= 22 or j % 2 == 0:
            parts.append(label(shortened(site, 15), _LEFT - 8, y + height / 2 + 4, anchor="end"))
        for k, value in enumerate(values):
            level = 0 if value == 0 else 1 + min(_LEVELS - 1, int(_LEVELS * value / (highest + 1)))
            x = _LEFT + k * width
            parts.append(
                element("rect", x=x + 0.5, y=y + 0.5, width=width - 1, height=height - 1, class_=f"heat h{level}")
            )
            if fits and value:
                class_ = "cell-dark" if level > 4 else "cell"
                parts.append(label(count(value), x + width / 2, y + height / 2 + 4, class_, "middle"))
    return drawing(name, title, description, *parts, height=_TOP + len(rows) * height + 6)
