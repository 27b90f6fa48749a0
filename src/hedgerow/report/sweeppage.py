"""A sweep's page: what was swept, one table, one plot, and a link to every run's own report."""

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
from hedgerow.errors import CODES
from hedgerow.report.content import TERMS, Fact
from hedgerow.report.numbers import capital, duration, epsilon, plural, significant
from hedgerow.report.sweepchart import sweep_chart
from hedgerow.report.sweepnotes import sweep_notes
from hedgerow.report.sweeprows import SPENT, Spread, SweepRow, SweepRun, SweepSummary, headings
from hedgerow.report.template import template
from hedgerow.tomltext import toml_literal

__all__ = ["SCHEMA_VERSION", "write_sweep_report"]

SCHEMA_VERSION = 1
_TERMS = ("accuracy", "ε (epsilon)", "membership attack", "AUC")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A word that leads to a run's own report, where there is one."""

    text: str
    href: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The texts of one cell's line, its runs, and what became of those that failed."""

    cells: tuple[str, ...]
    links: tuple[_Link, ...]
    failed: str


def write_sweep_report(folder: Path, sweep: SweepSummary) -> Path:
    """Write `report.html` and `report.json` into the sweep's folder; returns the page's path.

    The page stands alone: no network, no script; its links lead to the runs' reports beside it.

    Raises:
        Misconfigured: E107 the page template needs jinja2. Exhausted: E503 no space left, E504 the folder cannot be
            written.
    """
    page, numbers = _page(sweep), _json(sweep)
    for name, text in (("report.json", numbers), ("report.html", page)):
        write_whole(folder / name, text.encode(errors="replace"), durable=False, mode=0o644)
    return folder / "report.html"


def _page(sweep: SweepSummary) -> str:
    done = sum(run.done for run in sweep.runs)
    metric = sweep.metric or "metric"
    title = f"{capital(metric)} by what was swept"
    chart = sweep_chart(sweep.rows, sweep.grid, metric=metric, title=title)
    private = any(run.epsilon is not None for run in sweep.runs)
    attacked = any(run.auc is not None for run in sweep.runs)
    decimals = _decimals([row.result.sd for row in sweep.rows if row.result and row.result.sd])
    needed = {"accuracy": metric == "accuracy", "ε (epsilon)": private}
    return template("sweep.html.j2").render(
        sweep=sweep,
        subtitle=(
            sweep.task,
            sweep.engine,
            plural(len(sweep.rows), "cell"),
            plural(len(sweep.seeds), "seed"),
            f"{done} of {plural(len(sweep.runs), 'run')}",
        ),
        swept=_swept(sweep),
        notes=sweep_notes(sweep, cut=chart is not None and chart.cut),
        head=_head(sweep, metric),
        numeric_from=len(sweep.grid),
        rows=[_row(row, sweep, decimals) for row in sweep.rows],
        anything_failed=any(row.failed for row in sweep.rows),
        chart=chart,
        chart_title=title,
        runs=[_run(run) for run in sweep.runs],
        metric=metric,
        code=_again(sweep),
        terms=tuple((term, TERMS[term]) for term in _TERMS if needed.get(term, attacked)),
        version=__version__,
    )


def _swept(sweep: SweepSummary) -> tuple[Fact, ...]:
    facts = [
        Fact(name=key, text=", ".join(str(value) for value in values), code=True) for key, values in sweep.grid.items()
    ]
    first, last = sweep.seeds[0], sweep.seeds[-1]
    return (*facts, Fact(name="seed", text=str(first) if first == last else f"{first} to {last}", code=True))


def _head(sweep: SweepSummary, metric: str) -> tuple[str, ...]:
    compared = ("from first row",) if len(sweep.rows) > 1 else ()
    return (*headings(sweep.grid), "seeds", metric, "sd", "95 % interval", *compared, SPENT, "AUC", "time")


