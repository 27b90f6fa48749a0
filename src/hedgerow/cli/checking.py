"""`hedgerow check`: every finding on a line, the worst first; an error decides the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgerow.check import check_job
from hedgerow.errors import Misconfigured
from hedgerow.findings import Finding
from hedgerow.project import Project
from hedgerow.settings import parse_overrides

__all__ = ["check_project"]

MARKS = {"error": "✗ error", "warning": "! warning", "note": "· note"}


def check_project(path: Path, config: str, scenario: str) -> tuple[Mapping[str, Any], str]:
    """Check a project.

    Raises:
        Misconfigured: the first error, after all findings were printed on stderr.
    """
    from hedgerow.simulations.sites import prepare

    project = Project.open(path)
    job = project.job(parse_overrides(config))
    wanted = project.scenario(parse_overrides(scenario))
    task = project.task()
    if task is None:
        raise Misconfigured(
            "E111", "this Flower app has no Hedgerow task, so there is nothing to check", place=str(path)
        )
    task, _, sites = prepare(task, wanted)
    findings = check_job(job, task, sites)
    words = "\n".join(map(_line, findings))
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        first = errors[0]
        others = f"{words}\n" if len(findings) > 1 else ""
        raise Misconfigured(first.code, f"{first.message}", place=first.place, hint=_all(first, others))
    data = {"job_digest": job.digest(), "sites": len(sites), "findings": [_record(finding) for finding in findings]}
    return data, f"{words}\nthe job can start: {len(sites)} sites, {job.rounds} rounds, digest {job.digest()[:12]}"


def _line(finding: Finding) -> str:
    place = f" ({finding.place})" if finding.place else ""
    hint = f"\n    {finding.hint}" if finding.hint else ""
    code = f" {finding.code}" if finding.code else ""
    return f"{MARKS[finding.level]}{code}: {finding.message}{place}{hint}"


def _all(first: Finding, others: str) -> str:
    return f"{first.hint}\n\nall findings:\n{others}" if others else first.hint


def _record(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "place": finding.place,
        "hint": finding.hint,
    }
