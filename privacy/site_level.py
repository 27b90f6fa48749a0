"""Site-level privacy at the coordinator: whether a site took part at all, with everything it holds, is protected.

The coordinator is trusted to add the noise; what is protected against is whoever sees the models. Each round every
site takes part with probability q, independently (or all do), its update is shortened to the clip C, the sum gets
Gaussian noise of z · C, and is divided by q · n whatever number answered: no part of the sum or of its denominator
depends on who was there. Source: McMahan, Ramage, Talwar and Zhang, "Learning differentially private recurrent
language models", ICLR 2018, algorithm 1 with the fixed-denominator estimator.

With a `quantile` the clip follows the updates: C is multiplied by exp(-0.2 (b - quantile)), where b is a noisy
estimate of the share of updates no longer than C. It pays for b by more noise on the sum, so that both together are one
Gaussian mechanism with multiplier z. Source: Andrew, Thakkar, McMahan and Ramaswamy, "Differentially private learning
with adaptive clipping", NeurIPS 2021, algorithm 1 and theorem 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hedgerow.errors import Misconfigured
from hedgerow.privacy.small_delta import refuse_large_delta

if TYPE_CHECKING:
    from hedgerow.privacy.accounting import Accountant, SampledGaussian
    from hedgerow.privacy.randomness import Randomness

__all__ = ["SiteLevelPlan", "clipped_sum", "next_clip", "noised_mean", "plan_site_dp"]

Floats = npt.NDArray[np.float64]

RATE = 0.2  # of the clip's steps, the paper's η_C
COUNT_NOISE = 1 / 20  # of the expected cohort: the standard deviation of what is added to the count, the paper's σ_b
LARGEST_CLIP = float(np.finfo(np.float32).max)
SMALLEST_CLIP = 1e-30
WIDTH = 1 << 14  # columns in a block


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLevelPlan:
    """What the coordinator does in a job, and what that costs a site, at most.

    `sites` n are enrolled and each takes part in a round with probability `q`. `clip` is the first one, and `quantile`
    where it should come to lie among the updates' lengths; 0 keeps it. `noise_multiplier` z is that of a round as a
    whole.
    """

    sites: int
    q: float
    rounds: int
    clip: float
    quantile: float
    epsilon: float
    delta: float
    accountant: Accountant
    noise_multiplier: float
    planned_epsilon: float

    @property
    def denominator(self) -> float:
        """q · n, by which every round's sum is divided."""
        return self.q * self.sites

    @property
    def count_noise(self) -> float:
        """Standard deviation of the noise on the number of updates within the clip; 0 where that is not asked."""
        return COUNT_NOISE * self.denominator if self.quantile else 0.0

    @property
    def sum_multiplier(self) -> float:
        """Noise on the sum as a multiple of the clip: z, or more, for what the count costs."""
        if not self.quantile:
            return self.noise_multiplier
        return 1 / math.sqrt(self.noise_multiplier**-2 - (2 * self.count_noise) ** -2)

    def event(self, rounds: int = 1) -> SampledGaussian:
        """What `rounds` rounds do to a site, for the accountant."""
        from hedgerow.privacy.accounting import SampledGaussian

        return SampledGaussian(noise_multiplier=self.noise_multiplier, q=self.q, steps=rounds)

    def noise_to_clip(self, parameters: int) -> float:
        """Expected length of a round's noise, over the longest possible mean of the updates: z √d / (q n)."""
        return self.sum_multiplier * math.sqrt(parameters) / self.denominator


