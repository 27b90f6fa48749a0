"""A job's privacy plan: the same at the site or the coordinator that keeps it and in the check that announces it."""

import functools
from typing import cast

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.privacy.accounting import Accountant
from hedgerow.privacy.record import RecordPlan, plan_record_dp
from hedgerow.privacy.site_level import SiteLevelPlan, plan_site_dp

__all__ = ["site_level_plan", "site_plan"]


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
        accountant=cast(Accountant, privacy.accountant),
    )


@functools.lru_cache(maxsize=64)
def site_level_plan(job: Job, sites: int) -> SiteLevelPlan:
    """The least noise with which the coordinator protects each of so many sites within the job's budget.

    Raises:
        Misconfigured: E104 if the job states no budget for sites, E103, E131, E132 as `plan_site_dp`.
    """
    privacy = job.privacy
    if privacy.unit != "site" or privacy.epsilon is None or privacy.delta is None:
        raise Misconfigured("E104", "the job states no site-level privacy budget")
    return plan_site_dp(
        sites=sites,
        q=job.cohort.fraction,
        rounds=job.rounds,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        clip=privacy.clip,
        quantile=privacy.clip_quantile,
        accountant=cast(Accountant, privacy.accountant),
    )
