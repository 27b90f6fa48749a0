"""Every attack on every defence as a table whose colour is the harm: what was lost to a model nobody attacked."""

from collections.abc import Sequence
from dataclasses import dataclass

from hedgerow.report.beside import lower_is_better
from hedgerow.report.numbers import plural
from hedgerow.report.redteamrows import MEAN, NOBODY, Case, Pair, RedTeamSummary, WorstCase, broken, pair_of
from hedgerow.report.sweeprows import SweepRun

__all__ = ["LOSSES", "HeatCell", "HeatMap", "heat_maps", "level"]

LOSSES = (0.005, 0.02, 0.04, 0.07, 0.11, 0.17, 0.25, 0.4, 0.6)
"""Where a darker shade begins, as a share of the value without attack: the steps widen, for a lost point in a good
model says more than one in a broken model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One attack on one defence: its text and what is under it, its shade, and whether it is its column's worst."""

    text: str
    level: str
    title: str
    more: str = ""
    href: str = ""
    worst: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """One split and one number of hostile sites. A row: an attack, its adversary, and a cell for each defence."""

    title: str
    caption: str
    defences: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[HeatCell, ...]], ...]


def level(value: float, unharmed: float, metric: str) -> int:
    """How dark a value is, from 0 to 9, beside that of a model that nobody attacked.

    >>> level(0.9, 0.9, "accuracy"), level(0.85, 0.9, "accuracy"), level(0.1, 0.9, "accuracy")
    (0, 3, 9)
    """
    lost = (value - unharmed if lower_is_better(metric) else unharmed - value) / max(abs(unharmed), 1e-9)
    return sum(lost >= each for each in LOSSES)


def heat_maps(team: RedTeamSummary, drawn: frozenset[str]) -> tuple[HeatMap, ...]:
    """A map for each split and number of hostile sites, the most hostile sites first; `drawn` are the names of the runs
    that have a report."""
    return tuple(_map(team, split, f, drawn) for split in team.splits for f in sorted(team.f, reverse=True))


def _map(team: RedTeamSummary, split: str, f: int, drawn: frozenset[str]) -> HeatMap:
    cases = {each.case.defence: each for each in team.cases if (each.case.split, each.case.f) == (split, f)}
    clean = [run for run in team.runs if (run.settings["split"], run.settings["f"]) == (split, 0)]
    values = [run.value for run in clean if run.value is not None]
    rows = tuple(
        (
            "nobody attacks" if attack == NOBODY else attack,
            team.sees.get(attack, ""),
            tuple(_cell(team, cases[defence], attack, values, drawn) for defence in team.defences),
        )
        for attack in (NOBODY, *team.attacks)
    )
    unharmed = f"; the plain {MEAN} that nobody attacks reaches {min(values):.3f}" if values else ""
    return HeatMap(
        title=f"{plural(f, 'hostile site')}, split {split}",
        caption=f"{_lowest(team.metric)} of {plural(len(team.seeds), 'seed')} with {plural(f, 'hostile site')}, split "
        f"{split}{unharmed}. The first column is the job's own defence; the worst of "
        "each is framed. What a backdoor took counts as lost, too.",
        defences=team.defences,
        rows=rows,
    )


def _cell(
    team: RedTeamSummary, worst: WorstCase, attack: str, unharmed: Sequence[float], drawn: frozenset[str]
) -> HeatCell:
    if worst.case.unfit:
        return HeatCell(text="–", level="x", title=worst.case.unfit)
    of = pair_of(team.runs, worst.case, attack)
    is_worst = worst.attack == attack and attack != NOBODY
    run = _decisive(of)
    href = f"cells/{run.name}/report.html" if run and run.name in drawn else ""
    title = _title(worst.case, attack, of)
    if of.lost:
        return HeatCell(text="no model", level="9", title=title, href=href, worst=is_worst)
    if any(map(broken, of.runs)):
        return HeatCell(text="failed", level="x", title=title)
    if of.lowest is None:
        return HeatCell(text="", level="x", title=title)
    shade = level(of.lowest, min(unharmed), team.metric) if unharmed else 0
    more = ""
    if of.backdoor is not None:
        shade = max(shade, level(1 - of.backdoor, 1, ""))
        more = f"backdoor {of.backdoor:.3f}"
    return HeatCell(text=f"{of.lowest:.3f}", more=more, level=str(shade), title=title, href=href, worst=is_worst)


def _decisive(of: Pair) -> SweepRun | None:
    return next((run for run in of.runs if run.value == of.lowest or (of.lost and run.value is None)), None)


def _title(case: Case, attack: str, of: Pair) -> str:
    who = "nobody attacks" if attack == NOBODY else attack
    words = [f"{case.defence}, {who}"]
    if of.result is not None and of.result.count > 1:
        words.append(f"mean {of.result.mean:.3f} over {of.result.count} seeds")
    words += [f"{of.lost} without a usable model"] if of.lost else []
    words += [f"{of.waiting} not done"] if of.waiting else []
    words += [f"backdoor success {of.backdoor:.3f}"] if of.backdoor is not None else []
    return "; ".join(words)


def _lowest(metric: str) -> str:
    return f"The {'highest' if lower_is_better(metric) else 'lowest'} final {metric or 'metric'}"
