"""A task whose records are in one pool, divided among simulated sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.scenario import Scenario
from hedgerow.simulations.drift import window
from hedgerow.simulations.partition import Rows, partition, site_names
from hedgerow.simulations.shift import Affine, shifted, site_shift
from hedgerow.task import Data, PooledTask, Site, Split, Task

if TYPE_CHECKING:
    import torch

__all__ = ["SplitTask", "split"]

STREAM = 1  # the split's own branch of the scenario's seed, and (STREAM, index) each site's shift
ROOT_STREAM = 9  # the server's own records


class SplitTask(Task):
    """A pooled task divided among simulated sites, drawn once from the scenario's seed.

    A site's `train` is its share of the pool, with the site's feature shift applied, and its `test` is empty: the
    held-out records stay with the server, unshifted, and so do the scenario's `root` records, drawn before the split.
    Everything else is the inner task's own. `shares[i]` are the
    pool's rows of site i, `site_names[i]` its name. An engine that trains on the pool itself takes `rows` and
    `transform` instead of `data`, which copies.
    """

    def __init__(self, inner: PooledTask, scenario: Scenario) -> None:
        self.name = inner.name
        self.labels = inner.labels
        self.inner = inner
        self._scenario = scenario
        self._drawn: dict[int, tuple[Rows, ...]] = {}
        self._by_label: dict[int, Rows] = {}
        self._root = self._draw_root()
        self.shares = self._draw(scenario.sites)
        self.site_names = site_names(scenario, column=inner.column)

    @property
    def drifts(self) -> bool:
        """Whether `rows` differ from round to round."""
        return self._scenario.choice("drift").kind != "none"

    @property
    def shifts(self) -> bool:
        """Whether sites see features of their own."""
        shift = self._scenario.choice("shift")
        return shift.kind != "none" and shift.numbers[0] != 0

    def model(self) -> torch.nn.Module:
        return self.inner.model()

    def data(self, site: Site) -> Data:
        """The share of `site.index` among `site.count`: a federation of another size than the scenario's draws its own.

        Raises:
            Misconfigured: E125 if no share has this index, and as `partition`.
        """
        shares = self.shares if site.count == len(self.shares) else self._draw(site.count)
        share = self._of(shares, site.index, site.name)
        train = self.inner.pool().train
        affine = self.transform(site.index)
        x = train.x[share] if affine is None else shifted(train.x[share], affine)
        return Data(Split(x, train.y[share]), train.take(np.empty(0, np.int64)))

    def rows(self, index: int, *, round: int, rounds: int) -> Rows:
        """The pool's rows that a site trains on in one round (1 … `rounds`), ascending: its share, without drift.

        Raises:
            Misconfigured: E125 if no share has this index.
        """
        share = self._of(self.shares, index, f"number {index}")
        drift = self._scenario.choice("drift")
        if drift.kind == "none":
            return share
        if index not in self._by_label:
            self._by_label[index] = share[np.argsort(self.inner.pool().train.y[share], kind="stable")]
        return window(self._by_label[index], share=drift.numbers[0], round=round, rounds=rounds)

    def transform(self, index: int) -> Affine | None:
        """The scale and offset of a site's features, each of the shape of one record; None without shift.

        `shifted` applies them, with the bytes of `data`.
        """
        shift = self._scenario.choice("shift")
        if shift.kind == "none" or shift.numbers[0] == 0:
            return None
        rng = np.random.default_rng(np.random.SeedSequence(self._scenario.seed, spawn_key=(STREAM, index)))
        return site_shift(shift.numbers[0], self.inner.pool().train.x.shape[1:], rng)

    @staticmethod
    def _of(shares: tuple[Rows, ...], index: int, name: str) -> Rows:
        if not 0 <= index < len(shares):
            raise Misconfigured(
                "E125",
                f"site '{name}' has index {index}, but the data are split over {len(shares)} sites",
                hint="count the sites from 0",
            )
        return shares[index]

    def _draw(self, sites: int) -> tuple[Rows, ...]:
        if sites not in self._drawn:
            labels, rows, column = self.inner.pool().train.y, self.inner.training_rows(), self.inner.column
            if len(self._root):
                whole = np.arange(len(labels)) if rows is None else rows
                left = ~np.isin(whole, self._root)
                rows, column = whole[left], None if column is None else column[left]
            drawn = partition(
                labels if rows is None else labels[rows],
                sites=sites,
                split=self._scenario.split,
                rng=np.random.default_rng(np.random.SeedSequence(self._scenario.seed, spawn_key=(STREAM,))),
                column=column,
            )
            self._drawn[sites] = drawn if rows is None else tuple(rows[share] for share in drawn)
        return self._drawn[sites]

    def _draw_root(self) -> Rows:
        if not self._scenario.root:
            return np.empty(0, np.int64)
        rows = self.inner.training_rows()
        rows = np.arange(len(self.inner.pool().train)) if rows is None else rows
        if self._scenario.root >= len(rows):
            raise Misconfigured(
                "E125",
                f"the server is to have {self._scenario.root} records, but there are {len(rows)} in all",
                place="root",
                hint="a hundred are plenty",
            )
        rng = np.random.default_rng(np.random.SeedSequence(self._scenario.seed, spawn_key=(ROOT_STREAM,)))
        return np.sort(rng.choice(rows, self._scenario.root, replace=False))

    def root(self) -> Split | None:
        return self.inner.pool().train.take(self._root) if len(self._root) else self.inner.root()

    def held_out(self) -> Split | None:
        return self.inner.held_out()

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.inner.loss(logits, y)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return self.inner.metrics(logits, y)

    def probe(self, model: torch.nn.Module) -> Mapping[str, float]:
        return self.inner.probe(model)


def split(task: PooledTask, scenario: Scenario) -> SplitTask:
    """Divide a pooled task among the scenario's sites. The same scenario gives the same shares on every machine.

    Raises:
        Misconfigured: as `partition`.
    """
    return SplitTask(task, scenario)
