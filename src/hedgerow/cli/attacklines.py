"""What a terminal is told of a red team: what it tries, and the worst cases at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedgerow.report.numbers import plural
from hedgerow.report.redteamtexts import setting_words

if TYPE_CHECKING:
    from hedgerow.report.redteamadvice import Recommendation
    from hedgerow.simulations.redteam import RedTeam, RedTeamFolder

__all__ = ["advice_lines", "start_words", "worst_lines"]


def start_words(folder: RedTeamFolder) -> str:
    """What is tried, before the first run."""
    own, *others = [defence.name for defence in folder.defences]
    lines = [
        f"red team {folder.name}, engine {folder.engine}",
        f"  {plural(len(folder.cells), 'run')}: {plural(len(folder.attacks), 'attack')} on "
        f"{plural(len(folder.defences), 'defence')}, {plural(folder.seeds, 'seed')}",
        f"  attacks: {', '.join(folder.attacks)}",
        f"  defences: {own} (the job's own)" + "".join(f", {name}" for name in others),
        f"  hostile sites: {', '.join(map(str, folder.f))}; split: {', '.join(folder.sites)}",
    ]
    lines += [f"  not run: {case.defence} with f = {case.f}, {case.unfit}" for case in folder.cases if case.unfit]
    return "\n".join(lines)


def worst_lines(done: RedTeam) -> list[str]:
    """The report's first table, as lines."""
    from hedgerow.report.redteampage import worst_table

    table = worst_table(done.summary)
    lines = [table.head, *table.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(table.head))]
    shown = []
    for line in lines:
        cells = (
            f"{text:>{width}}" if k in table.numeric else f"{text:<{width}}"
            for k, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join(cells).rstrip())
    return shown


def advice_lines(advice: Recommendation) -> list[str]:
    """What is recommended, and what to write for it."""
    words = ["recommended: " + (advice.defence or "nothing"), *(f"  {text}" for text in advice.words)]
    return [*words, f"  {setting_words(advice.settings)}"] if advice.defence else words
