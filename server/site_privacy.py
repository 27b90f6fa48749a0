"""Site-level privacy of a run at the coordinator: who takes part, what a round is charged, and its noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.privacy import (
    Charge,
    Ledger,
    OsRandomness,
    Randomness,
    Reservation,
    SimulatedRandomness,
    SiteLevelPlan,
    clipped_sum,
    next_clip,
    noised_mean,
    site_level_plan,
)
from hedgerow.run import Run
from hedgerow.runs import RunFolder
from hedgerow.store import LEDGER, made_store, store_folder
from hedgerow.update import Vector, vector_sha256
from hedgerow.wire import Attestation, Reply

__all__ = ["NoisedRound", "SiteNoise", "SitePrivacy"]

WHO, NOISE = 11, 12  # the cohorts' and the noise's parts of a simulation's seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoisedRound:
    """What a round releases: its `mean` (d,), each update's share in it (k,), the `clip` that was used, the next one,
    and the noisy share of updates within the clip, `None` where nothing asks for it."""

    mean: np.ndarray
    weights: np.ndarray
    clip: float
    next_clip: float
    within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNoise:
    """A round's noise, which was charged before it can be drawn."""

    plan: SiteLevelPlan
    randomness: Randomness
    reservation: Reservation
    spent: float

    def __call__(self, rows: np.ndarray, norms: np.ndarray, clip: float) -> NoisedRound:
        """Shorten the updates (k, d) of lengths `norms` (k,) to `clip`, add them up, and add the noise."""
        total, factors = clipped_sum(rows, norms, clip)
        mean = noised_mean(total, clip=clip, plan=self.plan, randomness=self.randomness)
        following, within = next_clip(
            clip=clip,
            within=int(np.count_nonzero(norms <= clip)),
            answered=len(rows),
            plan=self.plan,
            randomness=self.randomness,
        )
        return NoisedRound(
            mean=mean, weights=factors / self.plan.denominator, clip=clip, next_clip=following, within=within
        )

    def charged(self, sites: Iterable[str]) -> list[Reply]:
        """What the coordinator has to tell of these sites' budgets: all the same, whether or not they took part."""
        plan = self.plan
        attestation = Attestation(
            planned_epsilon=plan.planned_epsilon,
            spent_epsilon=self.spent,
            limit=plan.epsilon,
            delta=plan.delta,
            noise_multiplier=plan.noise_multiplier,
            sampling_rate=plan.q,
            steps=plan.rounds,
            clip=plan.clip,
        )
        source = self.randomness.description
        return [Reply(sender=0, site=site, attestation=attestation, randomness=source) for site in sorted(sites)]


class SitePrivacy:
    """The coordinator's budget for its sites, kept beside the run in a simulation, else under `HEDGEROW_STORE` or
    `~/.hedgerow`, where it adds up over jobs: the federation is known by the task's name.
    """

    def __init__(self, folder: RunFolder, plan: SiteLevelPlan, *, federation: str) -> None:
        self.plan = plan
        self._job = folder.job.digest()
        self._run = folder.name
        self._federation = f"sites of {federation}"
        self._seed = None if folder.scenario is None else folder.scenario.seed
        store = made_store(store_folder() / "coordinator") if folder.scenario is None else folder.path
        self._ledger = Ledger(store / LEDGER, durable=folder.scenario is None)

    @classmethod
    def of(cls, folder: RunFolder, *, federation: str) -> SitePrivacy | None:
        """For a job that protects sites; for others `None`. The enrolled sites are those of the run's first event.

        Raises:
            Misconfigured: E105 if there are none, E103, E131, E132 as `plan_site_dp`. Exhausted: E503–E505 if the
                ledger cannot be used. Tampered: E402.
        """
        if folder.job.privacy.unit != "site":
            return None
        started = Run(folder.path).events("run-started")
        sites = int(started[0]["sites"]) if started else 0
        if not sites:
            raise Misconfigured(
                "E105",
                "no site was connected when the run started, so a site's share of a round is not known",
                place="privacy.unit",
                hint="start the sites before the run",
            )
        return cls(folder, site_level_plan(folder.job, sites), federation=federation)

    def cohort(self, number: int, nodes: Sequence[int]) -> list[int]:
        """Who takes part in a round: each of the connected `nodes` with probability q, whatever the others do."""
        ordered = sorted(nodes)
        mask = self._randomness(WHO, number).poisson_mask(len(ordered), self.plan.q)
        return [node for node, taken in zip(ordered, mask.tolist(), strict=True) if taken]

    def reserve(self, number: int, model: Vector) -> SiteNoise:
        """Charge a round, durably, and give its noise.

        Raises:
            Refused: E201 if all that was charged to the federation would then cost more than the job's ε.
            Exhausted: E503–E505; nothing may then be released.
        """
        plan, randomness = self.plan, self._randomness(NOISE, number)
        charge = Charge(
            dataset=self._federation,
            unit="site",
            noise_multiplier=plan.noise_multiplier,
            sampling_rate=plan.q,
            sampler="none" if plan.q == 1 else "poisson",
            clip=plan.clip,
            steps=1,
            delta=plan.delta,
            job=self._job,
            run=self._run,
            round=number,
            model=vector_sha256(model),
            randomness=randomness.description,
            stream="" if self._seed is None else f"{self._seed}/sites/{number}",
            path="coordinator",
        )
        reservation = self._ledger.reserve(charge, limit_epsilon=plan.epsilon, accountant=plan.accountant)
        spent = self._ledger.spent(self._federation, unit="site", delta=plan.delta, accountant=plan.accountant).epsilon
        return SiteNoise(plan=plan, randomness=randomness, reservation=reservation, spent=spent)

    def released(self, noise: SiteNoise) -> None:
        """Record that the round's model left the coordinator."""
        self._ledger.release(noise.reservation)

    def _randomness(self, part: int, number: int) -> Randomness:
        return OsRandomness() if self._seed is None else SimulatedRandomness(self._seed, part, number)