def _row(row: SweepRow, sweep: SweepSummary, decimals: int) -> _Row:
    measured = row.result.count if row.result else 0
    return _Row(
        cells=(
            *(str(row.settings[key]) for key in sweep.grid),
            str(measured) if measured == len(row.runs) else f"{measured} of {len(row.runs)}",
            *_spread(row.result, decimals),
            *((_difference(row.difference, decimals),) if len(sweep.rows) > 1 else ()),
            _epsilon(row.epsilon),
            _fixed(row.auc, 2),
            duration(row.seconds) if row.seconds is not None else "",
        ),
        links=tuple(_link(run) for run in row.runs),
        failed="; ".join(f"seed {run.seed}: {run.code} {CODES.get(run.code, '')}".rstrip() for run in row.failed),
    )


def _run(run: SweepRun) -> tuple[_Link, tuple[str, ...]]:
    """A line of the table of all runs."""
    status = f"{run.status}, {run.code} {run.reason}".rstrip(", ") if run.code else run.status
    value = significant(run.value, 4) if run.value is not None else "not finite" if run.done and run.metric else ""
    seconds = duration(run.seconds) if run.seconds is not None else ""
    return _link(run, run.name), (value, _epsilon(run.epsilon), _fixed(run.auc, 2), seconds, status)


def _link(run: SweepRun, text: str = "") -> _Link:
    started = run.status != "waiting"
    return _Link(
        text=text or str(run.seed),
        href=f"cells/{run.name}/report.html" if started else "",
        title=f"{run.name}: {run.status}",
    )


def _spread(of: Spread | None, decimals: int) -> tuple[str, str, str]:
    if of is None:
        return "", "", ""
    if of.sd is None or of.low is None or of.high is None:
        return _fixed(of.mean, decimals), "", ""
    ends = f"{_fixed(of.low, decimals)} to {_fixed(of.high, decimals)}"
    return _fixed(of.mean, decimals), _fixed(of.sd, decimals), ends


def _difference(of: Spread | None, decimals: int) -> str:
    if of is None:
        return ""
    ends = "" if of.low is None or of.high is None else f" ({of.low:+.{decimals}f} to {of.high:+.{decimals}f})"
    return f"{of.mean:+.{decimals}f}{ends}".replace("-", "−")


def _decimals(spreads: Sequence[float]) -> int:
    """As many as the largest spread deserves: up to its second significant digit, at least two and at most six."""
    return min(6, max(2, 1 - math.floor(math.log10(max(spreads))))) if spreads else 3


def _fixed(value: float | None, decimals: int) -> str:
    if value is None:
        return ""
    return (f"{value:.{decimals}f}" if abs(value) < 1e5 else significant(value)).replace("-", "−")


def _epsilon(value: float | None) -> str:
    return "" if value is None else epsilon(value) if math.isfinite(value) else "unbounded"


def _again(sweep: SweepSummary) -> tuple[Fact, ...]:
    """Everything that is needed to get the sweep again, as text to copy."""
    code = [Fact(name="The command", text=sweep.command, code=True)] if sweep.command else []
    tables = (
        ("The job", "tool.flwr.app.config", sweep.job),
        ("The scenario (simulation only)", "tool.hedgerow.scenario", sweep.scenario),
    )
    for title, table, settings in tables:
        lines = [f"[{table}]", *(f"{key} = {toml_literal(value)}" for key, value in settings.items())]
        code.append(Fact(name=title, text="\n".join(lines), code=True))
    return tuple(code)


def _json(sweep: SweepSummary) -> str:
    content = {
        "schema_version": SCHEMA_VERSION,
        "hedgerow": __version__,
        "sweep": _plain({**_fields(sweep), "metric": sweep.metric}),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _fields(sweep: SweepSummary) -> dict[str, Any]:
    return {field.name: getattr(sweep, field.name) for field in dataclasses.fields(sweep) if field.name != "rows"} | {
        "rows": [dataclasses.asdict(row) | {"failed": [run.name for run in row.failed]} for row in sweep.rows]
    }


def _plain(value: Any) -> Any:
    """JSON's own types; a number that JSON does not have becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
