"""A red team's numbers and settings as people read them."""

import shlex
from collections.abc import Mapping

from hedgerow.report.numbers import significant
from hedgerow.settings import Scalar

__all__ = ["figure", "points", "setting_words"]


def figure(value: float) -> str:
    """A metric's value.

    >>> figure(0.84679), figure(1234.5)
    ('0.847', '1,234')
    """
    return (f"{value:.3f}" if abs(value) < 100 else significant(value, 4)).replace("-", "−")


def points(cost: float, metric: str) -> str:
    """What is lost: for an accuracy in points, with a sign.

    >>> points(0.0123, "accuracy"), points(-0.001, "accuracy"), points(0.2, "loss")
    ('1.2 points', '−0.1 points', '0.200')
    """
    if metric != "accuracy":
        return figure(cost)
    text = f"{100 * cost:.1f}".replace("-", "−")
    return f"{'0.0' if text == '−0.0' else text} points"


def setting_words(settings: Mapping[str, Scalar]) -> str:
    """Settings as an option that changes the job.

    >>> setting_words({"aggregate.rule": "krum", "aggregate.byzantine": 2})
    "-c 'aggregate.rule=krum aggregate.byzantine=2'"
    """
    words = " ".join(f"{key}={shlex.quote(_scalar(value))}" for key, value in settings.items())
    return f"-c {shlex.quote(words)}"


def _scalar(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
