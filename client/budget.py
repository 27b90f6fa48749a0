"""What a site writes into its ledger for a round, and what it says about it to the coordinator."""

import math

from hedgerow.privacy import Charge, RecordPlan
from hedgerow.wire import Attestation

__all__ = ["attested", "charge_of"]


def charge_of(
    plan: RecordPlan,
    *,
    dataset: str,
    job: str,
    run: str,
    round: int,
    model: str,
    randomness: str,
    stream: str,
    path: str = "opacus",
) -> Charge:
    """The charge of one round by its plan.

    `job` and `model` are digests, `stream` is empty but in a simulation, and `path` says what clips the gradients.
    """
    return Charge(
        dataset=dataset,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=plan.sampling_rate,
        sampler="none" if plan.sampling_rate == 1 else "poisson",
        clip=plan.clip,
        steps=plan.steps_per_round,
        delta=plan.delta,
        job=job,
        run=run,
        round=round,
        model=model,
        randomness=randomness,
        stream=stream,
        path=path,
    )


def attested(plan: RecordPlan, *, spent: float, limit: float) -> Attestation:
    """What the site tells the coordinator about its budget; ε is rounded up."""
    return Attestation(
        planned_epsilon=_rounded_up(plan.planned_epsilon),
        spent_epsilon=_rounded_up(spent),
        limit=limit,
        delta=plan.delta,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=plan.sampling_rate,
        steps=plan.steps_per_round * plan.rounds,
        clip=plan.clip,
    )


def _rounded_up(epsilon: float) -> float:
    return math.ceil(epsilon * 1000 - 1e-9) / 1000 if math.isfinite(epsilon) else epsilon
