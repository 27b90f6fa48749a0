"""A red team's page and numbers, from runs that a test made: the worst case first, then the map."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.simulations.redteam.fakes import fake_run, fake_runs

from hedgerow.report.redteamadvice import Candidate, Recommendation, recommend
from hedgerow.report.redteamheat import LOSSES, level
from hedgerow.report.redteampage import worst_table, write_red_team_report
from hedgerow.report.redteamrows import Case, Judged, RedTeamSummary, worst_cases
from hedgerow.report.sweeprows import SweepRun

REACHED: dict[str, dict[str, list[float | None]]] = {
    "clip+nnm|trimmed-mean": {"none": [0.93, 0.94], "alie": [0.70, 0.75], "sign-flip": [0.90, 0.91]},
    "mean": {"none": [0.95, 0.95], "alie": [0.30, 0.20], "sign-flip": [0.60, None]},
}


def summary(runs: list[SweepRun] | None = None, *, unfit: str = "", **changes: Any) -> RedTeamSummary:
    runs = fake_runs(REACHED) if runs is None else runs
    cases = [Case(split="iid", f=2, defence=name, unfit=unfit if name == "mean" else "") for name in REACHED]
    facts: dict[str, Any] = {
        "name": "2026-11-24-103000-digits-attack",
        "task": "digits",
        "engine": "cohort",
        "status": "finished",
        "command": "hedgerow attack . --seeds 2",
        "digest": "ab" * 32,
        "job": {"rounds": 5, "aggregate.rule": "trimmed-mean"},
        "job_digest": "cd" * 32,
        "scenario": {"sites": 10, "seed": 0},
        "attacks": ("alie", "sign-flip"),
        "sees": {"alie": "sees the honest updates", "sign-flip": "blind"},
        "does": {"alie": "Answer with a little less.", "sign-flip": "Answer with minus the own update."},
        "defences": tuple(REACHED),
        "f": (2,),
        "splits": ("iid",),
        "seeds": tuple(sorted({run.seed for run in runs})),
        "runs": tuple(runs),
        "cases": worst_cases(cases, runs),
        "gates": (),
    }
    return RedTeamSummary(**{**facts, **changes})


def advice(team: RedTeamSummary) -> Recommendation:
    return recommend(team.cases, [Candidate(name=name, steps=1, settings={"local.lr": 0.5}) for name in REACHED])


class Page(HTMLParser):
    """The page's source and its text, and where it leads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text = ""
        self.links: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [str(found[key]) for key in ("href", "src") if key in found]

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(folder: Path, team: RedTeamSummary) -> Page:
    return Page(write_red_team_report(folder, team, advice(team)))


def test_the_worst_case_comes_before_the_map_and_the_runs(tmp_path: Path) -> None:
    page = drawn(tmp_path, summary())
    places = [page.source.index(f'id="{name}"') for name in ("worst", "map", "adversaries", "advice", "runs")]
    assert places == sorted(places)
    assert page.source.index("0.700") < places[0]  # the job's own, on the first screen


def test_the_first_table_has_the_worst_of_each_defence() -> None:
    table = worst_table(summary())
    assert table.head == ("defence", "worst accuracy", "by", "over seeds", "unattacked", "clean cost", "time a run")
    assert table.rows == (
        ("clip+nnm|trimmed-mean", "0.700", "alie", "0.700 to 0.750", "0.935", "1.5 points", "2.00 s"),
        ("mean", "no model", "sign-flip", "–", "0.950", "0.0 points", "2.00 s"),
    )


def test_columns_appear_when_there_is_something_to_tell() -> None:
    runs = [*fake_runs(REACHED), fake_run("mean", "alie", 0.3, seed=0, backdoor=0.4)]
    assert "backdoor" in worst_table(summary(runs)).head
    assert {"f", "split"} <= set(worst_table(summary(f=(1, 2), splits=("iid", "labels:1"))).head)


def test_the_map_shows_each_pair_and_frames_the_worst(tmp_path: Path) -> None:
    page = drawn(tmp_path, summary())
    body = page.source.partition('class="heatmap"')[2].partition("</table>")[0]
    cells = re.findall(r'<td class="harm (g\w)( worst)?" title="([^"]*)">(?:<a[^>]*>)?([^<]*)', body)
    assert [(text, bool(worst)) for _, worst, _, text in cells] == [
        ("0.930", False),
        ("0.950", False),
        ("0.700", True),
        ("0.200", False),
        ("0.900", False),
        ("no model", True),
    ]
    assert cells[0][0] == f"g{level(0.93, 0.95, 'accuracy')}" and cells[5][0] == "g9"
    assert "mean 0.725 over 2 seeds" in cells[2][2]


