"""How well an attack tells members from non-members, on logarithmic axes: what matters is the lower left corner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hedgerow.report.summary import Leak
from hedgerow.report.svg import HEIGHT, Axis, drawing, element, frame, label, line_path
from hedgerow.wilson import wilson

__all__ = ["Ceiling", "Curve", "roc_chart"]

_LEAST_SHARE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run's curve under its name."""

    name: str
    leak: Leak


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The highest curve that an (epsilon, delta) guarantee allows any attack."""

    epsilon: float
    delta: float

    def at(self, fpr: float) -> float:
        """The most true positives at a false positive rate (Kairouz, Oh and Viswanath 2015, theorem 2.1).

        >>> round(Ceiling(epsilon=1.0, delta=0.0).at(0.1), 4), Ceiling(epsilon=1.0, delta=0.0).at(1.0)
        (0.2718, 1.0)
        """
        grown = math.exp(min(self.epsilon, 700.0)) * fpr + self.delta
        return min(1.0, grown, 1 - math.exp(-self.epsilon) * (1 - self.delta - fpr))


def roc_chart(name: str, title: str, description: str, curves: Sequence[Curve], ceiling: Ceiling | None) -> str:
    """The curves with their bands, guessing as the diagonal, and the ceiling that the guarantee proves.

    The band is the Wilson interval of the share of members found at a fixed threshold; points without any false alarm
    stand on the left edge. A bar at each measured false positive rate is that rate's own, wider interval.
    """
    most = max(curve.leak.nonmembers for curve in curves)
    low = max(_LEAST_SHARE, min(0.1, 10.0 ** math.floor(math.log10(1 / max(most, 10)))))
    marks = tuple((10.0**k, f"{100 * 10.0**k:g} %") for k in range(round(math.log10(low)), 1))
    along = Axis(low=low, high=1.0, name="non-members wrongly accused", log=True, marks=marks)
    down = Axis(low=low, high=1.0, name="members found", log=True, vertical=True, marks=marks)
    parts = [frame(along, down), label(down.name, 4, 11, "axis-name")]
    parts.append(line_path([(along.at(low), down.at(low)), (along.at(1), down.at(1))], "level"))
    if ceiling is not None:
        rates = [low ** (1 - k / 60) for k in range(61)]
        parts.append(line_path([(along.at(x), down.at(ceiling.at(x))) for x in rates], "ceiling"))
    for k, curve in enumerate(curves):
        ends = [(x, *wilson(y, curve.leak.members)) for x, y in curve.leak.roc if y > 0]
        edge = [(along.at(x), down.at(top)) for x, _, top in ends]
        edge += [(along.at(x), down.at(bottom)) for x, bottom, _ in reversed(ends)]
        parts.append(line_path(edge, f"band s{k % 5}", closed=True))
    for k, curve in enumerate(curves):
        drawn = [(along.at(x), down.at(y)) for x, y in curve.leak.roc if y > 0]
        parts.append(line_path(drawn, f"line s{k % 5}"))
        for at in curve.leak.tpr:
            x = along.at(at.fpr)
            ends_of_bar = [(x, down.at(at.interval.low)), (x, down.at(at.interval.high))]
            parts.append(line_path(ends_of_bar, f"whisker s{k % 5}"))
            parts.append(element("circle", cx=x, cy=down.at(at.interval.value), r=3, class_=f"dot s{k % 5}"))
    return drawing(name, title, description, *parts, height=HEIGHT)
