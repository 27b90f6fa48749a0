"""A red team's page: the worst case first, then every attack on every defence, and what all of it can show."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedgerow import __version__
from hedgerow.disk import write_whole
from hedgerow.report.content import Fact, Table
from hedgerow.report.numbers import capital, duration, plural
from hedgerow.report.redteamadvice import Recommendation
from hedgerow.report.redteamanswers import red_team_answers
from hedgerow.report.redteamheat import heat_maps
from hedgerow.report.redteamnotes import red_team_notes
from hedgerow.report.redteamrows import RedTeamSummary, WorstCase
from hedgerow.report.redteamtexts import figure, points, setting_words
from hedgerow.report.sweeprows import SweepRun
from hedgerow.report.template import template
from hedgerow.tomltext import toml_literal

__all__ = ["SCHEMA_VERSION", "worst_table", "write_red_team_report"]

SCHEMA_VERSION = 1
_RUN_HEAD = ("split", "f", "defence", "attack", "seed", "value", "backdoor", "time", "status")
_RUN_NUMERIC = frozenset({1, 4, 5, 6, 7})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A line of the table of all runs."""

    name: str
    href: str
    cells: tuple[str, ...]


def write_red_team_report(folder: Path, team: RedTeamSummary, advice: Recommendation | None) -> Path:
    """Write `report.html` and `report.json` into the red team's folder; returns the page's path.

    The page stands alone: no network, no script; its links lead to the reports that were drawn of single runs.

    Raises:
        Misconfigured: E107 the page template needs jinja2. Exhausted: E503 no space left, E504 the folder cannot be
            written.
    """
    drawn = frozenset(run.name for run in team.runs if (folder / "cells" / run.name / "report.html").exists())
    page, numbers = _page(team, advice, drawn), _json(team, advice)
    for name, text in (("report.json", numbers), ("report.html", page)):
        write_whole(folder / name, text.encode(errors="replace"), durable=False, mode=0o644)
    return folder / "report.html"


def worst_table(team: RedTeamSummary) -> Table:
    """A row per defence, number of hostile sites and split, the most hostile sites first; columns without news are left
    out."""
    several = [len(team.f) > 1, len(team.splits) > 1]
    backdoors = any(case.backdoor is not None for case in team.cases)
    head = [
        "defence",
        *(name for name, needed in zip(("f", "split"), several, strict=True) if needed),
        f"worst {team.metric or 'metric'}",
        "by",
        *(["over seeds"] if len(team.seeds) > 1 else []),
        "unattacked",
        "clean cost",
        *(["backdoor"] if backdoors else []),
        "time a run",
    ]
    by_f = sorted(team.cases, key=lambda case: -case.case.f)  # stable: by split, then as the defences stand
    return Table(
        caption="The worst of every attack and seed; the first defence is the job's own. The clean cost is what is "
        "lost to the plain mean where nobody attacks.",
        head=tuple(head),
        rows=tuple(_worst_row(team, case, several, backdoors) for case in by_f),
        numeric=frozenset(k for k, name in enumerate(head) if name not in ("defence", "split", "by")),
    )


def _worst_row(team: RedTeamSummary, of: WorstCase, several: Sequence[bool], backdoors: bool) -> tuple[str, ...]:
    place = (str(of.case.f), of.case.split)
    span = "–" if of.low is None or of.high is None else f"{figure(of.low)} to {figure(of.high)}"
    return (
        of.case.defence,
        *(text for text, needed in zip(place, several, strict=True) if needed),
        *(("not run", "") if of.case.unfit else (_worst(of), of.attack)),
        *([span] if len(team.seeds) > 1 else []),
        figure(of.clean.mean) if of.clean else "",
        points(of.cost, of.metric) if of.cost is not None else "",
        *([figure(of.backdoor) if of.backdoor is not None else ""] if backdoors else []),
        duration(of.seconds) if of.seconds is not None else "",
    )


