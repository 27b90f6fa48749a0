"""A sweep's page and numbers, from rows that a test made."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.report.sweeppage import write_sweep_report
from hedgerow.report.sweeprows import SweepRun, SweepSummary, sweep_rows
from hedgerow.report.template import template
from hedgerow.settings import Scalar

GRID: Mapping[str, tuple[Scalar, ...]] = {"privacy.epsilon": (1, 3), "aggregate.rule": ("median", "krum")}


def runs(seeds: Sequence[int] = (0, 1, 2), **changes: Any) -> list[SweepRun]:
    made = []
    for epsilon in GRID["privacy.epsilon"]:
        for rule in GRID["aggregate.rule"]:
            for seed in seeds:
                facts: dict[str, Any] = {
                    "name": f"epsilon-{epsilon}_rule-{rule}_seed-{seed}",
                    "settings": {"privacy.epsilon": epsilon, "aggregate.rule": rule},
                    "seed": seed,
                    "status": "finished",
                    "metric": "accuracy",
                    "value": 0.5 + float(epsilon) / 10 + seed / 100,
                    "epsilon": float(epsilon),
                    "auc": 0.512,
                    "seconds": 2.0,
                }
                made.append(SweepRun(**{**facts, **(changes if rule == "krum" and seed == 1 else {})}))
    return made


def summary(made: Sequence[SweepRun], **changes: Any) -> SweepSummary:
    facts: dict[str, Any] = {
        "name": "2026-11-24-103000-digits-sweep",
        "task": "digits",
        "engine": "cohort",
        "status": "finished",
        "command": "hedgerow sim . --seeds 3 --sweep privacy.epsilon=1,3",
        "digest": "ab" * 32,
        "job": {"rounds": 5, "privacy.unit": "record"},
        "job_digest": "cd" * 32,
        "scenario": {"sites": 10, "seed": 0},
        "grid": GRID,
        "seeds": tuple(sorted({run.seed for run in made})),
        "rows": sweep_rows(made),
    }
    return SweepSummary(**{**facts, **changes})


class Page(HTMLParser):
    """The page's text, its links, and the cells of its first table."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text = ""
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(self.source)
        body = self.source.partition("<tbody>")[2].partition("</tbody>")[0]
        lines = re.findall(r"<tr>(.*?)</tr>", body, re.S)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in lines]
        self.rows = [[re.sub("<[^>]+>", "", cell).strip() for cell in line] for line in cells]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if "href" in found else []

    def handle_data(self, data: str) -> None:
        self.text += data


def page(folder: Path, made: Sequence[SweepRun], **changes: Any) -> Page:
    return Page(write_sweep_report(folder, summary(made, **changes)))


def test_the_table_has_a_row_per_cell_with_its_numbers(tmp_path: Path) -> None:
    found = page(tmp_path, runs())
    first, second, third, _ = found.rows
    assert first == ["1", "median", "3", "0.610", "0.010", "0.585 to 0.635", "", "1.00", "0.51", "2.00 s", "0 1 2"]
    assert second[6] == "+0.000 (+0.000 to +0.000)" and third[6].startswith("+0.200 (+0.200 to +0.200)")


def test_every_run_is_one_click_away(tmp_path: Path) -> None:
    made = runs()
    found = page(tmp_path, made)
    for run in made:
        assert found.links.count(f"cells/{run.name}/report.html") == 2


def test_the_page_stands_alone(tmp_path: Path) -> None:
    found = page(tmp_path, runs())
    assert "<script" not in found.source and "default-src 'none'" in found.source
    assert not re.search(r"src=|url\(|https?:", found.source)
    outside = [link for link in found.links if not link.startswith(("#", "cells/"))]
    assert outside == []
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_what_was_swept_and_how_it_is_got_again_is_said(tmp_path: Path) -> None:
    text = page(tmp_path, runs()).text
    for words in ("privacy.epsilon", "median, krum", "0 to 2", "ab" * 32, "cd" * 32, "hedgerow sim . --seeds 3"):
        assert words in text
    assert 'privacy.unit = "record"' in text and "seed = 0" in text


def test_pairing_is_said_and_what_it_does_not_cover(tmp_path: Path) -> None:
    pairs = "the same seed is the same split of the data and the same attackers in every cell"
    text = page(tmp_path, runs()).text
    assert f"{pairs}." in text
    grid = {"sites": (5, 10), "aggregate.rule": ("median", "krum")}
    made = [
        SweepRun(name="a", settings={"sites": n, "aggregate.rule": "krum"}, seed=0, status="waiting") for n in (5, 10)
    ]
    assert f"{pairs}, except for what sweeping sites changes" in page(tmp_path, made, grid=grid).text


