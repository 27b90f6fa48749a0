"""From run folders to `report.html` and `report.json`, written whole or not at all."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from hedgerow import __version__
from hedgerow.disk import write_whole
from hedgerow.errors import HedgerowError
from hedgerow.report.answers import answers, notes
from hedgerow.report.beside import Beside, beside
from hedgerow.report.conditions import conditions, simulated_time
from hedgerow.report.content import TERMS, Answer, Note, Section, defined
from hedgerow.report.numbers import duration, plural
from hedgerow.report.parsing import load_run
from hedgerow.report.protection import leakage, privacy
from hedgerow.report.reproducing import reproducing
from hedgerow.report.sites import sites
from hedgerow.report.split import data
from hedgerow.report.summary import RunSummary
from hedgerow.report.template import template
from hedgerow.report.training import cost, rounds, side_by_side

__all__ = ["SCHEMA_VERSION", "write_report"]

SCHEMA_VERSION = 1
YEAR_10000 = 253402300800  # seconds: beyond it no calendar helps
_FIRST_SCREEN_TERMS = ("accuracy", "95 % interval", "ε (epsilon)", "δ (delta)", "membership attack", "AUC")


def write_report(folder: Path, others: Sequence[Path] = ()) -> Path:
    """Draw a run's report from its events, with its twins and any other runs beside it; returns the page's path.

    Twins are the runs in `folder/twins/`; one that cannot be read is named in the report and left out of it. The page
    stands alone: no network, no script.

    Raises:
        Misconfigured: E107 the page template needs jinja2, E112 a folder holds no run.
        Tampered: E403 an event log is damaged.
        Exhausted: E503 no space left, E504 the folder cannot be written.
    """
    run = load_run(folder)
    twins, missing = _twins(folder / "twins")
    stand = beside(run, twins, [load_run(other) for other in others])
    asked = answers(run, stand)
    page, numbers = _page(run, stand, asked, missing), _json(run, stand, asked, missing)
    for name, text in (("report.json", numbers), ("report.html", page)):
        write_whole(folder / name, text.encode(errors="replace"), durable=False, mode=0o644)
    return folder / "report.html"


def _twins(folder: Path) -> tuple[list[RunSummary], list[Note]]:
    found, missing = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir():
            try:
                found.append(load_run(path))
            except HedgerowError as error:
                missing.append(Note(text=f"The twin run {path.name} cannot be shown: {error.code} {error.title}."))
    return found, missing


def _page(run: RunSummary, others: Sequence[Beside], asked: Sequence[Answer], missing: Sequence[Note]) -> str:
    chosen = (
        side_by_side(run, others),
        rounds(run, others),
        conditions(run, others),
        sites(run),
        privacy(run),
        leakage(run, others),
        data(run),
        cost(run),
        reproducing(run),
    )
    parts: tuple[Section, ...] = tuple(section for section in chosen if section is not None)
    words = " ".join(f"{answer.unit} {answer.interval} {answer.text}" for answer in asked)
    needed = {"95 % interval": "(", "ε (epsilon)": "ε", "δ (delta)": "δ"}
    first = tuple(term for term in _FIRST_SCREEN_TERMS if needed.get(term, term) in words)
    return template("page.html.j2").render(
        run=run,
        subtitle=_subtitle(run),
        answers=asked,
        notes=(*notes(run), *missing),
        sections=parts,
        first_terms=tuple((term, TERMS[term]) for term in first),
        terms=defined(parts, first),
        version=__version__,
    )


def _subtitle(run: RunSummary) -> tuple[str, ...]:
    number = run.enrolled or len(run.sites)
    rounds_of = (
        f"{run.released} of {run.planned_rounds} rounds" if run.planned_rounds else plural(run.released, "round")
    )
    known = run.started is not None and 0 <= run.started < YEAR_10000
    started = time.strftime("%d %b %Y, %H:%M UTC", time.gmtime(run.started)) if known else ""
    took = simulated_time(run) or (duration(run.seconds) if run.seconds is not None else "")
    parts = (run.task, run.engine, plural(number, "site") if number else "", rounds_of, started, took)
    return tuple(part for part in parts if part)


def _json(run: RunSummary, others: Sequence[Beside], asked: Sequence[Answer], missing: Sequence[Note]) -> str:
    content = {
        "schema_version": SCHEMA_VERSION,
        "hedgerow": __version__,
        "answers": [{**_as_table(answer), "mark": answer.mark.name.lower()} for answer in asked],
        "notes": (*notes(run), *missing),
        "run": run,
        "beside": others,
    }
    return json.dumps(content, default=_as_table, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _as_table(thing: object) -> dict[str, object]:
    """A frozen dataclass as a table, without the copies that `dataclasses.asdict` makes."""
    return {name: getattr(thing, name) for name in type(thing).__dataclass_fields__}  # type: ignore[attr-defined]
