"""Numbers as people read them: units, significant digits, and rounding that never flatters.

>>> measured(0.9134, 0.8801, 0.9402), measured(0.5203)
('0.91 (0.88 – 0.94)', '0.52')
>>> epsilon(2.9912), delta(1e-5), size(1_234_567), duration(192.4)
('3.00', '1e-5', '1.23 MB', '3 min 12 s')
"""

import math
from collections.abc import Sequence

__all__ = [
    "capital",
    "count",
    "delta",
    "duration",
    "epsilon",
    "measured",
    "percent",
    "plural",
    "quantile",
    "significant",
    "size",
    "span",
    "spoken",
]


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent between 0.001 and a million.

    >>> significant(12345.6), significant(0.012345), significant(2.5e-7), significant(0.0)
    ('12,346', '0.0123', '2.5e-7', '0')
    """
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def measured(value: float, low: float | None = None, high: float | None = None) -> str:
    """A measured value with its interval, with as many decimals as the interval's width deserves."""
    if low is None or high is None:
        return _fixed(value, 2)
    decimals = _decimals(value, low, high)
    return f"{_fixed(value, decimals)} ({_fixed(low, decimals)} – {_fixed(high, decimals)})"


def span(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """The value and its interval as two texts; the second is empty where there is no interval."""
    whole, _, rest = measured(value, low, high).partition(" (")
    return whole, rest.removesuffix(")")


def epsilon(value: float) -> str:
    """A privacy loss with three significant digits, rounded up: a report may claim less privacy, never more.

    >>> epsilon(2.99101), epsilon(0.12341), epsilon(12.301), epsilon(3.0)
    ('3.00', '0.124', '12.4', '3.00')
    """
    if value <= 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    raised = math.ceil(round(value * 10**decimals, 6)) / 10**decimals
    return f"{raised:,.{decimals}f}"


def delta(value: float) -> str:
    """A small probability, as it is usually written."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value < 1e-2 else f"{value:g}"


def percent(share: float) -> str:
    """A share in per cent.

    >>> percent(0.0314), percent(0.5), percent(0.0)
    ('3.1 %', '50 %', '0 %')
    """
    value = 100 * share
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


def capital(text: str) -> str:
    """The first letter raised, the others left alone.

    >>> capital("without DP")
    'Without DP'
    """
    return f"{text[:1].upper()}{text[1:]}"


def count(value: int) -> str:
    """A whole number with thousands set apart."""
    return f"{value:,}"


def plural(number: int, noun: str, many: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "site"), plural(1200, "record")
    ('1 site', '1,200 records')
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def size(byte_count: float) -> str:
    """Bytes in decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if byte_count >= scale:
            return f"{significant(byte_count / scale)} {unit}"
    return f"{byte_count:.0f} B"


def duration(seconds: float) -> str:
    """A time span in the units that a clock has.

    >>> duration(0.0042), duration(12.34), duration(7321)
    ('4.20 ms', '12.3 s', '2 h 02 min')
    """
    if seconds < 0.1:
        return f"{significant(1000 * seconds)} ms"
    if seconds < 60:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def spoken(seconds: float) -> str:
    """A long time span in its two largest units, as a sentence has it.

    >>> spoken(533_000), spoken(7260), spoken(60), spoken(1.5)
    ('6 days 4 hours', '2 hours 1 minute', '1 minute', '1.50 seconds')
    """
    if seconds < 60:
        return f"{significant(seconds)} seconds"
    left = round(seconds)
    words: list[str] = []
    for noun, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, left = divmod(left, length)
        words += [plural(number, noun)] if number or words else []
    return " ".join(word for word in words[:2] if not word.startswith("0 "))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of the ordered values lies, between two of them where it must be.

    >>> quantile([1.0, 2.0, 4.0], 0.5), quantile([1.0, 2.0, 4.0], 0.75)
    (2.0, 3.0)
    """
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def _decimals(value: float, low: float, high: float) -> int:
    return 3 if high - low < 0.02 or 0.995 <= value < 1 else 2


def _fixed(value: float, decimals: int) -> str:
    if abs(value) >= 100:
        return significant(value)
    return f"{value:.{decimals}f}"
