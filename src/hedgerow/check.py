"""What a job will do, said before a round runs: contradictions, the data contract, and what privacy costs whom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from hedgerow.contract import judge_data
from hedgerow.errors import HedgerowError
from hedgerow.findings import LEVELS, Finding
from hedgerow.job import Job
from hedgerow.survey import Survey, survey
from hedgerow.task import Site, Split, Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["check_job", "holds_out"]

MANY = 3000  # updates whose comparison with each other is felt
COMPARING = ("krum", "multi-krum", "bulyan", "mda", "monna", "geometric-median", "centered-clipping", "spectral")
NOISY = 3.0  # noise norm over clip per step above which training by a few sites rarely gets anywhere


def check_job(job: Job, task: Task, sites: Sequence[Site]) -> list[Finding]:
    """Judge a job on these sites, the worst first; an `error` keeps it from starting.

    Errors: more hostile sites than the rule can take, a cohort smaller than the quorum (E105), a model that mixes
    records under privacy (E130), a budget that no noise meets (E131), δ ≥ 1/n (E132), a gate that nothing can measure
    (E105), a model without parameters (E126), and everything of `check_data`. Notes say the ε that each site will
    spend and the noise it costs. A user's own code that raises is a finding too.
    """
    findings = [*_cohort(job, len(sites)), *_rule(job, task, len(sites)), *_gate(job, task), *_evaluation(job, task)]
    seen = survey(task, sites)
    findings += judge_data(task, seen, privacy_delta=job.privacy.delta if job.privacy.unit == "record" else None)
    findings += _model(job, task, seen)
    if not any(finding.level == "error" for finding in findings):
        if job.privacy.unit == "record":
            findings += _privacy(job, task, seen)
        elif job.privacy.unit == "site":
            findings += _site_privacy(job, task, len(sites))
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _cohort(job: Job, sites: int) -> Iterator[Finding]:
    from hedgerow.aggregation import minimum_rows

    cohort, aggregate = job.cohort, job.aggregate
    asked = min(sites, math.ceil(sites * cohort.fraction * (1 + cohort.over_select) - 1e-9))
    if asked < cohort.quorum:
        yield Finding(
            level="error",
            code="E105",
            message=f"{asked} of {sites} sites are asked in a round, but the quorum is {cohort.quorum}",
            place="cohort.quorum",
            hint="lower cohort.quorum, raise cohort.fraction, or add sites",
        )
    if asked >= MANY and (aggregate.before != "none" or aggregate.rule in COMPARING):
        yield Finding(
            level="warning",
            code="E105",
            message=f"comparing {asked:,} updates with each other takes about {5 * 8 * asked**2 / 1e9:.1f} GB and, "
            "each round, a time that grows with their square",
            place="aggregate.before",
            hint='write aggregate.before = "none" with median or trimmed-mean, or lower cohort.fraction',
        )
    needed = minimum_rows(aggregate.rule, aggregate.byzantine, aggregate.before)
    if asked < needed:
        yield Finding(
            level="error",
            code="E105",
            message=f"'{aggregate.rule}' against {aggregate.byzantine} hostile sites needs {needed} updates a round, "
            f"but {asked} sites are asked",
            place="aggregate.byzantine",
            hint="lower aggregate.byzantine, choose another aggregate.rule, or add sites",
        )
    elif cohort.quorum < needed:
        yield Finding(
            level="warning",
            code="E105",
            message=f"a round closes with {cohort.quorum} updates, but the rule needs {needed}: "
            "such rounds release nothing",
            place="cohort.quorum",
            hint=f"write cohort.quorum = {needed}",
        )


def _rule(job: Job, task: Task, sites: int) -> Iterator[Finding]:
    """The rule is tried on made-up updates of as few sites as it needs, given what the coordinator can give."""
    import numpy as np

    from hedgerow.aggregation import aggregate, make_rule, minimum_rows, wanted

    named = job.aggregate
    rows = max(minimum_rows(named.rule, named.byzantine, named.before), 2)
    if rows > sites:
        return  # said already
    rule = make_rule(named.rule, byzantine=named.byzantine, before=named.before)
    rng = np.random.default_rng(0)
    reference = None
    if "reference" in wanted(rule):
        records = task.root()
        if records is None or not len(records):
            yield Finding(
                level="error",
                code="E105",
                message=f"'{named.rule}' compares with an update of the server's own, and the server has no records",
                place="aggregate.rule",
                hint="give the task a root(), or in a simulation write root = 100; or choose another aggregate.rule",
            )
            return
        reference = rng.standard_normal(8)
    try:
        names = [f"site-{row}" for row in range(rows)]
        aggregate(rng.standard_normal((rows, 8)), rule, sites=names, rng=rng, reference=reference)
    except HedgerowError as error:
        yield replace(Finding.of(error), place="aggregate.rule")
    except Exception as error:  # a rule of the user's own
        what = f"the rule '{named.rule}' failed on made-up updates: {type(error).__name__}: {error}"
        yield Finding(level="error", code="E111", message=what, place="aggregate.rule")
    else:
        if named.rule == "monna":
            yield Finding(
                level="warning",
                code="E105",
                message="'monna' trusts the update of the site whose name comes first: hostile, it decides the model",
                place="aggregate.rule",
                hint='where no site is trusted, write aggregate.rule = "trimmed-mean" and aggregate.before = "arc+nnm"',
            )


def _gate(job: Job, task: Task) -> Iterator[Finding]:
    if not job.leakage.gate:
        return
    from hedgerow.privacy.leakage import Gate

    try:
        Gate.parse(job.leakage.gate)
    except HedgerowError as error:
        yield Finding.of(error)
        return
    if not holds_out(task):
        yield Finding(
            level="error",
            code="E105",
            message="the gate compares training records with held-out ones, but the task holds nothing out",
            place="leakage.gate",
            hint="give the task a held_out(), or remove leakage.gate",
        )


def _evaluation(job: Job, task: Task) -> Iterator[Finding]:
    if job.evaluate == "server" and not holds_out(task):
        yield Finding(
            level="warning",
            code="E105",
            message="the server has no held-out records, so the model is never evaluated",
            place="evaluate",
            hint='give the task a held_out(), or write evaluate = "none"',
        )


def holds_out(task: Task) -> bool:
    """Whether the server has records to judge a model by, as far as the task's own code can be asked."""
    try:
        records = task.held_out()
    except Exception:  # a user's own code: `check_data` says what it raised
        return True
    return records is not None and (not isinstance(records, Split) or len(records) > 0)


