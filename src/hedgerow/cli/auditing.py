"""`hedgerow audit PROJECT --conformance`: the job's mechanism tested from what it releases, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hedgerow.cli.answer import Failed, answer
from hedgerow.cli.options import JobWords, Json, ProjectPath, ScenarioWords, together
from hedgerow.cli.overriding import overridden
from hedgerow.errors import Exhausted, Misconfigured
from hedgerow.project import Project

if TYPE_CHECKING:
    from hedgerow.simulations.conformance import Audit, Part

__all__ = ["audit", "audit_project"]

Conformance = Annotated[
    bool, typer.Option("--conformance", help="Test the job's private mechanism from what it releases.")
]
AuditedPath = Annotated[
    str,
    typer.Option(
        "--path",
        metavar="NAME",
        help="'opacus', a site's own steps; 'cohort', the batched ones of a simulation; 'all' where left out.",
        show_default=False,
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--restarts",
        metavar="N",
        help="How many fresh processes repeat a site's round, to find noise that comes again; 2 where left out.",
        show_default=False,
    ),
]


def audit(
    path: ProjectPath = Path("."),
    conformance: Conformance = False,
    audited: AuditedPath = "all",
    restarts: Restarts = 2,
    config: JobWords = None,
    scenario: ScenarioWords = None,
    json: Json = False,
) -> None:
    """Test whether a project's privacy does what it claims.

    PATH is the project's folder, this one where left out. The job's own mechanism runs where there is nothing to hide,
    so that what it releases is its noise. Exit code 6 if a check fails.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        if not conformance:
            raise Misconfigured(
                "E104", "what is to be audited must be written out", place="audit", hint="write --conformance"
            )
        if restarts < 0:
            raise Misconfigured("E103", f"{restarts} processes cannot be started", place="--restarts")
        return audit_project(path, together(config), together(scenario), audited=audited, restarts=restarts)

    answer(json, work)


def audit_project(
    path: Path, config: str, scenario: str, *, audited: str = "all", restarts: int = 2
) -> tuple[Mapping[str, Any], str]:
    """Audit a project's mechanism.

    Raises:
        Misconfigured: what keeps the job from being planned, E105 if it has no privacy. Failed: E508 if a check failed.
    """
    from hedgerow.simulations.conformance import audit_conformance
    from hedgerow.simulations.conformance.restarting import restarted
    from hedgerow.simulations.sites import prepare

    project = Project.open(path)
    task = project.task()
    if task is None:
        raise Misconfigured(
            "E111",
            "this Flower app has no Hedgerow task, so there is no mechanism of Hedgerow's to test",
            place=str(path),
        )
    job = overridden(project.job(), "-c", config)
    task, wanted, sites = prepare(task, overridden(project.scenario(), "-s", scenario))
    again = [restarted(path.resolve(), job, wanted)] * restarts
    made = audit_conformance(job, task, sites, path=audited, restarts=again, seed=wanted.seed)
    lines = [line for part in made.parts for line in _lines(part)]
    data = {"job_digest": job.digest(), "parts": [_record(part) for part in made.parts]}
    failed = _failure(made)
    if failed is not None:
        raise Failed(
            failed, words="\n".join([*lines, f"{failed.code} {failed.message}\n  {failed.hint}"]), details=data
        )
    checks = sum(len(part.findings) for part in made.parts)
    closing = f"all {checks} checks passed; a right mechanism fails a part with probability 1/1,000"
    return data, "\n".join([*lines, closing])


def _failure(made: Audit) -> Exhausted | None:
    if not made.failed:
        return None
    part, first = made.failed[0]
    more = f", and {len(made.failed) - 1} more checks failed" if len(made.failed) > 1 else ""
    return Exhausted(
        "E508",
        f"{first.name}: {first.meaning}{more}",
        place=part.path,
        hint="release nothing that this mechanism makes, and find what was changed",
    )


def _lines(part: Part) -> list[str]:
    """A part for people: its checks, one a line, and what they show and do not show."""
    head = f"{part.title}: path {part.path}, {part.source}, {part.releases} releases of {part.numbers:,} numbers"
    marks = {True: "✓ passed", False: "✗ FAILED"}
    checks = [f"  {marks[found.passed]}  {found.name}: {found.meaning} (p {_p(found.p)})" for found in part.findings]
    return [head, *checks, *(f"  catches: {words}" for words in part.catches), *_unseen(part)]


def _unseen(part: Part) -> list[str]:
    return [f"  does not show: {words}" for words in part.unseen]


def _p(p: float) -> str:
    """
    >>> _p(0.25), _p(0.0), _p(1e-30)
    ('0.25', '0', '1e-30')
    """
    return f"{p:.2g}"


def _record(part: Part) -> dict[str, Any]:
    return {
        "title": part.title,
        "path": part.path,
        "source": part.source,
        "releases": part.releases,
        "numbers": part.numbers,
        "passed": part.passed,
        "checks": [
            {"name": f.name, "passed": f.passed, "statistic": f.statistic, "p": f.p, "meaning": f.meaning}
            for f in part.findings
        ],
        "catches": list(part.catches),
        "does_not_show": list(part.unseen),
    }
