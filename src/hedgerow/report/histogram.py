"""How a value is spread over thousands of sites: a histogram, with one kind of site told apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hedgerow.report.content import Table
from hedgerow.report.numbers import count, quantile
from hedgerow.report.svg import HEIGHT, Axis, drawing, element, frame, hatching, label, ticks, whole_ticks

__all__ = ["Bins", "binned", "histogram", "in_the_middle"]

MOST_BINS = 24
FARTHEST = 1e300  # what lies beyond is counted in the last bin there
NEAREST = 1e-9  # as a share of the values: what lies closer together is not told apart
LEAST_HEIGHT = 1.5  # of a bar that stands for anything at all, in the picture's units


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Counts between `edges`, one fewer than these: of ordinary values, and of those told apart."""

    edges: tuple[float, ...]
    plain: tuple[int, ...]
    apart: tuple[int, ...]


def binned(plain: Sequence[float], apart: Sequence[float] = (), *, bounds: tuple[float, float] | None = None) -> Bins:
    """Equally wide bins with round edges, at most 25 of them; the last one has its upper edge inside. O(values).

    >>> bins = binned([0.0, 1.0, 1.0, 3.0], bounds=(0.0, 4.0))
    >>> bins.edges[:3], sum(bins.plain), bins.plain[:2]
    ((0.0, 0.2, 0.4), 4, (1, 0))
    """
    ends = bounds or (min([*plain, *apart]), max([*plain, *apart]))
    low, high = (min(max(end, -FARTHEST), FARTHEST) for end in ends)
    spread = max(high - low or abs(high), NEAREST * max(abs(low), abs(high), 1.0))
    power = 10.0 ** math.floor(math.log10(spread / MOST_BINS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * MOST_BINS >= spread * 1.0001)
    first = math.floor(low / step + 1e-9)
    number = max(1, math.ceil(high / step - 1e-9) - first)
    return Bins(
        edges=tuple(round((first + k) * step, 12) for k in range(number + 1)),
        plain=_counts(plain, first, step, number),
        apart=_counts(apart, first, step, number),
    )


def histogram(
    name: str,
    title: str,
    description: str,
    bins: Bins,
    *,
    across: str,
    text: Callable[[float], str],
    kinds: tuple[str, str] = ("sites", ""),
) -> tuple[str, Table]:
    """The picture and the table behind it. Values told apart are hatched and stand on the others."""
    low, high = bins.edges[0], bins.edges[-1]
    highest = max(a + b for a, b in zip(bins.plain, bins.apart, strict=True)) or 1
    down = Axis(low=0, high=highest * 1.06, name="sites", vertical=True, marks=whole_ticks(0, highest))
    along = Axis(low=low, high=high, name=across, marks=ticks(low, high, text))
    hatch, hatched = hatching(name)
    parts = [hatch, frame(along, down), label("sites", 4, 11, "axis-name")]
    for k, (plain, apart) in enumerate(zip(bins.plain, bins.apart, strict=True)):
        x = along.at(bins.edges[k])
        box = {"x": x + 0.5, "width": max(along.at(bins.edges[k + 1]) - x - 1, 0.5)}
        top = down.at(0)
        for number, fills in ((plain, ({"class_": "fill s0"},)), (apart, ({"class_": "fill out"}, {"fill": hatched}))):
            if number:
                tall = max(down.at(0) - down.at(number), LEAST_HEIGHT)
                top = max(top - tall, 0.0)
                parts.extend(element("rect", **box, y=top, height=tall, **fill) for fill in fills)
    several = any(bins.apart)
    rows = tuple(
        (f"{text(bins.edges[k])} to {text(bins.edges[k + 1])}", count(plain), *((count(apart),) if several else ()))
        for k, (plain, apart) in enumerate(zip(bins.plain, bins.apart, strict=True))
        if plain or apart
    )
    table = Table(
        caption=f"How many sites lie in each range of: {across}.",
        head=(across, kinds[0], *((kinds[1],) if several else ())),
        rows=rows,
        numeric=frozenset({1, 2}),
    )
    return drawing(name, title, description, *parts, height=HEIGHT), table


def in_the_middle(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Where half of the values lie, and the ends.

    >>> in_the_middle([1, 2, 3, 4, 50], "{:g}".format)
    'Half of the sites lie between 2 and 4; the lowest is at 1, the highest at 50.'
    """
    ordered = sorted(values)
    lower, upper = (text(quantile(ordered, share)) for share in (0.25, 0.75))
    ends = f"the lowest is at {text(ordered[0])}, the highest at {text(ordered[-1])}"
    where = f"lie between {lower} and {upper}" if lower != upper else f"or more are at {lower}"
    return f"Half of the sites {where}; {ends}."


def _counts(values: Sequence[float], first: int, step: float, number: int) -> tuple[int, ...]:
    found = [0] * number
    for value in values:
        found[min(max(math.floor(value / step + 1e-9) - first, 0), number - 1)] += 1
    return tuple(found)
