"""How one pool of records becomes the shares of simulated sites."""

from __future__ import annotations

from typing import Any

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.scenario import GRAMMARS, Scenario

__all__ = ["partition", "site_names"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]

LONGEST_NAME = 64  # as in what a site may call itself on the wire


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
