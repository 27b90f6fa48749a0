import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.events import Event, RunResumed
from hedgerow.report import write_report
from hedgerow.report.template import template

VOID = {"meta", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Checks the shape of a page while reading it: balanced tags, unique ids, every picture named."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.refs: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"repeated attribute in {tag}"
        self.tags.append((tag, found))
        if (name := found.get("id")) is not None:
            self.ids.append(name)
        self.refs += (found.get("aria-labelledby") or "").split()
        if (target := found.get("href") or "").startswith("#"):
            self.refs.append(target[1:])
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not {"style", "title", "desc"} & set(self.stack):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(folder: Path, *others: Path) -> Page:
    path = write_report(folder, others)
    assert path == folder / "report.html"
    found = Page(path.read_text(encoding="utf-8"))
    assert found.stack == []
    assert len(found.ids) == len(set(found.ids))
    assert set(found.refs) <= set(found.ids)
    for tag, attributes in found.tags:
        if tag in ("svg", "img", "figure"):
            assert {"aria-labelledby", "aria-label", "alt", "aria-hidden"} & set(attributes), tag
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert not [key for key in attributes if key.startswith("on") or key == "src"]
    headings = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:], strict=False))
    return found


def numbers(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_demo_answers_its_three_questions(demo: Path) -> None:
    found = page(demo)
    for words in (
        "Did it learn?",
        "0.91 (0.88 – 0.94) accuracy on 360 test records",
        "0.10 without defence; 0.97 without DP",
        "Did it hold?",
        "20 of 20 hostile updates excluded",
        "What did it give away?",
        "Simulation: not a DP release",
        "Secure sums were off",
        "add or remove one record",
        "How to get this again",
        "hedgerow demo",
    ):
        assert words in found.text
    assert [name for tag, a in found.tags if tag == "section" and (name := a.get("id"))] == [
        "beside",
        "rounds",
        "sites",
        "privacy",
        "leakage",
        "data",
        "cost",
        "again",
    ]
    assert ("html", {"lang": "en"}) in found.tags and "main" in {tag for tag, _ in found.tags}


def test_the_json_file_has_what_the_page_says(demo: Path) -> None:
    found, content = page(demo), numbers(demo)
    assert content["schema_version"] == 1
    for answer in content["answers"]:
        for part in ("question", "verdict", "figure", "unit", "interval", "text"):
            assert answer[part] in found.text
    assert all(note["text"] in found.text for note in content["notes"])
    run = content["run"]
    final = run["evaluations"][-1]
    assert f"{final['value']:.2f} ({final['low']:.2f} – {final['high']:.2f}) accuracy" in found.text
    assert f"{sum(entry['accepted'] for entry in run['rounds'])} accepted" in found.text
    for leak in run["leaks"]:
        auc = leak["auc"]
        assert f"{auc['value']:.2f} ({auc['low']:.2f} – {auc['high']:.2f})" in found.text
    most = max(site["spent"] for site in run["sites"])
    assert f"{math.ceil(most * 100) / 100:.2f} of 3" in found.text
    assert run["job_digest"] in found.text and run["model_sha256"] in found.text
    assert [other["name"] for other in content["beside"]] == ["without defence", "without DP"]


def test_the_same_events_give_the_same_bytes(demo: Path) -> None:
    first = write_report(demo).read_bytes()
    assert write_report(demo).read_bytes() == first
    assert {path.name for path in demo.iterdir()} == {"events.jsonl", "twins", "report.html", "report.json"}


def test_the_job_can_be_read_back_from_the_page(demo: Path, make: ModuleType) -> None:
    import tomllib

    from hedgerow.job import Job
    from hedgerow.settings import dotted

    content, found = numbers(demo) if write_report(demo) else {}, page(demo)
    block = next(words for words in found.words if words.startswith("[tool.flwr.app.config]"))
    job = Job.from_flat(dotted(tomllib.loads(block)["tool"]["flwr"]["app"]["config"]))
    assert job.digest() == content["run"]["job_digest"] == make.started().job_digest


def test_a_hostile_site_name_stays_text(tmp_path: Path, make: ModuleType) -> None:
    name = '<script>alert("x")</script>\'"&{{ 4327 * 7 }}'
    events = [
        make.started(task=name, run=name, switched_off=[name], command=name, versions={name: name}),
        replace(make.described(3, name), label_names=[name] * 10),
        make.planned(name),
        make.evaluated(0, 0.1),
        make.closed(1, sites=(name, "south"), rejected=[{"site": name, "code": name, "reason": name}]),
        make.evaluated(1, 0.8),
        make.leakage(name),
        make.leakage("all sites", adversary=name, attack=name),
        make.finished(1, epsilon={name: 1.0}, reason=name, status=name),
    ]
    found = page(make.write(tmp_path / "run", events), make.write(tmp_path / "<b>other", make.whole_run()))
    assert name in found.text and "30289" not in found.text
    assert not [tag for tag, _ in found.tags if tag in ("script", "b")]


DEGENERATE: dict[str, Callable[[Any], list[Event]]] = {
    "nothing at all": lambda make: [],
    "only a start": lambda make: [make.started()],
    "an end without a start": lambda make: [make.finished()],
    "before the first round": lambda make: [make.started(), *(make.planned(site) for site in make.SITES)],
    "a foreign app": lambda make: [
        make.started(job={}, job_digest="", scenario={}, switched_off=[], command="hedgerow sim .", task=""),
        make.closed(1, hostile=(), norms={}, weights={}, scores={}, seconds={}),
        replace(make.evaluated(1, 0.4), where="sites", low=None, high=None),
    ],
    "every round void": lambda make: [make.started(), make.voided(1), make.voided(2), make.finished(0)],
    "no privacy, no attack": lambda make: make.whole_run(dp=False, attack=False),
    "no leakage": lambda make: [event for event in make.whole_run() if "result" not in type(event).__slots__],
    "no evaluation": lambda make: [event for event in make.whole_run() if "records" not in type(event).__slots__],
    "interrupted": lambda make: [*make.whole_run()[:40], make.finished(1, status="interrupted", code="E901")],
    "failed": lambda make: [make.started(), make.finished(0, status="failed", code="E501", reason="too few sites")],
    "one site": lambda make: [make.started(sites=1), make.described(3, "a"), make.closed(1, sites=("a",), hostile=())],
    "resumed": lambda make: [*make.whole_run()[:80], RunResumed(after_round=2), make.closed(3)],
}


@pytest.mark.parametrize("kind", DEGENERATE)
def test_every_run_gets_a_page(tmp_path: Path, make: ModuleType, kind: str) -> None:
    folder = make.write(tmp_path / "run", DEGENERATE[kind](make))
    (folder / "events.jsonl").touch()
    found = page(folder)
    assert len([1 for tag, a in found.tags if tag == "section" and a.get("class") == "answer"]) == 3
    assert "None" not in found.text and "nan" not in found.text.split()
    assert numbers(folder)["schema_version"] == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("only a start", "no end in its log"),
        ("interrupted", "This run was interrupted: E901"),
        ("failed", "This run failed: E501 too few sites"),
        ("every round void", "2 rounds released nothing: 1 usable update, 2 needed."),
        ("no leakage", "No attack was tried on the model"),
        ("no privacy, no attack", "differential privacy was off"),
        ("a foreign app", "differential privacy is not recorded"),
        ("resumed", "Resumed after round 2"),
    ],
)
def test_the_first_screen_says_what_is_missing(tmp_path: Path, make: ModuleType, kind: str, words: str) -> None:
    found = page(make.write(tmp_path / "run", DEGENERATE[kind](make)))
    assert words in found.text[: found.text.index("How to get this again")]


