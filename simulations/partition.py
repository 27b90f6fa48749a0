"""How one pool of records becomes the shares of simulated sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.scenario import GRAMMARS, Scenario
from hedgerow.simulations.drift import window
from hedgerow.simulations.shift import Affine, shifted, site_shift
from hedgerow.task import Data, PooledTask, Site, Split, Task

if TYPE_CHECKING:
    import torch

__all__ = ["SplitTask", "partition", "site_names", "split"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]

LONGEST_NAME = 64  # as in what a site may call itself on the wire
STREAM = 1  # the split's own branch of the scenario's seed, and (STREAM, index) each site's shift


class SplitTask(Task):
    """A pooled task divided among simulated sites, drawn once from the scenario's seed.

    A site's `train` is its share of the pool, with the site's feature shift applied, and its `test` is empty: the
    held-out records stay with the server, unshifted. Everything else is the inner task's own. `shares[i]` are the
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
            labels, rows = self.inner.pool().train.y, self.inner.training_rows()
            drawn = partition(
                labels if rows is None else labels[rows],
                sites=sites,
                split=self._scenario.split,
                rng=np.random.default_rng(np.random.SeedSequence(self._scenario.seed, spawn_key=(STREAM,))),
                column=self.inner.column,
            )
            self._drawn[sites] = drawn if rows is None else tuple(rows[share] for share in drawn)
        return self._drawn[sites]

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


def site_names(scenario: Scenario, column: Array | None = None) -> tuple[str, ...]:
    """The sites' display names in index order: `site-01`, …, or the column's values where `split = "column"`.

    >>> site_names(Scenario(sites=3))
    ('site-01', 'site-02', 'site-03')
    """
    if scenario.split.strip() == "column":
        names = tuple(str(value) for value in _values(column))
        odd = [name for name in names if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME]
        if odd:
            raise Misconfigured(
                "E122",
                f"{ascii(odd[0][:LONGEST_NAME])} cannot name a site",
                place="the site column",
                hint=f"site names are shown everywhere: printable text of at most {LONGEST_NAME} characters",
            )
        return names
    width = max(2, len(str(scenario.sites)))
    return tuple(f"site-{index + 1:0{width}d}" for index in range(scenario.sites))


def partition(
    labels: Array, *, sites: int, split: str, rng: np.random.Generator, column: Array | None = None
) -> tuple[Rows, ...]:
    """Deal the records 0 … n-1 out to the sites: one ascending array of row numbers per site, in O(n log n).

    Guarantee: every record is at exactly one site and no site is empty; the result depends on the arguments only.

    - `iid`: a random deal; sizes differ by at most 1.
    - `dirichlet:ALPHA`: each label's records are divided over the sites in Dirichlet(ALPHA, …, ALPHA) proportions
      (Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019, §4; compare Hsu,
      Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution", 2019, §3, who draw one mixture of
      labels per site). The smaller ALPHA, the fewer labels a site sees.
    - `labels:PER_SITE`: records sorted by label are cut into sites · PER_SITE shards of equal size (±1), dealt at
      random, PER_SITE each (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
      Data", AISTATS 2017, §3). A site sees at most 2 · PER_SITE labels if no label has fewer records than a shard;
      where the shards meet the labels' borders exactly, at most PER_SITE.
    - `quantity:ALPHA`: sizes in Dirichlet(ALPHA, …, ALPHA) proportions, records dealt at random (Li et al.,
      "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022, §4).
    - `column`: a site per distinct value of `column` (n,), in ascending order. The values decide how many sites there
      are, at most `sites`: the one case in which the result may be shorter than `sites`.

    A draw that leaves a site empty (`dirichlet`, `quantity`) is repaired: that site gets one random record of the site
    that then has most. Redrawing instead might never end for a small ALPHA.

    Raises:
        Misconfigured: E103 not in the grammar, E104 `column` without a column, E105 more values than sites,
            E123 missing values in the column, E125 more sites (or shards) than records.

    >>> rows = partition(np.arange(7), sites=3, split="iid", rng=np.random.default_rng(0))
    >>> [len(share) for share in rows]
    [3, 2, 2]
    """
    choice = GRAMMARS["split"].parse(split)
    kind, number = choice.kind, choice.numbers[0] if choice.numbers else 0.0
    if sites < 1:
        raise Misconfigured("E103", f"'sites' is {sites}, but must be at least 1")
    if kind == "column":
        return _by_column(len(labels), sites, column)
    shards = sites * int(number) if kind == "labels" else sites
    if shards > len(labels):
        what = f"{sites} sites" if shards == sites else f"{sites} sites of {int(number)} label shards each"
        raise Misconfigured(
            "E125", f"{what} need at least {shards} records, but there are {len(labels)}", hint="use fewer sites"
        )
    if kind == "labels":
        owner = _by_shards(labels, sites, int(number), rng)
    elif kind == "dirichlet":
        owner = _by_label_mixture(labels, sites, number, rng)
    else:
        owner = _by_size(len(labels), sites, number if kind == "quantity" else None, rng)
    _fill_empty(owner, sites, rng)
    return _rows(owner, sites)


