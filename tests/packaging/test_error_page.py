"""`docs/errors.md` explains every code, under its family and with the exit code of its family."""

import re
from pathlib import Path

import pytest

from hedgerow.errors import CODES, Exhausted, HedgerowError, Misconfigured, Refused, Rejected, Tampered

FAMILIES = (Misconfigured, Refused, Rejected, Tampered, Exhausted)
PARTS = ("What happened", "Why", "What to do next")


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/errors.md").read_text()


def test_the_page_lists_every_code_once_with_its_title_and_in_order(page: str) -> None:
    entries = re.findall(r"^### (E\d{3}): (.*)$", page, flags=re.MULTILINE)
    assert entries == sorted(CODES.items())


def test_every_entry_says_what_happened_why_and_what_to_do_next(page: str) -> None:
    for entry in page.split("\n### ")[1:]:
        code, body = entry[:4], entry.split("\n## ")[0]
        found = re.findall(r"^\*\*(.+?)\.\*\* (.+)$", body, flags=re.MULTILINE)
        assert [name for name, _ in found] == list(PARTS), code
        assert all(len(text.split()) > 3 for _, text in found), code


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_codes_stand_under_its_name_and_exit_code(page: str, family: type[HedgerowError]) -> None:
    heading = f"\n## {family.__name__}: {family.family}xx, exit code {family.exit_code}\n"
    assert page.count(heading) == 1
    section = page.split(heading)[1].split("\n## ")[0]
    codes = re.findall(r"^### (E\d{3})", section, flags=re.MULTILINE)
    assert codes == [code for code in sorted(CODES) if code.startswith(family.family)]