def test_two_hundred_sites_and_rounds_stay_under_a_megabyte(tmp_path: Path, make: ModuleType) -> None:
    sites = [f"hospital-{k:03d}-of-the-northern-region" for k in range(200)]
    events = [make.started(sites=200), *(make.described(k, site, 30) for k, site in enumerate(sites))]
    events += [make.planned(site) for site in sites] + [make.evaluated(0, 0.1)]
    for number in range(1, 201):
        events += [make.closed(number, sites=sites, hostile=sites[:20]), make.evaluated(number, number / 250)]
    events += [make.leakage("all sites"), *(make.leakage(site) for site in sites)]
    events.append(make.finished(200, epsilon=dict.fromkeys(sites, 2.9)))
    folder = make.write(tmp_path / "run", events)
    found = page(folder)
    assert (folder / "report.html").stat().st_size < 1_000_000
    assert (folder / "report.json").stat().st_size < 1_000_000
    assert "The 40 largest of 200 sites are shown; report.json has them all." in found.text
    assert len(numbers(folder)["run"]["sites"]) == len(numbers(folder)["run"]["rounds"]) == 200


def test_another_run_stands_beside(demo: Path, tmp_path: Path, make: ModuleType) -> None:
    other = make.write(tmp_path / "krum-run", make.whole_run(rule="krum", top=0.85))
    found = page(demo, other)
    assert "krum-run" in found.text and "aggregate.rule = krum" in found.text
    assert "0.85 krum-run" not in found.text


def test_a_broken_twin_is_named_and_left_out(demo: Path) -> None:
    (demo / "twins" / "undefended" / "events.jsonl").write_text("broken\nbroken\n")
    found = page(demo)
    assert "The twin run undefended cannot be shown: E403" in found.text and "without DP" in found.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, demo: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        write_report(demo, [tmp_path])
    assert caught.value.code == "E112"


def test_a_missing_extra_is_named_with_the_command_that_brings_it(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(Misconfigured) as caught:
        write_report(demo)
    assert caught.value.code == "E107" and caught.value.hint == "pip install 'hedgerow[full]'"
    assert not (demo / "report.json").exists()


def test_a_report_that_cannot_be_written_leaves_the_old_one(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_report(demo).read_bytes()

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(Exhausted) as caught:
        write_report(demo)
    assert caught.value.code == "E503"
    assert (demo / "report.html").read_bytes() == old
    assert not [path for path in demo.iterdir() if path.name.startswith(".")]


def test_importing_the_report_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'flwr', 'opacus', 'scipy', 'numpy', 'jinja2'}"
    code = f"import sys, hedgerow.report; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_rough_interval_is_marked_and_explained(tmp_path: Path, make: ModuleType) -> None:
    leak = make.leakage()
    leak.result["tpr"][0]["note"] = "Fewer than 10 held-out records decide the threshold."
    found = page(make.write(tmp_path / "run", [make.started(), leak]))
    assert re.search(r"\d % \([\d.]+ – [\d.]+\) rough", found.text.replace("\N{NO-BREAK SPACE}", " "))
    assert "Marked rough: fewer than 10 held-out records decide the threshold." in found.text
