"""Reports of thousands of sites: distributions instead of rows, and the sites that tell something."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.events import BudgetsSpent, Event
from hedgerow.report import load_run, protection, summary, write_report
from hedgerow.report.content import Section
from hedgerow.report.histogram import binned, histogram, in_the_middle
from hedgerow.report.numbers import quantile
from hedgerow.report.sites import sites as sites_section
from hedgerow.report.split import data as data_section
from hedgerow.report.summary import RunSummary


def crowd(make: ModuleType, number: int, rounds: int = 2, **changes: Any) -> Iterator[Event]:
    """`number` sites, each tenth of them hostile, each seventh silent in the first round."""
    names = [f"site-{k:05d}" for k in range(number)]
    hostile, silent = names[::10], names[::7]
    start = make.started(sites=number, **changes)
    yield replace(start, scenario={**start.scenario, "sites": number, "attacker_sites": hostile})
    yield from (make.described(k, name) for k, name in enumerate(names))
    yield from (make.planned(name) for name in names)
    yield make.evaluated(0, 0.1)
    for n in range(1, rounds + 1):
        out = hostile if n > 1 else sorted({*hostile, *silent})
        codes = {name: "E309" if n == 1 and name in set(silent) else "E310" for name in out}
        rejected = [{"site": name, "code": code, "reason": "whatever"} for name, code in codes.items()]
        yield make.closed(n, sites=names, hostile=out, rejected=rejected)
        yield make.evaluated(n, 0.8)
        yield BudgetsSpent(round=n, epsilon={name: n * (1 + k / number) for k, name in enumerate(names)})
    yield make.finished(rounds)


@pytest.fixture
def many(tmp_path: Path, make: ModuleType) -> Path:
    folder: Path = make.write(tmp_path / "run", list(crowd(make, 300)))
    return folder


def section(run: RunSummary, name: str) -> Section:
    found = {"sites": sites_section, "data": data_section}[name](run)
    assert found is not None
    return found


def test_thousands_of_sites_are_drawn_as_distributions(many: Path) -> None:
    run = load_run(many)
    assert run.many
    assert [figure.name for figure in section(run, "sites").figures] == ["counted", "budget"]
    assert [figure.name for figure in section(run, "data").figures] == ["records", "commonest", "split"]
    for figure in (*section(run, "sites").figures, *section(run, "data").figures[:2]):
        shown = sum(int(cell.replace(",", "")) for row in figure.table.rows for cell in row[1:])
        assert shown == (sum(sum(site.labels) > 0 for site in run.sites) if figure.name == "commonest" else 300)


def test_the_sites_with_a_row_are_the_telling_ones(many: Path) -> None:
    run = load_run(many)
    (table,), (note,) = section(run, "sites").tables, section(run, "sites").notes
    assert note.text == "20 of 300 sites are shown here; report.json has them all."
    why = [row[1] for row in table.rows]
    assert why == ["attacked"] * 7 + ["was rejected most"] * 7 + ["spent most"] * 6
    names = [row[0] for row in table.rows]
    assert len(set(names)) == 20
    known = {site.name: site for site in run.sites}
    assert [known[name].hostile for name in names] == [True] * 7 + [False] * 13
    assert all(known[name].rejected == 1 for name in names[7:14])
    assert names[14:] == ["site-00299", "site-00298", "site-00297", "site-00296", "site-00295", "site-00294"]


def test_attackers_that_got_through_are_shown_first(tmp_path: Path, make: ModuleType) -> None:
    events = list(crowd(make, 300, rounds=1))
    events.insert(-1, make.closed(2, sites=("site-00290", "site-00001"), hostile=()))
    run = load_run(make.write(tmp_path / "run", events))
    assert section(run, "sites").tables[0].rows[0][:2] == ("site-00290", "attacked")


def test_without_attack_rejection_or_budget_the_largest_sites_are_shown(tmp_path: Path, make: ModuleType) -> None:
    names = [f"site-{k:03d}" for k in range(250)]
    events = [make.started(dp=False, attack=False), *(make.described(k, name) for k, name in enumerate(names))]
    events.append(make.closed(1, sites=names, hostile=()))
    run = load_run(make.write(tmp_path / "run", events))
    rows = section(run, "sites").tables[0].rows
    assert {row[1] for row in rows} == {"has most records"} and len(rows) == 20
    assert int(rows[0][2]) == max(site.train or 0 for site in run.sites)


def test_the_page_stays_small_and_the_json_file_complete(tmp_path: Path, make: ModuleType) -> None:
    sizes = {}
    for number in (300, 1500):
        folder = make.write(tmp_path / str(number), list(crowd(make, number)))
        sizes[number] = write_report(folder).stat().st_size
        run = json.loads((folder / "report.json").read_text())["run"]
        assert len(run["sites"]) == number and len(run["attacker_sites"]) == number // 10
        assert all(site["spent"] and site["planned"] and site["labels"] for site in run["sites"])
    assert sizes[1500] < sizes[300] * 1.05 < 200_000


def test_names_of_attackers_are_cut_only_where_they_are_many(many: Path, demo: Path) -> None:
    page = write_report(many).read_text()
    assert "site-00190 and 10 more</dd>" in page and "site-00200 and" not in page
    assert "lake, fen</dd>" in write_report(demo).read_text()


def test_nine_of_ten_updates_are_inside_the_band(many: Path, make: ModuleType, tmp_path: Path) -> None:
    last = load_run(many).rounds[-1]
    norms = sorted(make.closed(2, sites=[f"site-{k:05d}" for k in range(300)], hostile=()).norms.values())
    inside = [norm for norm in norms if (last.norm_inner_low or 0) <= norm <= (last.norm_inner_high or 0)]
    assert len(inside) == pytest.approx(0.9 * len(norms), abs=2)
    assert "The band holds nine of ten updates" in write_report(many).read_text()
    few = make.write(tmp_path / "few", make.whole_run())
    assert "from the shortest to the longest update" in write_report(few).read_text()


def test_of_many_attack_results_the_strongest_are_shown(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.leakage()]
    events += [make.leakage(f"site-{k:03d}", 0.4 + k / 1000) for k in range(250)]
    run = load_run(make.write(tmp_path / "run", events))
    found = protection.leakage(run, [])
    assert found is not None
    assert [row[0] for row in found.tables[0].rows] == ["all sites", *(f"site-{k:03d}" for k in range(249, 229, -1))]
    assert "21 of 251 results are shown here; report.json has them all." in {note.text for note in found.notes}
    assert [figure.name for figure in found.figures] == ["roc", "aucs"]
    assert sum(int(row[1]) for row in found.figures[1].table.rows) == 250


def test_a_rounds_budgets_are_read_as_a_range_in_one_event_or_in_several(tmp_path: Path, make: ModuleType) -> None:
    spent = {site: 0.1 * k for k, site in enumerate(make.SITES)}
    start = [make.started(), *(make.planned(site) for site in make.SITES)]
    single = [BudgetsSpent(round=1, epsilon={site: value}) for site, value in spent.items()]
    one = load_run(make.write(tmp_path / "run", [*start, *single]))
    other = load_run(make.write(tmp_path / "again" / "run", [*start, BudgetsSpent(round=1, epsilon=spent)]))
    assert one.sites == other.sites and one.budget_over_rounds == other.budget_over_rounds
    assert one.budget_over_rounds[0].highest == pytest.approx(0.9)


def test_every_degenerate_run_has_a_page_where_ten_sites_are_many(
    tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MANY", 0)
    monkeypatch.setattr(protection, "MANY", 0)
    runs = {
        "whole": make.whole_run(),
        "without privacy": make.whole_run(dp=False, attack=False),
        "only a start": [make.started()],
        "one site": [make.started(sites=1), make.described(3, "a"), make.closed(1, sites=("a",), hostile=())],
        "all void": [make.started(), make.voided(1)],
        "no labels": [make.started(), replace(make.described(3, "a"), labels=[], train=0)],
        "no numbers": [make.started(), make.closed(1, norms={}, weights={}, scores={})],
    }
    for name, events in runs.items():
        page = write_report(make.write(tmp_path / name, events)).read_text()
        assert "<h2" in page and "nan" not in page.split()


VALUES = st.lists(st.floats(-1e9, 1e9), max_size=60)


@given(VALUES.filter(bool), VALUES)
def test_every_value_is_in_one_bin_and_the_edges_are_around_all(plain: list[float], apart: list[float]) -> None:
    bins = binned(plain, apart)
    assert (sum(bins.plain), sum(bins.apart)) == (len(plain), len(apart))
    assert len(bins.plain) == len(bins.apart) == len(bins.edges) - 1 <= 25
    both = [*plain, *apart]
    width = bins.edges[1] - bins.edges[0]
    assert bins.edges[0] <= min(both) + 1e-6 * width and max(both) - 1e-6 * width <= bins.edges[-1]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=50))
def test_a_bin_counts_what_lies_in_it(values: list[int]) -> None:
    bins = binned([value + 0.5 for value in values], bounds=(0.0, 100.0))
    for low, high, found in zip(bins.edges, bins.edges[1:], bins.plain, strict=False):
        assert found == sum(low <= value + 0.5 < high for value in values)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-300, 1e300, 1e308, 0.1])
def test_one_value_alone_can_be_drawn(value: float) -> None:
    picture, table = histogram("h", "t", "d", binned([value]), across="x", text=lambda v: f"{v:g}")
    assert len(table.rows) == 1 and picture.count("<rect") == 1
    assert "nan" not in picture and "inf" not in picture


def test_where_the_middle_half_is_one_value_it_is_told_as_one() -> None:
    words = in_the_middle([0.0, 1.0, 1.0, 1.0, 1.0, 2.0], "{:g}".format)
    assert words == "Half of the sites or more are at 1; the lowest is at 0, the highest at 2."


def test_sites_told_apart_stand_on_the_others_and_are_hatched() -> None:
    bins = binned([0.1, 0.1, 0.9], [0.1], bounds=(0.0, 1.0))
    picture, table = histogram("h", "t", "d", bins, across="x", text=str, kinds=("honest", "hostile"))
    assert picture.count("fill out") == picture.count("url(#h-hatch)") == 1
    assert table.head == ("x", "honest", "hostile") and table.rows[0][1:] == ("2", "1")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_lies_among_the_values_and_grows(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert ordered[math.floor(share * (len(values) - 1))] - 1e-6 <= found <= ordered[-1] + 1e-6
    assert found <= quantile(ordered, min(1.0, share + 0.1)) + 1e-6
