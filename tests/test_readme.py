"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    (report,) = tmp_path.glob("runs/*/report.html")
    words = capsys.readouterr().out
    assert float(words.split()[0]) > 0.7
    assert "'site-10': 2.99" in words or "'site-10': 3.0" in words
    assert words.strip().endswith(str(report.relative_to(tmp_path)))


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) > 8
    assert [link for link in links if not (README.parent / link).exists()] == []