def _worst(of: WorstCase) -> str:
    if of.broken:
        return "failed"
    if of.lost:
        return "no model"
    more = "*" if of.waiting and of.value is not None else ""
    return "" if of.value is None else f"{figure(of.value)}{more}"


def _page(team: RedTeamSummary, advice: Recommendation | None, drawn: frozenset[str]) -> str:
    return template("redteam.html.j2").render(
        team=team,
        subtitle=(
            team.task,
            team.engine,
            f"{plural(len(team.attacks), 'attack')} on {plural(len(team.defences), 'defence')}",
            plural(len(team.seeds), "seed"),
            f"{team.done} of {plural(len(team.runs), 'run')}",
        ),
        answers=red_team_answers(team, advice),
        lead=_lead(team),
        worst=worst_table(team),
        notes=red_team_notes(team),
        maps=heat_maps(team, drawn),
        map_lead=f"Each number is the worst final {team.metric or 'metric'} of the seeds; the stronger the colour, "
        "the more was lost of what a model reaches that nobody attacks.",
        adversaries=_adversaries(team),
        advice=advice,
        advice_words=setting_words(advice.settings) if advice else "",
        runs=[_run(run, drawn) for run in team.runs],
        run_head=tuple(team.metric or "metric" if name == "value" else name for name in _RUN_HEAD),
        run_numeric=_RUN_NUMERIC,
        code=_again(team),
        version=__version__,
    )


def _lead(team: RedTeamSummary) -> str:
    sites = " and ".join(str(f) for f in team.f)
    splits = f"the split {team.splits[0]}" if len(team.splits) == 1 else f"the splits {', '.join(team.splits)}"
    words = f"{sites} hostile site{'' if team.f == (1,) else 's'} of {team.scenario.get('sites', '?')}, {splits}"
    return f"{words}; every defence was told that number. What counts is the worst that an attack can cause."


def _adversaries(team: RedTeamSummary) -> Table:
    return Table(
        caption="What the hostile sites do, and who the adversary behind them is.",
        head=("attack", "the adversary", "what it does"),
        rows=tuple(
            (attack, capital(team.sees.get(attack) or "not stated"), team.does.get(attack, ""))
            for attack in team.attacks
        ),
    )


def _run(run: SweepRun, drawn: frozenset[str]) -> _Run:
    of = run.settings
    status = f"{run.status}, {run.code} {run.reason}".rstrip(", ") if run.code else run.status
    value = figure(run.value) if run.value is not None else "not finite" if run.done and run.metric else ""
    f = "" if of["f"] == 0 else str(of["f"])
    return _Run(
        name=run.name,
        href=f"cells/{run.name}/report.html" if run.name in drawn else "",
        cells=(
            str(of["split"]),
            f,
            str(of["defence"]),
            str(of["attack"]),
            str(run.seed),
            value,
            figure(run.backdoor) if run.backdoor is not None else "",
            duration(run.seconds) if run.seconds is not None else "",
            status,
        ),
    )


def _again(team: RedTeamSummary) -> tuple[Fact, ...]:
    """Everything that is needed to get it again, as text to copy."""
    code = [Fact(name="The command", text=team.command, code=True)] if team.command else []
    tables = (
        ("The job", "tool.flwr.app.config", team.job),
        ("The scenario (simulation only)", "tool.hedgerow.scenario", team.scenario),
    )
    for title, table, settings in tables:
        lines = [f"[{table}]", *(f"{key} = {toml_literal(value)}" for key, value in settings.items())]
        code.append(Fact(name=title, text="\n".join(lines), code=True))
    return tuple(code)


def _json(team: RedTeamSummary, advice: Recommendation | None) -> str:
    content = {
        "schema_version": SCHEMA_VERSION,
        "hedgerow": __version__,
        "red_team": {**dataclasses.asdict(team), "metric": team.metric},
        "recommended": dataclasses.asdict(advice) if advice else None,
    }
    return json.dumps(_plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _plain(value: Any) -> Any:
    """JSON's own types; a number that JSON does not have becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