def _fresh_model(task: Task) -> nn.Module:
    """A model that leaves torch's generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return task.model()


def _model(job: Job, task: Task, seen: Survey) -> Iterator[Finding]:
    from hedgerow.privacy import check_private
    from hedgerow.update import Layout

    try:
        import torch

        model = _fresh_model(task)
        if Layout.of(model).size == 0:
            yield Finding(level="error", code="E126", message="the model has no parameters to train", place="model")
        if job.privacy.unit == "record":
            check_private(model, None if seen.sample is None else torch.from_numpy(seen.sample.x))
    except HedgerowError as error:
        yield Finding.of(error)
    except ImportError as error:
        what = f"the model needs {error.name or error}, which is not installed"
        yield Finding(level="error", code="E107", message=what, hint="pip install 'hedgerow[full]'")
    except Exception as error:  # a user's own code
        yield Finding(level="error", code="E111", message=f"model() cannot be used: {type(error).__name__}: {error}")


def _privacy(job: Job, task: Task, seen: Survey) -> Iterator[Finding]:
    from hedgerow.privacy import RecordPlan, site_plan
    from hedgerow.update import Layout

    by_size: dict[int, RecordPlan] = {}
    for site in seen.sites:
        if site.records not in by_size:
            try:
                by_size[site.records] = site_plan(job, site.records)
            except HedgerowError as error:
                finding = Finding.of(error)
                yield replace(finding, message=f"{site.name}: {finding.message}")
                return
    plans = [by_size[site.records] for site in seen.sites]
    spent = max(plan.planned_epsilon for plan in plans)
    noise = [plan.noise_multiplier for plan in plans]
    yield Finding(
        level="note",
        message=f"each record is protected by ε ≤ {spent:.3g} at δ = {job.privacy.delta:g} over {job.rounds} rounds "
        f"(add or remove one record; accountant {job.privacy.accountant}; the number of records is taken as public)",
    )
    yield Finding(
        level="note",
        message=f"noise multiplier {_range(noise)}, {_range([plan.steps_per_round for plan in plans])} steps a round",
    )
    size = Layout.of(_fresh_model(task)).size
    ratio = median(plan.noise_multiplier * math.sqrt(size) / plan.expected_batch for plan in plans)
    ratio /= math.sqrt(len(plans))
    if ratio > NOISY:
        yield Finding(
            level="warning",
            code="E133",
            message=f"the noise is {ratio:.1f} times the largest possible step, averaged over sites: "
            "the model will learn little",
            place="privacy",
            hint="a smaller model, larger batches, fewer rounds, more sites or a larger epsilon help",
        )


def _site_privacy(job: Job, task: Task, sites: int) -> Iterator[Finding]:
    from hedgerow.privacy import site_level_plan
    from hedgerow.update import Layout

    try:
        plan = site_level_plan(job, sites)
    except HedgerowError as error:
        yield Finding.of(error)
        return
    yield Finding(
        level="note",
        message=f"each site, with all its records, is protected by ε ≤ {plan.planned_epsilon:.3g} at "
        f"δ = {plan.delta:g} over {job.rounds} rounds against whoever sees the models, not against the coordinator "
        f"(add or remove one site; accountant {plan.accountant}; the number of sites is taken as public)",
    )
    joins = "takes part in every round" if plan.q == 1 else f"joins a round with probability {plan.q:g}"
    yield Finding(level="note", message=f"noise multiplier {plan.sum_multiplier:.3g}; each site {joins}")
    ratio = plan.noise_to_clip(Layout.of(_fresh_model(task)).size)
    if ratio > NOISY:
        enough = math.ceil(sites * ratio / NOISY)
        yield Finding(
            level="warning",
            code="E133",
            message=f"the noise is {ratio:.1f} times the largest possible step: with {sites} sites the model will "
            f"learn little, whatever their records; with this noise it would take some {enough:,}",
            place="privacy.unit",
            hint='with few sites protect records: write privacy.unit = "record"',
        )


def _range(values: Sequence[float]) -> str:
    """`2` or `2 to 5`."""
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"
