"""A site's privacy plan for a job: the same at the site that keeps it and in the check that announces it."""

import functools

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.privacy.record import RecordPlan, plan_record_dp

__all__ = ["site_plan"]


@functools.lru_cache(maxsize=4096)
def site_plan(job: Job, records: int) -> RecordPlan:
    """The least noise with which a site of n records stays within the job's budget; computed once per setting.

    Raises:
        Misconfigured: E104 if the job states no budget, E125, E131, E132 as `plan_record_dp`.
    """
    privacy = job.privacy
    if privacy.unit != "record" or privacy.epsilon is None or privacy.delta is None:
        raise Misconfigured("E104", "the job states no record-level privacy budget")
    return plan_record_dp(
        records=records,
        batch=job.local.batch,
        epochs=job.local.epochs,
        rounds=job.rounds,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        clip=privacy.clip,
        accountant="prv" if privacy.accountant == "prv" else "rdp",
    )
