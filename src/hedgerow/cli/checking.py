"""`hedgerow check`: every finding once, the worst first; the first error decides the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgerow.check import check_job
from hedgerow.cli.answer import Failed
from hedgerow.cli.overriding import overridden
from hedgerow.errors import HedgerowError, Misconfigured
from hedgerow.findings import Finding, refuse_errors
from hedgerow.project import Project

__all__ = ["check_project", "finding_line", "finding_record"]

MARKS = {"error": "✗ error", "warning": "! warning", "note": "· note"}


def check_project(path: Path, config: str, scenario: str) -> tuple[Mapping[str, Any], str]:
    """Check a project.

    Raises:
        Misconfigured: what keeps the job or its data from being read. Failed: the first error among the findings, with
            all of them.
    """
    from hedgerow.simulations.sites import prepare

    project = Project.open(path)
    task = project.task()
    if task is None:
        raise Misconfigured(
            "E111",
            "this Flower app has no Hedgerow task, so there is nothing to check",
            place=str(path),
            hint="run it as it is with: hedgerow sim, or flwr run",
        )
    job = overridden(project.job(), "-c", config)
    wanted = overridden(project.scenario(), "-s", scenario)
    task, _, sites = prepare(task, wanted)
    findings = check_job(job, task, sites)
    lines = [finding_line(finding) for finding in findings]
    records = [finding_record(finding) for finding in findings]
    try:
        refuse_errors(findings)
    except HedgerowError as error:
        count = sum(finding.level == "error" for finding in findings)
        closing = f"the job cannot start: {count} error{'s' if count > 1 else ''}"
        raise Failed(error, words="\n".join([*lines, closing]), details={"findings": records}) from None
    closing = f"the job can start: {len(sites)} sites, {job.rounds} rounds, digest {job.digest()}"
    data = {"job_digest": job.digest(), "sites": len(sites), "findings": records}
    return data, "\n".join([*lines, closing])


def finding_line(finding: Finding) -> str:
    """A finding for people: its level, what, where, and what to do."""
    place = f" ({finding.place})" if finding.place else ""
    hint = f"\n    {finding.hint}" if finding.hint else ""
    code = f" {finding.code}" if finding.code else ""
    return f"{MARKS[finding.level]}{code}: {finding.message}{place}{hint}"


def finding_record(finding: Finding) -> dict[str, str]:
    """A finding in the envelope."""
    return {
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "place": finding.place,
        "hint": finding.hint,
    }