def plan_site_dp(
    *,
    sites: int,
    q: float,
    rounds: int,
    epsilon: float,
    delta: float,
    clip: float,
    quantile: float = 0.0,
    accountant: Accountant = "pld",
) -> SiteLevelPlan:
    """Plan site-level privacy: the least noise for which all rounds together cost at most `epsilon`.

    Guarantee: `planned_epsilon` <= `epsilon` for every site, in however many of the rounds it took part (add or remove
    one site, Poisson cohorts; with q = 1 everyone is in every round).
    Raises: Misconfigured E103 for values out of range, E131 if no noise is enough, or if the noise that is would be
    more than an adaptive clip's count can carry, E132 for delta >= 1 / sites.

    >>> plan = plan_site_dp(sites=1000, q=0.1, rounds=100, epsilon=4.0, delta=1e-5, clip=0.5, quantile=0.5)
    >>> plan.denominator, plan.count_noise, plan.sum_multiplier > plan.noise_multiplier
    (100.0, 5.0, True)
    """
    from hedgerow.privacy.accounting import calibrate
    from hedgerow.privacy.accounting import epsilon as price

    for name, value, valid in (
        ("sites", sites, sites >= 1),
        ("q", q, 0.0 < q <= 1.0),
        ("rounds", rounds, rounds >= 1),
        ("clip", clip, SMALLEST_CLIP < clip < LARGEST_CLIP),
        ("quantile", quantile, 0.0 <= quantile < 1.0),
    ):
        if not valid:
            raise Misconfigured("E103", f"{name}={value!r} is out of range", place=name)
    refuse_large_delta(delta, sites, "site")
    noise = calibrate(epsilon=epsilon, delta=delta, q=q, steps=rounds, accountant=accountant)
    plan = SiteLevelPlan(
        sites=sites,
        q=q,
        rounds=rounds,
        clip=clip,
        quantile=quantile,
        epsilon=epsilon,
        delta=delta,
        accountant=accountant,
        noise_multiplier=noise,
        planned_epsilon=0.0,
    )
    if quantile and noise >= 2 * plan.count_noise:
        raise Misconfigured(
            "E131",
            f"an adaptive clip counts with noise {plan.count_noise:.3g}, which costs more than the whole round may "
            f"(noise multiplier {noise:.3g}): {plan.denominator:g} sites a round are too few",
            place="privacy.clip_quantile",
            hint="write privacy.clip_quantile = 0 for a fixed clip, or ask more sites in a round",
        )
    return replace(plan, planned_epsilon=price([plan.event(rounds)], delta=delta, accountant=accountant))


def clipped_sum(rows: npt.NDArray[np.floating], norms: Floats, clip: float) -> tuple[Floats, Floats]:
    """The sum (d,) of the updates `rows` (k, d), none longer than `clip`, and each one's factor (k,). O(kd).

    `norms` (k,) are the rows' lengths. Sums are in float64, column block by column block; nothing is copied whole.

    >>> clipped_sum(np.array([[3.0, 4.0], [0.3, 0.4]]), np.array([5.0, 0.5]), 1.0)[0].round(3).tolist()
    [0.9, 1.2]
    """
    factors: Floats = np.minimum(1.0, clip / np.maximum(norms, SMALLEST_CLIP))
    total = np.zeros(rows.shape[1])
    for start in range(0, rows.shape[1], WIDTH):
        part = slice(start, start + WIDTH)
        total[part] = factors @ rows[:, part].astype(np.float64)
    return total, factors


def noised_mean(total: npt.NDArray[np.floating], *, clip: float, plan: SiteLevelPlan, randomness: Randomness) -> Floats:
    """The released mean (d,) of a round: the sum `total` (d,) of updates shortened to `clip`, with noise, over q n.

    The noise is added in float64. `clip` is the one that the updates were shortened to.
    """
    import torch

    noise = randomness.gaussian((len(total),), plan.sum_multiplier * clip, torch.float64).numpy()
    mean: Floats = (np.asarray(total, np.float64) + noise) / plan.denominator
    return mean


def next_clip(
    *, clip: float, within: int, answered: int, plan: SiteLevelPlan, randomness: Randomness
) -> tuple[float, float | None]:
    """The next round's clip, and the noisy share of updates that were `within` this one's; fixed: the same and None.

    The count goes in as a sum of ±1/2, so that one site changes it by 1/2 only, and over q n, not over those who
    `answered`.

    >>> from hedgerow.privacy.randomness import SimulatedRandomness
    >>> plan = plan_site_dp(sites=1000, q=1.0, rounds=1, epsilon=4.0, delta=1e-5, clip=1.0, quantile=0.5)
    >>> clip, share = next_clip(clip=1.0, within=100, answered=1000, plan=plan, randomness=SimulatedRandomness(0))
    >>> clip > 1.0  # nearly all updates are longer than the clip: it grows
    True
    """
    if not plan.quantile:
        return clip, None
    import torch

    noise = float(randomness.gaussian((1,), plan.count_noise, torch.float64)[0])
    share = 0.5 + (within - answered / 2 + noise) / plan.denominator
    new = clip * math.exp(-RATE * (share - plan.quantile))
    return min(max(new, SMALLEST_CLIP), LARGEST_CLIP), share
