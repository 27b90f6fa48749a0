"""Which records each client of a round trains on, step by step: drawn for all of them in a few numpy calls.

The draws are those of `hedgerow.privacy.SimulatedRandomness`, so a client gets the batches that it would get alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgerow.privacy.randomness import SEED_DRAWS
from hedgerow.splitmix import later, splitmix, uniforms

__all__ = ["Padded", "Schedule", "padded", "poisson_steps", "shuffled_epochs"]

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

DRAWN = 1 << 21  # numbers that are drawn in one call: 16 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """The steps of k clients.

    `rows` (R,) are row numbers of the records, steps one after another and clients one after another: step t has
    `rows[steps[t]:steps[t + 1]]`, and client j has the steps `clients[j]` to `clients[j + 1] - 1`. A step may be empty.
    """

    rows: Integers
    steps: Integers
    clients: Integers

    @property
    def lengths(self) -> Integers:
        """Steps of each client, (k,)."""
        return np.diff(self.clients)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Padded:
    """A schedule as rectangles, for batched matrix products.

    In step s the first `active[s]` clients train, on `rows[s, :active[s], :widths[s]]`; `taken` says which of these are
    records rather than padding, `counts` (S, k) how many.
    """

    rows: Integers
    taken: NDArray[np.bool_]
    counts: Integers
    active: tuple[int, ...]
    widths: tuple[int, ...]


def shuffled_epochs(shares: Sequence[Integers], *, starts: Words, batch: int, epochs: int) -> Schedule:
    """Shuffled passes over each client's records in mini-batches; the last batch of a pass may be smaller.

    >>> starts = np.array([7, 8], np.uint64)
    >>> schedule = shuffled_epochs([np.arange(5), np.arange(5, 7)], starts=starts, batch=2, epochs=1)
    >>> np.diff(schedule.steps).tolist(), schedule.clients.tolist()
    ([2, 2, 1, 2], [0, 3, 4])
    """
    sizes, table = _table(shares)
    most = table.shape[1]
    passes = later(starts[:, None], SEED_DRAWS + sizes[:, None] * np.arange(epochs))
    keys = splitmix(passes, 0, most)
    absent = np.broadcast_to((np.arange(most) >= sizes[:, None])[:, None], keys.shape)
    keys[absent] = np.iinfo(np.uint64).max
    order = np.argsort(keys, axis=2, kind="stable")  # the sort of `shuffled`: equal keys stay in their order
    rows = np.take_along_axis(np.broadcast_to(table[:, None], keys.shape), order, axis=2)[~absent]
    filled = np.clip(sizes[:, None, None] - batch * np.arange(-(-most // batch)), 0, batch)
    filled = np.broadcast_to(filled, (len(sizes), epochs, filled.shape[2]))
    return Schedule(
        rows=rows,
        steps=_bounds(filled[filled > 0]),
        clients=_bounds((filled > 0).sum(axis=(1, 2))),
    )


def poisson_steps(
    shares: Sequence[Integers], *, starts: Words, rates: NDArray[np.float64], steps: Integers
) -> Schedule:
    """`steps` (k,) Poisson batches of each client: every record takes part with the client's rate (k,)."""
    sizes, table = _table(shares)
    rows, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    longest = max(int(steps.max(initial=0)), 1)
    clients = max(1, DRAWN // max(longest * table.shape[1], 1))
    for first in range(0, len(shares), clients):
        block = slice(first, first + clients)
        at_once = longest if clients > 1 else max(1, DRAWN // max(table.shape[1], 1))
        for begin in range(0, int(steps[block].max(initial=0)), at_once):
            numbers = np.arange(begin, min(begin + at_once, longest))
            begun = later(starts[block, None], SEED_DRAWS + sizes[block, None] * numbers)
            taken = uniforms(begun, 0, table.shape[1]) < rates[block, None, None]
            taken &= (np.arange(table.shape[1]) < sizes[block, None])[:, None]
            happens = numbers < steps[block, None]
            taken &= happens[:, :, None]
            client, _, position = np.nonzero(taken)
            rows.append(table[block][client, position])
            counts.append(taken.sum(axis=2)[happens])
    return Schedule(rows=np.concatenate(rows), steps=_bounds(np.concatenate(counts)), clients=_bounds(steps))


def padded(schedule: Schedule) -> Padded:
    """The schedule as rectangles. Its clients must stand in the order of their steps, the longest first."""
    lengths = schedule.lengths
    if (np.diff(lengths) > 0).any():
        raise ValueError("clients must be ordered by their number of steps, the longest first")
    counts = np.diff(schedule.steps)
    client = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(counts)) - schedule.clients[client]
    longest, widest = int(lengths.max(initial=0)), int(counts.max(initial=0))
    shape = (longest, len(lengths), max(widest, 1))
    rows, taken = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    place = np.arange(len(schedule.rows)) - np.repeat(schedule.steps[:-1], counts)
    full = counts > 0
    # Padding is a record of the client's own step: whatever is odd about a record stays with its client.
    rows[step[full], client[full]] = schedule.rows[schedule.steps[:-1][full], None]
    where = np.repeat(step, counts), np.repeat(client, counts), place
    rows[where] = schedule.rows
    taken[where] = True
    by_step = np.zeros(shape[:2], np.int64)
    by_step[step, client] = counts
    return Padded(
        rows=rows,
        taken=taken,
        counts=by_step,
        active=tuple((lengths > s).sum().item() for s in range(longest)),
        widths=tuple(by_step.max(axis=1, initial=0).tolist()),
    )


def _table(shares: Sequence[Integers]) -> tuple[Integers, Integers]:
    """Sizes (k,) and the rows of every client in a rectangle (k, most)."""
    sizes = np.array([len(share) for share in shares], np.int64)
    table = np.zeros((len(shares), int(sizes.max(initial=0))), np.int64)
    table[np.arange(table.shape[1]) < sizes[:, None]] = np.concatenate([*shares, np.empty(0, np.int64)])
    return sizes, table


def _bounds(counts: Integers) -> Integers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
