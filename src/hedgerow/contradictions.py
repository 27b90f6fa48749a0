"""Settings of a job that contradict each other, whatever data and sites it meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    from hedgerow.job import Job

__all__ = ["refuse_contradictions"]


def refuse_contradictions(job: Job) -> None:
    """Raise the first contradiction.

    Raises:
        Misconfigured: E104 for a budget that is not stated, E105 for settings that exclude each other, E106 for what
            this version does not have.
    """
    for error in (*_secure(job), *_budget(job), *_record(job), *_site(job), *_weights(job)):
        raise error


def _secure(job: Job) -> Iterator[Misconfigured]:
    if job.secure.mode != "off":
        yield Misconfigured(
            "E106",
            f"secure.mode = '{job.secure.mode}' is not available in this version",
            place="secure.mode",
            hint='write secure.mode = "off": the server then sees single updates, and the report says so',
        )


def _budget(job: Job) -> Iterator[Misconfigured]:
    privacy = job.privacy
    if privacy.unit == "none":
        if privacy.epsilon is not None or privacy.delta is not None:
            yield Misconfigured(
                "E105",
                "privacy.unit = 'none' together with an epsilon or a delta promises what nothing keeps",
                place="privacy.unit",
                hint='write privacy.unit = "record", or remove privacy.epsilon and privacy.delta',
            )
        return
    for name in ("epsilon", "delta"):
        if getattr(privacy, name) is None:
            yield Misconfigured("E104", f"privacy.unit = '{privacy.unit}' needs privacy.{name}", place="privacy.unit")
    if job.evaluate == "sites":
        yield Misconfigured(
            "E105",
            "evaluate = 'sites' would release metrics that the privacy budget does not pay for",
            place="evaluate",
            hint='write evaluate = "server" or "none"',
        )
    if job.aggregate.weights == "examples":
        yield Misconfigured(
            "E105",
            "aggregate.weights = 'examples' needs each site's count, which a private reply does not carry",
            place="aggregate.weights",
            hint='write aggregate.weights = "uniform"',
        )


def _record(job: Job) -> Iterator[Misconfigured]:
    if job.privacy.unit == "record" and job.local.clip:
        yield Misconfigured(
            "E105",
            "local.clip clips a batch's gradient, but under differential privacy every record's own is clipped",
            place="local.clip",
            hint="write privacy.clip instead",
        )


def _site(job: Job) -> Iterator[Misconfigured]:
    """Under site-level privacy a round is a noisy sum of clipped updates, whoever was there, and nothing else."""
    if job.privacy.unit != "site":
        if job.privacy.clip_quantile:
            yield Misconfigured(
                "E105",
                "privacy.clip_quantile is about the lengths of sites' updates",
                place="privacy.clip_quantile",
                hint='it belongs to privacy.unit = "site"',
            )
        return
    aggregate, cohort = job.aggregate, job.cohort
    if (aggregate.rule, aggregate.before, aggregate.byzantine) != ("mean", "none", 0):
        yield Misconfigured(
            "E105",
            "under site-level privacy a round is the mean of clipped updates: how much one site can move "
            f"'{aggregate.rule}' with aggregate.before = '{aggregate.before}' is not known",
            place="aggregate.rule",
            hint='write aggregate.rule = "mean", aggregate.before = "none", aggregate.byzantine = 0; the clip bounds '
            "what any site can do",
        )
    if cohort.quorum != 1:
        yield Misconfigured(
            "E105",
            "a quorum would make it depend on who is there whether a round is released; under site-level privacy a "
            "round is released, with its noise, whoever answers",
            place="cohort.quorum",
            hint="write cohort.quorum = 1",
        )
    if cohort.over_select:
        yield Misconfigured(
            "E105",
            "under site-level privacy each site takes part with probability cohort.fraction, and nobody in addition",
            place="cohort.over_select",
            hint="write cohort.over_select = 0",
        )


def _weights(job: Job) -> Iterator[Misconfigured]:
    if job.aggregate.weights != "examples":
        return
    from hedgerow.aggregation import supports_weights

    if not supports_weights(job.aggregate.rule, job.aggregate.before):
        steps = "" if job.aggregate.before == "none" else f" behind '{job.aggregate.before}'"
        yield Misconfigured(
            "E105",
            f"aggregate.weights = 'examples': '{job.aggregate.rule}'{steps} gives every site the same say",
            place="aggregate.weights",
            hint='write aggregate.weights = "uniform", or take the trimmed-mean behind "arc+nnm"',
        )
