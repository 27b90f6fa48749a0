"""The rounds of a run on the cohort engine: the coordinator's own round, fed with rows instead of messages.

```
connected ─► select ─► reserve ─► train the cohort ─► release ─► attack ─► admit ─► close ─► save ─► tell ─► evaluate
    ▲                                                                                                           │
    └───────────────────────────────────────── simulated clock ◄────────────────────────────────────────────────┘
```
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from hedgerow.aggregation.arrays.threads import at_most
from hedgerow.errors import CODES, Exhausted, HedgerowError
from hedgerow.privacy import SimulatedRandomness
from hedgerow.run import Run
from hedgerow.server.admission import Rejection, admit_rows
from hedgerow.server.coordinator import Coordinator
from hedgerow.server.ongoing import OngoingRun
from hedgerow.server.round import Closed, GlobalState, close_admitted
from hedgerow.server.selection import select
from hedgerow.simulations.attacks.reaching import watched
from hedgerow.simulations.closing import close
from hedgerow.simulations.cohort.budgets import CohortBudgets, Reserved
from hedgerow.simulations.cohort.device import kind_told
from hedgerow.simulations.cohort.hostile_sites import HostileSites
from hedgerow.simulations.cohort.mixing import MixingSites
from hedgerow.simulations.cohort.momentum import CohortMomentum
from hedgerow.simulations.cohort.site_evaluation import SiteEvaluation
from hedgerow.simulations.cohort.trainer import CohortTrainer, goes_on_elsewhere
from hedgerow.simulations.conditions import Conditions
from hedgerow.simulations.sites import project_place
from hedgerow.simulations.stage import Stage
from hedgerow.task import Site
from hedgerow.update import Vector
from hedgerow.wire import Attestation, Reply, Request, model_record, record_bytes, reply_content, request_content

__all__ = ["cohort_rounds"]


def cohort_rounds(stage: Stage) -> None:
    """Run the rounds that the folder does not have yet.

    Raises:
        Exhausted: E501–E504 as the coordinator. Misconfigured: E107 if a run that is resumed was trained in a way that
            is not there now, E113 as `OngoingRun.begin`, E103 and E105 as `CohortTrainer`, E120 as `Conditions.of`.
    """
    run = OngoingRun.begin(watched(stage.task, stage.scenario), stage.folder, stage.log)
    sites = sorted(stage.sites, key=lambda site: site.name)
    hostile = HostileSites(stage, sites)
    before = Run(stage.folder.path)
    told = before.events("engine-chosen")
    trainer = CohortTrainer(
        stage.folder.job,
        stage.task,
        sites,
        model=run.state.model,
        seed=stage.scenario.seed,
        workers=stage.workers,
        memory=stage.memory,
        path=told[-1]["path"] if told else "",
        device=kind_told(told[-1]["device"]) if told else stage.device,
        poisons=hostile.poisons,
    )
    with contextlib.closing(trainer):
        if not told or goes_on_elsewhere(told[-1], trainer.chosen):
            stage.log.append(trainer.chosen)
        ended = [event["clock"] for event in before.events() if event.get("clock") is not None]
        _Rounds(stage, run, trainer, sites, hostile, clock=ended[-1] if ended else 0.0).go()


class _Rounds:
    """The rounds of one run. Sites are known by their places in the order of their names, which is that of the rows."""

    def __init__(
        self,
        stage: Stage,
        run: OngoingRun,
        trainer: CohortTrainer,
        sites: Sequence[Site],
        hostile: HostileSites,
        *,
        clock: float,
    ) -> None:
        job, model = stage.folder.job, run.state.model
        self._job = job
        self._run = run
        self._trainer = trainer
        self._sites = sites
        self._places = {site.index: place for place, site in enumerate(sites)}
        self._coordinator = Coordinator(job, tell=stage.log.append, save=run.save, state=run.state, simulated=True)
        self._conditions = Conditions.of(
            stage.scenario,
            len(sites),
            names=[site.name for site in stage.sites],
            folder=project_place(stage.folder.project),
        )
        self._budgets: CohortBudgets | None = None
        self._mixing: MixingSites | None = None
        if job.privacy.unit == "record":
            if trainer.chosen.path == "vmap":
                self._mixing = MixingSites(stage.task, run.layout, sites)
            path = trainer.chosen.private
            self._budgets = CohortBudgets(stage.folder, job, stage.scenario.seed, path=path)
        self._site_evaluation = SiteEvaluation(stage.task, run, stage.log, sites) if job.evaluate == "sites" else None
        self._hostile = hostile
        self._momentum = CohortMomentum(
            stage.folder.path, sites=len(sites), size=run.layout.size, beta=job.local.update_momentum
        )
        request = Request(round=1, rounds=job.rounds, run=stage.folder.name, job_digest=job.digest())
        self._bytes_down = record_bytes(request_content(model_record(run.layout, model), request))
        self._bytes_up = record_bytes(reply_content(model, site=""))
        self._clock = clock
        self._replies: dict[int, Reply] = {}

    def go(self) -> None:
        """From the first round that is missing to the last."""
        self._run.evaluate(self._run.first_round - 1, self._run.state.model)  # a stop may have come before this
        try:
            for number in range(self._run.first_round, self._job.rounds + 1):
                self._round(number)
        finally:
            if self._budgets is not None:
                self._budgets.close()

    def _round(self, number: int) -> None:
        try:
            indices = self._select(number, self._connected())
        except Exhausted as absent:  # nobody is asked, and the next round starts where this one ended
            self._coordinator.void(number, absent, clock=self._clock)
            return
        self._coordinator.open(number, asked=len(indices))
        started = time.perf_counter()
        state = self._coordinator.state
        assert state is not None
        asked = sorted(self._places[index] for index in indices)
        answers, taken = self._timed(number, asked)
        codes = {place: "E309" for place, in_time in zip(asked, taken, strict=True) if not in_time}
        if self._mixing is not None:
            codes |= self._mixing.found(state.model, [place for place in asked if place not in codes])
        reserved = self._reserve(number, state.model, asked, codes)
        places = [place for place in asked if place not in codes]
        self._hostile.adapt(self._trainer, state.model, places, round=number)
        rows, failed = self._trainer.train(state.model, places, round=number)
        if failed:
            codes |= failed
            rows = rows[[at for at, place in enumerate(places) if place not in failed]]
            places = [place for place in places if place not in failed]
        answered = {place for place, answer in zip(asked, answers, strict=True) if answer and place not in failed}
        self._momentum.average(number, places, rows)
        attestations = self._settle(number, reserved, answered, in_time=set(places))
        self._hostile.answer(rows, state.model, places, round=number)
        replies = [self._reply(number, place, attestations) for place in places]
        rejections = [
            Rejection(site=self._sites[place].name, code=code, reason=CODES[code]) for place, code in codes.items()
        ]
        trained = time.perf_counter() - started
        private = self._run.site_privacy
        noise = None if private is None else private.reserve(number, state.model)
        if noise is not None:
            self._coordinator.spent(number, noise.charged(site.name for site in self._sites))

        def step(current: GlobalState) -> Closed:
            start = time.perf_counter()
            rng, reference = self._run.draw(number).spawn(1)[0], self._run.reference(number, current.model)
            # The sites' threads are idle now, and a rule's bits do not depend on how many there are.
            with at_most(self._trainer.workers):
                admitted = admit_rows(rows, replies, rejections)
                admitting = time.perf_counter() - start
                return close_admitted(
                    self._job, current, admitted, admitting=admitting, rng=rng, reference=reference, noise=noise
                )

        closed = self._coordinator.close(
            number,
            step,
            train=trained,
            bytes_down=self._bytes_down * len(asked),
            bytes_up=self._bytes_up * len(replies),
            clock=None if self._conditions.ideal else self._clock,
        )
        if closed is None:
            return
        if private is not None and noise is not None:
            private.released(noise)
        if self._site_evaluation is not None:
            self._site_evaluation.measure(number, closed.state.model)
        self._run.evaluate(number, closed.state.model)

    def _select(self, number: int, connected: Sequence[int]) -> list[int]:
        private = self._run.site_privacy
        if private is not None:
            return private.cohort(number, connected)
        return select(self._job.cohort, connected, self._run.draw(number))

    def _connected(self) -> list[int]:
        """Indices of the sites that are there, once they are enough for the quorum; the clock moves while waiting.

        Raises:
            Exhausted: E501 if they are not within the deadline.
        """
        if self._conditions.ideal:
            return [site.index for site in self._sites]
        quorum, until = self._job.cohort.quorum, self._clock + self._job.cohort.deadline
        while True:
            there = np.flatnonzero(self._conditions.present(self._clock))
            if len(there) >= quorum:
                found: list[int] = there.tolist()
                return found
            # Thousands of sites come and go several times a second: looking once a second is often enough.
            change = max(self._conditions.next_change(self._clock), self._clock + 1.0)
            if change > until:
                self._clock = until
                raise Exhausted(
                    "E501",
                    f"{len(there)} site{' is' if len(there) == 1 else 's are'} connected, but the quorum is {quorum}, "
                    f"and not enough come within {self._job.cohort.deadline:g} simulated seconds (until {until:,.0f})",
                    hint="raise cohort.deadline or the sites' availability, or lower cohort.quorum",
                )
            self._clock = change

    def _timed(self, number: int, asked: Sequence[int]) -> tuple[Sequence[bool], Sequence[bool]]:
        """Whether each asked site answers at all, and whether in time; the clock moves to the round's end."""
        if self._conditions.ideal:
            return [True] * len(asked), [True] * len(asked)
        cohort = self._job.cohort
        arrivals = self._conditions.arrivals(
            np.array([self._sites[place].index for place in asked], np.int64),
            clock=self._clock,
            round=number,
            records=np.array([self._trainer.visits(place, number) for place in asked], np.int64),
            bytes_down=self._bytes_down,
            bytes_up=self._bytes_up,
        )
        seconds, taken = close(
            arrivals,
            quorum=cohort.quorum,
            grace=cohort.grace,
            deadline=cohort.deadline,
            over_select=cohort.over_select,
        )
        self._clock += seconds
        return np.isfinite(arrivals).tolist(), taken.tolist()

    def _reserve(
        self, number: int, model: Vector, asked: Sequence[int], codes: dict[int, str]
    ) -> Mapping[int, Reserved]:
        """Each asked site's reservation. One that is late or drops out was at work all the same, so it is charged."""
        if self._budgets is None:
            return {}
        plans = {}
        for place in asked:
            if len(self._trainer.rows(place, number)):
                try:
                    plans[place] = self._trainer.plan(place, number)
                except HedgerowError as error:
                    codes[place] = error.code
        reserved, refused = self._budgets.reserve(
            number, model, [(self._sites[place], plan) for place, plan in plans.items()]
        )
        names = {place: self._sites[place].name for place in plans}
        codes |= {place: refused[name] for place, name in names.items() if name in refused}
        return {place: reserved[name] for place, name in names.items() if name in reserved}

    def _settle(
        self, number: int, reserved: Mapping[int, Reserved], answered: set[int], *, in_time: set[int]
    ) -> Mapping[str, Attestation]:
        """Release what left the sites, and tell what those have spent whose answer does not count."""
        if self._budgets is None:
            return {}
        self._budgets.release([one for place, one in reserved.items() if place in answered])
        attestations = self._budgets.attested(list(reserved.values()))
        others = [place for place in reserved if place not in in_time]
        self._coordinator.spent(number, [self._reply(number, place, attestations) for place in others])
        return attestations

    def _reply(self, number: int, place: int, attestations: Mapping[str, Attestation]) -> Reply:
        """What a site says beside its row. Without privacy that is the same in every round."""
        if self._budgets is None and (known := self._replies.get(place)) is not None:
            return known
        site = self._sites[place]
        reply = self._replies[place] = Reply(
            sender=site.index + 1,
            site=site.name,
            examples=len(self._trainer.rows(place, number)) if self._job.privacy.unit == "none" else None,
            attestation=attestations.get(site.name),
            randomness=SimulatedRandomness.description,
            bytes=self._bytes_up,
        )
        return reply
