"""Reading one field of one event, whatever an old version or a foreign app wrote there."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from hedgerow.report.summary import Interval
from hedgerow.settings import Scalar

__all__ = ["Raw", "entries", "interval", "number", "numbers", "scalars", "text", "texts", "whole", "wholes"]

MOST = 2**53

Raw = Mapping[str, Any]  # an event as json.loads returns it; nothing untyped leaves the parser


def text(raw: Raw, key: str) -> str:
    """The text under a key, empty where there is none."""
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def number(raw: Raw, key: str) -> float | None:
    """The finite number under a key, or None.

    >>> number({"a": 3, "b": None, "c": True}, "a"), number({"b": None}, "b"), number({"c": True}, "c")
    (3.0, None, None)
    """
    value = raw.get(key)
    if type(value) is float and isfinite(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def whole(raw: Raw, key: str) -> int | None:
    """The whole number under a key, or None; a count beyond what a double holds exactly is none."""
    exact = raw.get(key)
    if type(exact) is int and -MOST <= exact <= MOST:
        return exact
    value = number(raw, key)
    return None if value is None or abs(value) > MOST else int(value)


def texts(raw: Raw, key: str) -> tuple[str, ...]:
    """The texts of a list."""
    value = raw.get(key)
    if isinstance(value, list) and set(map(type, value)) <= {str}:
        return tuple(value)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def wholes(raw: Raw, key: str) -> tuple[int, ...]:
    """The whole numbers of a list."""
    value = raw.get(key)
    if isinstance(value, list) and set(map(type, value)) == {int} and -MOST <= min(value) and max(value) <= MOST:
        return tuple(value)
    items = value if isinstance(value, list) else []
    found = (whole({"item": item}, "item") for item in items)
    return tuple(item for item in found if item is not None)


def numbers(raw: Raw, key: str) -> dict[str, float]:
    """The finite numbers of a table, others left out."""
    value = raw.get(key)
    if isinstance(value, dict) and set(map(type, value.values())) == {float} and all(map(isfinite, value.values())):
        return value
    found = {name: number(value, name) for name in value} if isinstance(value, Mapping) else {}
    return {name: item for name, item in found.items() if item is not None}


def entries(raw: Raw, key: str) -> list[Raw]:
    """The tables of a list."""
    value = raw.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, Sequence) else []


def scalars(raw: Raw, key: str, prefix: str = "") -> dict[str, Scalar]:
    """A table of settings under dotted keys, nested or already flat; lists and nulls left out.

    >>> scalars({"job": {"rounds": 5, "privacy": {"unit": "none"}}}, "job")
    {'rounds': 5, 'privacy.unit': 'none'}
    """
    found: dict[str, Scalar] = {}
    value = raw.get(key)
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, Mapping):
            found.update(scalars({name: item}, name, f"{prefix}{name}."))
        elif isinstance(item, str | int | float | bool):
            found[f"{prefix}{name}"] = item
    return found


def interval(raw: Raw, key: str) -> Interval | None:
    """A measured value with its ends; None unless all three are numbers."""
    value = raw.get(key)
    if not isinstance(value, Mapping):
        return None
    middle, low, high = (number(value, name) for name in ("value", "low", "high"))
    if middle is None or low is None or high is None:
        return None
    return Interval(value=middle, low=low, high=high, confidence=number(value, "confidence") or 0.95)
