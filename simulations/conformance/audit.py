"""`audit_conformance`: does a job's private mechanism do what its plan claims."""

from __future__ import annotations

from collections.abc import Sequence

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.settings import nearest
from hedgerow.simulations.conformance.answer import Audit
from hedgerow.simulations.conformance.cohort import cohort_part
from hedgerow.simulations.conformance.coordinator import coordinator_part
from hedgerow.simulations.conformance.record import Restart, site_part
from hedgerow.simulations.conformance.siterounds import fresh_model
from hedgerow.task import Site, Task
from hedgerow.update import Layout

__all__ = ["AUDITED", "audit_conformance"]

AUDITED = ("all", "opacus", "cohort")


def audit_conformance(
    job: Job,
    task: Task,
    sites: Sequence[Site],
    *,
    path: str = "all",
    restarts: Sequence[Restart] = (),
    seed: int = 0,
) -> Audit:
    """Run the job's mechanism on these sites where there is nothing to hide, and test what it releases.

    With `privacy.unit = "record"` these are the steps of a deployed site (`path` "opacus") and of the cohort engine
    ("cohort"); with "site", the coordinator's noise, whatever the path. Each of `restarts` gives the same site's steps
    from another process. No ledger of the user is touched.

    Guarantee: a part of a mechanism that does what it claims fails with probability at most 1/1,000.
    Raises: Misconfigured E105 for a job without privacy, E103 for an unknown path, and what the plan does.
    """
    if path not in AUDITED:
        raise Misconfigured("E103", f"unknown path '{path}'", place="--path", hint=nearest(path, AUDITED))
    if job.privacy.unit == "site":
        model = fresh_model(task)
        return Audit(parts=(coordinator_part(job, len(sites), Layout.of(model).flatten(model)),))
    if job.privacy.unit != "record":
        raise Misconfigured(
            "E105",
            "the job has no differential privacy, so there is no mechanism to test",
            place="privacy.unit",
            hint='write privacy.unit = "record" or "site"',
        )
    parts = []
    if path in ("all", "opacus"):
        parts.append(site_part(job, task, sites, restarts=restarts))
    if path in ("all", "cohort"):
        parts.append(cohort_part(job, task, sites, seed=seed))
    return Audit(parts=tuple(parts))