def test_links_lead_to_reports_that_were_drawn_and_nowhere_else(tmp_path: Path) -> None:
    team = summary()
    name = "iid_f2_clip+nnm-trimmed-mean_alie_seed-0"
    (tmp_path / "cells" / name).mkdir(parents=True)
    (tmp_path / "cells" / name / "report.html").write_text("")
    page = drawn(tmp_path, team)
    assert {link for link in page.links if not link.startswith("#")} == {f"cells/{name}/report.html"}


def test_it_says_what_a_battery_can_show_and_who_the_adversary_is(tmp_path: Path) -> None:
    text = " ".join(drawn(tmp_path, summary()).text.split())
    for words in (
        "A battery is a lower bound of the harm",
        "No attack here fits its strength to the defence: attacks of a fixed strength flatter it.",
        "Sees the honest updates",
        "Answer with minus the own update.",
        "1 run under attack ended without a usable model",
        "The worst is the plain worst of 2 seeds",
    ):
        assert words in text


def test_one_seed_is_said_to_have_no_interval(tmp_path: Path) -> None:
    reached = {name: {attack: values[:1] for attack, values in of.items()} for name, of in REACHED.items()}
    page = drawn(tmp_path, summary(fake_runs(reached)))
    assert "One seed has no interval and no spread" in page.text and "over seeds" not in page.text


def test_what_is_missing_is_said_in_red(tmp_path: Path) -> None:
    runs = [*fake_runs(REACHED), fake_run("mean", "alie", None, status="waiting", seed=2)]
    page = drawn(tmp_path, summary(runs, unfit="it needs 9 updates", status="unfinished"))
    grave = " ".join(re.findall(r'<li class="grave">(.*?)</li>', page.source, re.S))
    assert "1 run is not done yet, so worse may come" in grave
    assert "mean was not run with f = 2: it needs 9 updates." in page.text


@pytest.mark.parametrize(("guessing", "said"), [(0.948, True), (0.5, False)])
def test_a_mean_that_hardly_beats_guessing_is_said_in_red(tmp_path: Path, guessing: float, said: bool) -> None:
    page = drawn(tmp_path, summary(guessing={"iid": guessing}))
    grave = " ".join(re.findall(r'<li class="grave">(.*?)</li>', page.source, re.S))
    words = "Even the plain mean that nobody attacks reaches only accuracy 0.950 on split iid; to answer always"
    assert (words in " ".join(grave.split())) is said


@pytest.mark.parametrize("passed", [True, False])
def test_the_gates_verdict_is_on_the_first_screen(tmp_path: Path, passed: bool) -> None:
    gate = Judged(passed=passed, measured=0.7, text="worst.accuracy >= 0.6: passed, 0.700")
    page = drawn(tmp_path, summary(gates=(gate,)))
    first = page.source.partition('id="worst"')[0]
    assert ("Gate passed" in first) is passed and ("Gate failed" in first) is not passed


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    page = drawn(tmp_path, summary(name="<script>x</script>", task="<b>", command="a <i>"))
    assert "<script" not in page.source and "<b>" not in page.source and "<i>" not in page.source


def test_the_same_numbers_are_in_the_json(tmp_path: Path) -> None:
    team = summary()
    write_red_team_report(tmp_path, team, advice(team))
    told = json.loads((tmp_path / "report.json").read_bytes())
    assert [case["value"] for case in told["red_team"]["cases"]] == [0.7, None]
    assert told["recommended"]["defence"] == "clip+nnm|trimmed-mean"
    assert told["schema_version"] == 1 and len(told["red_team"]["runs"]) == len(team.runs)


def test_shades_darken_with_what_was_lost() -> None:
    shades = [level(0.9 * (1 - share), 0.9, "accuracy") for share in (0.0, *(each + 1e-9 for each in LOSSES), 1.0)]
    assert shades == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert level(0.95, 0.9, "accuracy") == 0
    assert level(1.5, 1.0, "loss") == level(0.5, 1.0, "accuracy")
