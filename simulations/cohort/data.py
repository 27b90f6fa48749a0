"""The records of thousands of sites as row numbers of one array: nothing is copied for a site."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.simulations.cohort.stacked import Records
from hedgerow.simulations.partition import SplitTask
from hedgerow.task import Site, Task

__all__ = ["CohortData", "Relabel"]

Rows = NDArray[np.int64]
Relabel = Callable[[NDArray[np.int64]], NDArray[np.int64]]  # a hostile site's labels from its true ones


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CohortData:
    """x (N, …) and y (N,) of all sites, and which rows are whose.

    `shares[i]` are the rows of site i over all rounds; where the data `drifts`, a round has rows of its own. `scale`
    and `offset` (sites, …) are each site's view of its features, where they are shifted.
    """

    x: torch.Tensor
    y: torch.Tensor
    shares: Sequence[Rows]
    split: SplitTask | None
    rounds: int
    drifts: bool
    scale: torch.Tensor | None = None
    offset: torch.Tensor | None = None

    @classmethod
    def of(
        cls, task: Task, sites: Sequence[Site], *, rounds: int, relabelled: Mapping[int, Relabel] | None = None
    ) -> CohortData:
        """The data of `sites`, in their order. A split task's records stay where they are; others are put together.

        `relabelled` changes the training labels of some sites, by their place in `sites`.
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
        if relabelled:
            y = y.copy()
            for place, lie in relabelled.items():
                y[shares[place]] = lie(y[shares[place]])
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
        )

    def rows(self, site: Site, place: int, round: int) -> Rows:
        """What a site trains on in a round."""
        if self.split is None or not self.drifts:
            return self.shares[place]
        return self.split.rows(site.index, round=round, rounds=self.rounds)

    def records(self, places: Sequence[int]) -> Records:
        """The records as the sites at these places see them."""
        if self.scale is None or self.offset is None:
            return Records(x=self.x, y=self.y)
        chosen = torch.tensor(places, dtype=torch.int64)
        return Records(x=self.x, y=self.y, scale=self.scale[chosen], offset=self.offset[chosen])

    def held(self, place: torch.device) -> Records:
        """All records copied to a device, for every chunk."""
        return Records(x=self.x.to(place), y=self.y.to(place))

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(part.numel() * part.element_size() for part in (self.x, self.y))


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    """The same memory as a tensor; a read-only map is only read."""
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