def _by_size(n: int, sites: int, alpha: float | None, rng: np.random.Generator) -> Rows:
    owner = np.arange(n) % sites if alpha is None else _cut(n, rng.dirichlet(np.full(sites, alpha)))
    return rng.permutation(owner)


def _by_label_mixture(labels: Array, sites: int, alpha: float, rng: np.random.Generator) -> Rows:
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        owner[rows] = _cut(len(rows), rng.dirichlet(np.full(sites, alpha)))
    return owner


def _by_shards(labels: Array, sites: int, per_site: int, rng: np.random.Generator) -> Rows:
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    shard_owner = rng.permutation(np.repeat(np.arange(sites), per_site))
    owner = np.empty(len(labels), np.int64)
    for shard, rows in enumerate(np.array_split(by_label, sites * per_site)):
        owner[rows] = shard_owner[shard]
    return owner


def _cut(n: int, proportions: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Rows:
    """Owners of n records in a row, cut at the rounded cumulative proportions."""
    ends = np.rint(np.cumsum(proportions)[:-1] * n).astype(np.int64)
    return np.searchsorted(ends, np.arange(n), side="right").astype(np.int64)


def _fill_empty(owner: Rows, sites: int, rng: np.random.Generator) -> None:
    sizes = np.bincount(owner, minlength=sites)
    for site in np.flatnonzero(sizes == 0):
        richest = int(np.argmax(sizes))
        owner[rng.choice(np.flatnonzero(owner == richest))] = site
        sizes[richest] -= 1
        sizes[site] = 1


def _rows(owner: Rows, sites: int) -> tuple[Rows, ...]:
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=sites))
    return tuple(np.split(order, ends[:-1]))


def _by_column(n: int, sites: int, column: Array | None) -> tuple[Rows, ...]:
    values = _values(column)
    if column is None or len(column) != n:
        raise Misconfigured(
            "E126",
            f"the site column has {0 if column is None else len(column)} entries for {n} records",
            hint="name the site of each training record",
        )
    if len(values) > sites:
        raise Misconfigured(
            "E105",
            f"the site column has {len(values)} values, but the scenario {sites} sites",
            hint=f"write sites = {len(values)}",
        )
    names = _comparable(column)
    return tuple(np.flatnonzero(names == value) for value in values)


def _values(column: Array | None) -> Array:
    if column is None:
        raise Misconfigured(
            "E104",
            "split = 'column' needs data that name each record's site",
            hint="name the column when the task is made (site=…), or write another split",
        )
    return np.unique(_comparable(column))


def _comparable(column: Array) -> Array:
    missing = np.array([value is None or value != value or value == "" for value in column.tolist()], bool)
    if missing.any():
        raise Misconfigured(
            "E123",
            f"{np.count_nonzero(missing)} records do not say which site they belong to",
            place=f"record {int(np.argmax(missing))}",
            hint="fill the site column in or remove these records",
        )
    return column.astype(str) if column.dtype.kind == "O" else column
