"""Record-level privacy inside a site: the plan for a whole job, and the noisy training steps.

One record's influence on what leaves the site is bounded in every step: its gradient is clipped to length
`clip`, the clipped gradients of a Poisson batch are summed, Gaussian noise is added and the sum is divided
by the *expected* batch size. The sampling rate is b / n exactly, the denominator is b whatever the batch
turned out to be, and an empty batch is noise, released and charged like any other.
Source: Abadi et al., "Deep learning with differential privacy", arXiv 1607.00133, algorithm 1.

The number of records n is taken as public: it sets the rate and the number of steps.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.modes import in_mode
from hedgerow.privacy.accounting import Accountant, SampledGaussian, calibrate
from hedgerow.privacy.accounting import epsilon as price
from hedgerow.privacy.private_model import check_private
from hedgerow.privacy.randomness import Randomness, torch_seeded
from hedgerow.privacy.restoring import unchanged_on_error
from hedgerow.privacy.small_delta import refuse_large_delta

if TYPE_CHECKING:
    import torch
    from torch import nn

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

__all__ = ["RecordPlan", "plan_record_dp", "private_steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """What a site will do in a job and what that costs each of its records, at most."""

    records: int
    expected_batch: int
    sampling_rate: float
    steps_per_round: int
    rounds: int
    clip: float
    epsilon: float
    delta: float
    accountant: Accountant
    noise_multiplier: float
    planned_epsilon: float

    def event(self, rounds: int = 1) -> SampledGaussian:
        """What `rounds` rounds do to a record, for the accountant."""
        return SampledGaussian(
            q=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
            steps=self.steps_per_round * rounds,
        )


def plan_record_dp(
    *,
    records: int,
    batch: int,
    epochs: float,
    rounds: int,
    epsilon: float,
    delta: float,
    clip: float,
    accountant: Accountant = "pld",
) -> RecordPlan:
    """Plan a site's part of a job: the least noise for which all rounds together cost at most `epsilon`.

    Guarantee: `planned_epsilon` <= `epsilon` if the site takes part in every one of the `rounds`.
    Raises: Misconfigured E125 without records, E132 for delta >= 1 / records, E131 if no noise is enough,
    E103 for values out of range.

    >>> plan = plan_record_dp(records=180, batch=32, epochs=1, rounds=20, epsilon=3.0, delta=1e-4, clip=1.0)
    >>> plan.sampling_rate == 32 / 180, plan.steps_per_round, round(plan.noise_multiplier, 2)
    (True, 6, 2.57)
    """
    if records < 1:
        raise Misconfigured("E125", "a site without records cannot train", place="records")
    for name, value, valid in (
        ("batch", batch, batch >= 1),
        ("epochs", epochs, 0.0 < epochs < math.inf),
        ("rounds", rounds, rounds >= 1),
        ("clip", clip, 0.0 < clip < math.inf),
    ):
        if not valid:
            raise Misconfigured("E103", f"{name}={value!r}, expected a positive finite number", place=name)
    refuse_large_delta(delta, records, "record")
    expected_batch = min(batch, records)
    rate = expected_batch / records
    steps = max(1, round(epochs * records / expected_batch))
    noise = calibrate(epsilon=epsilon, delta=delta, q=rate, steps=rounds * steps, accountant=accountant)
    whole_job = SampledGaussian(q=rate, noise_multiplier=noise, steps=rounds * steps)
    return RecordPlan(
        records=records,
        expected_batch=expected_batch,
        sampling_rate=rate,
        steps_per_round=steps,
        rounds=rounds,
        clip=clip,
        epsilon=epsilon,
        delta=delta,
        accountant=accountant,
        noise_multiplier=noise,
        planned_epsilon=price([whole_job], delta, accountant),
    )


def private_steps(
    model: "nn.Module",
    x: "torch.Tensor",
    y: "torch.Tensor",
    *,
    plan: RecordPlan,
    loss: "Loss",
    make_optimizer: "MakeOptimizer",
    randomness: Randomness,
    proximal: float = 0.0,
    batch_limit: int | None = None,
) -> None:
    """Train `model` in place for one round: `plan.steps_per_round` steps of Opacus DP-SGD.

    `x` and `y` hold the site's n records in their first dimension; `loss(logits, targets)` gives one value a
    record, `(B,)`. `make_optimizer` receives the trainable parameters and starts without state, so nothing
    uncharged is carried between rounds. `proximal` pulls towards the model's state at the call (FedProx,
    Li et al., arXiv 1812.06127, sec. 3.2), after the noise: it depends on no record. `batch_limit` is the
    largest number of records whose gradients are held at once; it does not change the result.

    Guarantee: each step adds Gaussian noise of `plan.noise_multiplier * plan.clip` to a sum in which each
    record is present with probability `plan.sampling_rate` and weighs at most `plan.clip`. A record whose
    gradient is not finite weighs nothing. Charge the step to the ledger *before* calling this.
    Randomness is taken from `randomness` alone: torch's global generator is neither read nor moved.
    After the call the model carries no trace of Opacus; after an error it is as it was before.
    Raises: Misconfigured E130 for a model that mixes or splits records, E126 if `x` or `y` do not have n records,
    E102 for a loss that does not give one value a record.
    Cost: O(B · parameters) a step.
    """
    import torch

    from hedgerow.privacy.dpsgd import RecordOptimizer, per_record_gradients

    if len(x) != plan.records or len(y) != plan.records:
        raise Misconfigured("E126", f"{len(x)} inputs and {len(y)} targets, the plan is for {plan.records} records")
    if batch_limit is not None and batch_limit < 1:
        raise Misconfigured("E103", f"batch_limit={batch_limit!r}, expected at least 1", place="batch_limit")
    check_private(model, x)
    parameters = [p for p in model.parameters() if p.requires_grad]
    devices = range(torch.cuda.device_count())
    with unchanged_on_error(model), in_mode(model, training=True), torch_seeded(randomness, devices):
        with per_record_gradients(model) as forward:
            optimizer = RecordOptimizer(
                make_optimizer(parameters),
                noise_multiplier=plan.noise_multiplier,
                clip=plan.clip,
                denominator=plan.expected_batch,
                proximal=proximal,
                randomness=randomness,
            )
            for _ in range(plan.steps_per_round):
                taken = torch.from_numpy(np.flatnonzero(randomness.poisson_mask(plan.records, plan.sampling_rate)))
                limit = batch_limit or plan.records
                starts = range(0, max(len(taken), 1), limit)  # an empty batch is one empty chunk: noise alone
                for start in starts:
                    chunk = taken[start : start + limit]
                    optimizer.zero_grad(set_to_none=True)
                    if len(chunk):
                        losses = _one_value_a_record(loss(forward(x[chunk]), y[chunk]), len(chunk))
                        torch.autograd.backward(losses.sum())
                    optimizer.records = len(chunk)
                    optimizer.signal_skip_step(start != starts[-1])
                    optimizer.step()


def _one_value_a_record(losses: "torch.Tensor", records: int) -> "torch.Tensor":
    if losses.shape != (records,):
        raise Misconfigured(
            "E102",
            f"the loss gave shape {tuple(losses.shape)} for {records} records, expected ({records},)",
            place="loss",
            hint='return one value a record, for example cross_entropy(..., reduction="none")',
        )
    return losses
