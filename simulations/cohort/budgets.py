"""The ledger of all simulated sites of a round: every site's own charge and answer, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hedgerow.client.budget import attested, charge_of
from hedgerow.errors import Refused
from hedgerow.job import Job
from hedgerow.privacy import Ledger, RecordPlan, Reservation, SimulatedRandomness
from hedgerow.runs import RunFolder
from hedgerow.task import Site
from hedgerow.update import Vector, vector_sha256
from hedgerow.wire import Attestation

__all__ = ["CohortBudgets", "Reserved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """A site's reservation for the round and the plan that it is for."""

    site: Site
    plan: RecordPlan
    reservation: Reservation


class CohortBudgets:
    """The sites' budgets, kept as each site keeps its own: reserve, train, release, and say what is spent."""

    def __init__(self, folder: RunFolder, job: Job, seed: int, *, path: str) -> None:
        self._ledger = Ledger.open(folder.ledger, durable=False)
        self._run = folder.name
        self._job = job.digest()
        self._seed = seed
        self._path = path

    def reserve(
        self, round: int, model: Vector, plans: Sequence[tuple[Site, RecordPlan]]
    ) -> tuple[dict[str, Reserved], dict[str, str]]:
        """Charge a round to each site; by name, the reservations and the codes of those that refused."""
        sha256 = vector_sha256(model)
        charges = [
            charge_of(
                plan,
                dataset=site.name,
                job=self._job,
                run=self._run,
                round=round,
                model=sha256,
                randomness=SimulatedRandomness.description,
                stream=f"{self._seed}/{site.index}/{round}",
                path=self._path,
            )
            for site, plan in plans
        ]
        accountant = plans[0][1].accountant if plans else "rdp"
        answers = self._ledger.reserve_each(charges, limits=[plan.epsilon for _, plan in plans], accountant=accountant)
        reserved, refused = dict[str, Reserved](), dict[str, str]()
        for (site, plan), answer in zip(plans, answers, strict=True):
            if isinstance(answer, Refused):
                refused[site.name] = answer.code
            else:
                reserved[site.name] = Reserved(site=site, plan=plan, reservation=answer)
        return reserved, refused

    def release(self, reserved: Sequence[Reserved]) -> None:
        """Record that these sites' updates left them."""
        self._ledger.release_each([one.reservation for one in reserved])

    def attested(self, reserved: Sequence[Reserved]) -> Mapping[str, Attestation]:
        """What each of these sites attests, by name."""
        if not reserved:
            return {}
        first = reserved[0].plan
        spent = self._ledger.spent_each(
            [one.site.name for one in reserved], unit="record", delta=first.delta, accountant=first.accountant
        )
        return {
            one.site.name: attested(one.plan, spent=price.epsilon, limit=one.plan.epsilon)
            for one, price in zip(reserved, spent, strict=True)
        }

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()
