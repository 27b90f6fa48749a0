"""A round at a site: judge the request, reserve the budget, train, settle, and only then reply."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, MetricRecord, RecordDict

from hedgerow.client.budget import attested, charge_of
from hedgerow.client.momentum import MomentumStore
from hedgerow.client.site import SiteSetup
from hedgerow.errors import Misconfigured, Refused
from hedgerow.evaluation import evaluate
from hedgerow.job import Job
from hedgerow.privacy import Ledger, check_private, private_steps, site_plan
from hedgerow.settings import Scalar
from hedgerow.store import LEDGER, made_store
from hedgerow.task import Data, Site, Split, Task
from hedgerow.training import local_epochs, make_optimizer
from hedgerow.update import Layout, Vector, vector_sha256
from hedgerow.wire import ModelReader, Request, reply_content

__all__ = ["Trainer"]


class Trainer:
    """What a process keeps between requests: the module, its layout, the sites' tensors and open ledgers.

    Nothing in memory carries learning from round to round: each request starts from the model it brings. With client
    momentum, a site's average of what it sent is on its disk.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._tensors: dict[int, tuple[torch.Tensor, torch.Tensor, Split]] = {}
        self._ledgers: dict[Path, Ledger] = {}

    @functools.cached_property
    def _model(self) -> torch.nn.Module:
        return self._task.model()

    @functools.cached_property
    def _layout(self) -> Layout:
        return Layout.of(self._model)

    @functools.cached_property
    def _reader(self) -> ModelReader:
        return ModelReader(self._layout)

    @functools.cached_property
    def _parameters(self) -> dict[str, torch.Tensor]:
        return dict(self._model.state_dict())

    @property
    def _state(self) -> dict[str, torch.Tensor]:
        """The module's own tensors by name, looked up again if there are buffers: a forward pass may replace them."""
        return dict(self._model.state_dict()) if any(True for _ in self._model.buffers()) else self._parameters

    @functools.cached_property
    def _counters(self) -> dict[str, torch.Tensor]:
        """Integer buffers as they were built: they are no part of the update, so every round starts from them."""
        return {name: value.clone() for name, value in self._state.items() if not value.is_floating_point()}

    def train(
        self, config: Mapping[str, Scalar], request: Request, setup: SiteSetup, arrays: ArrayRecord
    ) -> RecordDict:
        """One round's update as a reply.

        Raises:
            Refused: E201 the budget would be exceeded, E202 another job, E203 a job without privacy on records that
                have an `epsilon-limit`. Misconfigured: what the data or the model does
                not allow. Exhausted: the ledger cannot be written; then nothing was trained. What the task raises is
                passed on, and the round stays charged: that it failed may say something about a record.
        """
        job = approved_job(config, request)
        _refuse_unapproved(job, request, setup)
        x, y, _ = self._data(setup.site)
        if not len(y):
            raise Misconfigured("E125", "the site has no records", place=setup.site.name)
        before = self._load(arrays)
        if job.privacy.unit == "record":
            return self._train_privately(job, request, setup, before, x, y)
        randomness = setup.randomness(request.round)
        local_epochs(
            self._model,
            x,
            y,
            settings=job.local,
            loss=self._task.loss,
            randomness=randomness,
        )
        return reply_content(
            self._averaged(job, request, setup, self._layout.read(self._state) - before),
            site=setup.site.name,
            randomness=randomness.description,
            examples=len(y) if job.privacy.unit == "none" else None,  # a private reply carries no count
        )

    def evaluate(
        self, config: Mapping[str, Scalar], request: Request, setup: SiteSetup, arrays: ArrayRecord
    ) -> RecordDict:
        """The model's metrics on the site's held-out records, with `num-examples`, as a reply.

        Raises:
            Refused: E202 for another job, E203 under differential privacy, where metrics are not paid for, and on
                records that have an `epsilon-limit`.
            Misconfigured: E125 if the site holds nothing out.
        """
        job = approved_job(config, request)
        _refuse_unapproved(job, request, setup)
        if job.privacy.unit != "none":
            raise Refused("E203", "metrics on a site's records are not paid for by the job's budget")
        self._load(arrays)
        _, _, test = self._data(setup.site)
        if not len(test):
            raise Misconfigured("E125", "the site holds no records out for evaluation", place=setup.site.name)
        event = evaluate(self._task, self._model, test, round=request.round)
        return RecordDict({"metrics": MetricRecord({**event.metrics, "num-examples": event.records})})

    def _train_privately(
        self, job: Job, request: Request, setup: SiteSetup, before: Vector, x: torch.Tensor, y: torch.Tensor
    ) -> RecordDict:
        plan = site_plan(job, len(y))
        randomness = setup.randomness(request.round)
        ledger = self._ledger(setup)
        charge = charge_of(
            plan,
            dataset=setup.dataset,
            job=job.digest(),
            run=request.run,
            round=request.round,
            model=vector_sha256(before),
            randomness=randomness.description,
            stream="" if setup.seed is None else f"{setup.seed}/{setup.site.index}/{request.round}",
        )
        check_private(self._model, x)  # once a batch was read, a failure may say something about it and stays charged
        limit = plan.epsilon if setup.epsilon_limit is None else setup.epsilon_limit
        reservation = ledger.reserve(charge, limit_epsilon=limit, accountant=plan.accountant)
        private_steps(
            self._model,
            x,
            y,
            plan=plan,
            loss=self._task.loss,
            make_optimizer=make_optimizer(job.local),
            randomness=randomness,
            proximal=job.local.proximal,
        )
        update = self._layout.read(self._state) - before
        ledger.release(reservation)
        update = self._averaged(job, request, setup, update)  # only what is released is remembered
        spent = ledger.spent(setup.dataset, unit="record", delta=plan.delta, accountant=plan.accountant).epsilon
        return reply_content(
            update,
            site=setup.site.name,
            randomness=randomness.description,
            attestation=attested(plan, spent=spent, limit=limit),
        )

    def _averaged(self, job: Job, request: Request, setup: SiteSetup, update: Vector) -> Vector:
        """The update, or with client momentum the average of the site's updates in this run so far."""
        if not job.local.update_momentum:
            return update
        durable = setup.seed is None
        run = f"{request.job_digest}/{request.run}"  # another job's updates were released on other terms
        store = MomentumStore.of_site(setup.store, site=setup.site.name, run=run, durable=durable)
        memory, sent = store.before(request.round, 1, len(update)).after(update[None], beta=job.local.update_momentum)
        store.save(request.round, memory)
        averaged: Vector = sent[0]
        return averaged

    def _load(self, arrays: ArrayRecord) -> Vector:
        vector = self._reader.read(arrays)
        counters, state = self._counters, self._state
        self._layout.write(vector, state)
        for name, value in counters.items():
            state[name].copy_(value)
        return vector

    def _data(self, site: Site) -> tuple[torch.Tensor, torch.Tensor, Split]:
        if site.index not in self._tensors:
            data: Data = self._task.data(site)
            x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in (data.train.x, data.train.y))
            self._tensors[site.index] = (x, y, data.test)
        return self._tensors[site.index]

    def _ledger(self, setup: SiteSetup) -> Ledger:
        if setup.store not in self._ledgers:
            self._ledgers[setup.store] = Ledger(made_store(setup.store) / LEDGER, durable=setup.seed is None)
        return self._ledgers[setup.store]


def approved_job(config: Mapping[str, Scalar], request: Request) -> Job:
    """The job in the site's own run configuration, if it is the one that the coordinator names.

    Raises:
        Refused: E202.
    """
    job, digest = _job(tuple(sorted(config.items())))
    if digest != request.job_digest:
        raise Refused("E202", "the coordinator names another job than the run configuration holds")
    return job


def _refuse_unapproved(job: Job, request: Request, setup: SiteSetup) -> None:
    """The run configuration comes with the coordinator's app, so only what the operator set binds the coordinator."""
    if setup.approved_job and setup.approved_job != request.job_digest:
        raise Refused("E202", "the site's operator approved another job", hint="compare with: hedgerow check")
    if setup.epsilon_limit is not None and job.privacy.unit != "record":
        raise Refused("E203", "the site's records have an epsilon-limit, and the job would release them without noise")


@functools.lru_cache(maxsize=16)
def _job(items: tuple[tuple[str, Scalar], ...]) -> tuple[Job, str]:
    job = Job.from_flat(dict(items))
    return job, job.digest()
