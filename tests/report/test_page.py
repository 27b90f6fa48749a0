import re
from importlib.resources import files

import pytest

STYLE = files("hedgerow.report").joinpath("page.css").read_text(encoding="utf-8")
TEXT = ("ink", "soft", "yes", "partly", "no", "unknown", "accent")
LINES = ("s0", "s1", "s2", "s3", "s4")


def themes() -> dict[str, dict[str, str]]:
    """The colours of the light, the dark and the printed page, in the order in which the style sheet sets them."""
    found = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]
    return dict(zip(("light", "dark", "print"), found, strict=True))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_lines_stand_out_from_the_paper(theme: str) -> None:
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for what a chart is made of (1.4.11)."""
    colours = themes()[theme]
    for ground in ("paper", "card"):
        assert [name for name in TEXT if contrast(colours[name], colours[ground]) < 4.5] == []
        assert [name for name in LINES if contrast(colours[name], colours[ground]) < 3] == []


def test_series_differ_by_dash_too() -> None:
    dashes = [re.search(rf"\.line\.{name} {{ stroke-dasharray: ([\d ]+)", STYLE) for name in LINES]
    assert len({match[1] if match else "" for match in dashes}) == len(LINES)


def test_the_style_asks_the_network_for_nothing() -> None:
    assert not re.search(r"url\(|@import|https?:", STYLE)
