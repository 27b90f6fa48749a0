"""The records of thousands of sites as row numbers of one array: nothing is copied for a site."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.simulations.cohort.stacked import Records
from hedgerow.simulations.splittask import SplitTask
from hedgerow.task import Site, Split, Task

__all__ = ["CohortData", "Poison"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Poison:
    """What a hostile site makes of its records before its own view of their features, as many as it has.

    `acts` says in which rounds it trains on them. With `labels_alone`, the features stay and it acts in every round.
    `adapts`: they are made anew for each round's model, and until then are what they were.
    """

    records: Callable[[Split], Split]
    acts: Callable[[int], bool]
    labels_alone: bool = False
    adapts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CohortData:
    """x (N, …) and y (N,) of all sites, and which rows are whose.

    `shares[i]` are the rows of site i over all rounds; where the data `drifts`, a round has rows of its own. `scale`
    and `offset` (sites, …) are each site's view of its features, where they are shifted. `copies[i]` are the rows of
    what hostile site i made of its share, for the rounds in which it acts, in the order of the share.
    """

    x: torch.Tensor
    y: torch.Tensor
    shares: Sequence[Rows]
    split: SplitTask | None
    rounds: int
    drifts: bool
    scale: torch.Tensor | None = None
    offset: torch.Tensor | None = None
    copies: Mapping[int, Rows] = field(default_factory=dict)
    poisons: Mapping[int, Poison] = field(default_factory=dict)
    elsewhere: list[Records] = field(default_factory=list)

    @classmethod
    def of(
        cls, task: Task, sites: Sequence[Site], *, rounds: int, poisons: Mapping[int, Poison] | None = None
    ) -> CohortData:
        """The data of `sites`, in their order. A split task's records stay where they are; others are put together.

        `poisons` are those of hostile sites, by their place in `sites`. Where they change features, or rest in some
        rounds, all records are copied once, with theirs behind them.
        """
        split = task if isinstance(task, SplitTask) else None
        if split is not None:
            train = split.inner.pool().train
            shares = [split.shares[site.index] for site in sites]
            x, y = train.x, train.y
        else:
            parts = [task.data(site).train for site in sites]
            bounds = np.cumsum([0, *(len(part) for part in parts)])
            shares = [np.arange(start, stop) for start, stop in zip(bounds, bounds[1:])]
            x, y = np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
        x, y, copies = _poisoned(x, y, shares, poisons or {})
        scale = offset = None
        if split is not None and split.shifts:
            shifts = [shift for site in sites if (shift := split.transform(site.index)) is not None]
            scale, offset = (torch.from_numpy(np.stack([shift[part] for shift in shifts])) for part in (0, 1))
        return cls(
            x=_tensor(x),
            y=_tensor(y),
            shares=shares,
            split=split,
            rounds=rounds,
            drifts=split is not None and split.drifts,
            scale=scale,
            offset=offset,
            copies=copies,
            poisons=poisons or {},
        )

    def rows(self, site: Site, place: int, round: int) -> Rows:
        """What a site trains on in a round."""
        rows = self.shares[place]
        if self.split is not None and self.drifts:
            rows = self.split.rows(site.index, round=round, rounds=self.rounds)
        if place in self.copies and self.poisons[place].acts(round):
            return self.copies[place][np.searchsorted(self.shares[place], rows)]
        return rows

    def poison_again(self, place: int, records: Callable[[Split], Split]) -> None:
        """What a hostile site makes of its share, written over what it made of it before."""
        share = torch.from_numpy(self.shares[place])
        found = records(Split(self.x[share].numpy(), self.y[share].numpy()))
        rows = torch.from_numpy(self.copies[place])
        for held in (Records(x=self.x, y=self.y), *self.elsewhere):
            held.x[rows.to(held.x.device)] = torch.from_numpy(found.x).to(held.x.device)
            held.y[rows.to(held.y.device)] = torch.from_numpy(found.y).to(held.y.device)

    def records(self, places: Sequence[int]) -> Records:
        """The records as the sites at these places see them."""
        if self.scale is None or self.offset is None:
            return Records(x=self.x, y=self.y)
        chosen = torch.tensor(places, dtype=torch.int64)
        return Records(x=self.x, y=self.y, scale=self.scale[chosen], offset=self.offset[chosen])

    def held(self, place: torch.device) -> Records:
        """All records copied to a device, for every chunk."""
        held = Records(x=self.x.to(place), y=self.y.to(place))
        self.elsewhere.append(held)
        return held

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(part.numel() * part.element_size() for part in (self.x, self.y))


def _poisoned(
    x: NDArray[np.float32], y: NDArray[np.int64], shares: Sequence[Rows], poisons: Mapping[int, Poison]
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[int, Rows]]:
    """The records with the hostile sites' own, and which rows those are, unless they are in the place of the true."""
    if not poisons:
        return x, y, {}
    if all(poison.labels_alone for poison in poisons.values()):
        y = y.copy()
        for place, poison in poisons.items():
            y[shares[place]] = poison.records(Split(x[shares[place]], y[shares[place]])).y
        return x, y, {}
    parts, copies, end = [], {}, len(y)
    for place, poison in poisons.items():
        own = Split(x[shares[place]], y[shares[place]])
        parts.append(own if poison.adapts else poison.records(own))
        copies[place] = np.arange(end, end := end + len(own))
    return np.concatenate([x, *(part.x for part in parts)]), np.concatenate([y, *(part.y for part in parts)]), copies


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    """The same memory as a tensor; a read-only map is only read."""
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