def test_a_failed_run_is_named_with_its_code_and_counted_out(tmp_path: Path) -> None:
    made = runs(status="failed", code="E501", reason="3 rounds released nothing", value=None)
    found = page(tmp_path, made, status="failed")
    assert found.rows[1][2] == "2 of 3" and found.rows[1][-1] == "seed 1: E501 too few sites answered"
    assert found.rows[0][-1] == ""
    assert "2 runs stopped with an error and count in no mean" in found.text
    assert "E501 3 rounds released nothing" in found.text


def test_without_failures_there_is_no_column_for_them(tmp_path: Path) -> None:
    assert ">failed</th>" not in page(tmp_path, runs()).source


def test_a_metric_that_is_not_finite_is_not_passed_over(tmp_path: Path) -> None:
    found = page(tmp_path, runs(value=None))
    assert "2 runs ended with a metric that is no finite number" in found.text
    assert "not finite" in found.text


@pytest.mark.parametrize("status", ["waiting", "interrupted", "unfinished"])
def test_what_is_not_done_yet_says_how_to_go_on(tmp_path: Path, status: str) -> None:
    found = page(tmp_path, runs(status=status, value=None), status="unfinished")
    assert "2 runs are not done yet: hedgerow resume 2026-11-24-103000-digits-sweep" in found.text
    assert any("seed-1" in link for link in found.links)


def test_a_run_that_never_started_has_no_report_to_lead_to(tmp_path: Path) -> None:
    found = page(tmp_path, runs(status="waiting", value=None))
    assert not [link for link in found.links if "krum_seed-1" in link]


def test_one_seed_is_said_to_have_no_spread(tmp_path: Path) -> None:
    found = page(tmp_path, runs(seeds=(0,)))
    assert "One seed has no spread" in found.text and "Student" not in found.text


def test_the_best_of_many_private_cells_is_not_free(tmp_path: Path) -> None:
    words = "Whoever picks the best cell on the same records has used them all."
    assert words in page(tmp_path, runs()).text
    public = [SweepRun(name=str(k), settings={"rounds": k}, seed=0, status="finished") for k in (1, 2)]
    assert words not in page(tmp_path, public, grid={"rounds": (1, 2)}).text


def test_an_epsilon_has_its_delta_and_its_unit(tmp_path: Path) -> None:
    job = {"privacy.unit": "record", "privacy.delta": 1e-5}
    assert "ε is for one record, added or removed, at δ = 1e-5. " in page(tmp_path, runs(), job=job).text
    assert "so no model here is a DP release" in page(tmp_path, runs()).text
    made = [SweepRun(name="a", settings={"privacy.delta": 1e-5}, seed=0, status="finished", epsilon=1.0)]
    swept = page(tmp_path, made, job=job, grid={"privacy.delta": (1e-5,)}).text
    assert "ε is for one record, added or removed, at the δ of its row." in swept


def test_an_unbounded_spending_is_not_hidden(tmp_path: Path) -> None:
    found = page(tmp_path, runs(epsilon=float("inf")))
    assert found.rows[1][7] == "unbounded"
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["sweep"]["rows"][1]["epsilon"] is None


def test_repeats_alone_need_no_comparison(tmp_path: Path) -> None:
    made = [
        SweepRun(name=f"seed-{s}", settings={}, seed=s, status="finished", metric="accuracy", value=s / 10)
        for s in range(3)
    ]
    found = page(tmp_path, made, grid={})
    assert found.rows == [["3", "0.10", "0.10", "−0.15 to 0.35", "", "", "", "0 1 2"]]
    assert "<figure" not in found.source and "first row" not in found.text


def test_names_are_escaped(tmp_path: Path) -> None:
    found = page(tmp_path, runs(), task="<b>bold</b>", command="hedgerow sim '<i>'")
    assert "<b>bold" not in found.source and "<i>" not in found.source


def test_the_numbers_stand_in_the_json_file(tmp_path: Path) -> None:
    page(tmp_path, runs())
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["schema_version"] == 1
    told = numbers["sweep"]
    assert (told["metric"], told["seeds"], told["grid"]["privacy.epsilon"]) == ("accuracy", [0, 1, 2], [1, 3])
    assert [row["settings"] for row in told["rows"]] == [
        {"privacy.epsilon": e, "aggregate.rule": rule} for e in (1, 3) for rule in ("median", "krum")
    ]
    assert told["rows"][0]["result"]["mean"] == pytest.approx(0.61)
    assert [run["seed"] for run in told["rows"][0]["runs"]] == [0, 1, 2]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(Misconfigured) as caught:
        template("sweep.html.j2")
    assert caught.value.code == "E107"


def test_a_swept_epsilon_stands_by_its_sign_beside_what_was_spent(tmp_path: Path) -> None:
    source = page(tmp_path, runs()).source
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", source)
    assert heads[:2] == ["ε", "rule"] and heads.count("ε spent") == 2  # of the cells, and of every run
    assert "epsilon" not in heads and "highest ε" not in source
