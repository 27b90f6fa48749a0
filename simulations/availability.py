"""Who is connected at a simulated second: always, at random, by the hour of the day, or as a trace says.

Each kind answers one question about many sites at once: is it there at this time, and until when does that hold?
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hedgerow.splitmix import splitmix, uniforms

__all__ = ["DAY", "HOUR", "Always", "Availability", "Redrawn"]

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Seconds = NDArray[np.float64]
Words = NDArray[np.uint64]

HOUR, DAY = 3600.0, 86400.0
ZONES = 4  # whole hours apart, like the coasts of a continent
_SHORTEST = 1e-6  # seconds: no state is told to end at once, so that rounding cannot hold a caller at one moment


class Availability(Protocol):
    """Guarantee: an answer depends on the site and the time alone, not on what was asked before."""

    def state(self, sites: Indices, times: Seconds) -> tuple[Flags, Seconds]:
        """Whether each site (k,) is there at its own time (k,), and until when at least that holds (inf: for ever)."""
        ...


class Always:
    """Everyone, at any time."""

    def state(self, sites: Indices, times: Seconds) -> tuple[Flags, Seconds]:
        return np.ones(len(sites), bool), np.full(len(sites), np.inf)


class Redrawn:
    """Each site is there a share p of the time; p may swing between `low` and `high` over 24 hours.

    At moments of its own, once an hour on average, each site draws a new uniform number u, and it is there while
    u < p. So at every moment it is there with probability exactly p. Where `low` = `high` = p, it comes and goes in
    sessions of exponential length: there for 1 h / (1 - p) on average, away for 1 h / p.

    Otherwise p is `high` at a site's midnight, when devices are idle and charging, and `low` at its noon, a cosine
    between them. The clock's 0 is midnight in the first of four neighbouring time zones, among which the sites are
    dealt at random. (Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys 2019, report such a
    daily swing of the devices that are there.)

    Cost: O(redraws since the latest moment that all sites, in order, were asked for), so going forward is cheap; a time
    before that starts again from 0.
    """

    def __init__(self, seeds: np.random.SeedSequence, *, sites: int, low: float, high: float) -> None:
        self._middle, self._swing = (high + low) / 2, (high - low) / 2
        streams, zones = seeds.generate_state(2, np.uint64)[:, None]
        self._streams: Words = splitmix(streams, 0, sites)[0]
        self._zones = np.floor(uniforms(zones, 0, sites)[0] * ZONES) * HOUR
        # Of the draw that holds at each site: its number, when it was made, until when it holds, and its u.
        self._latest = np.tile([[-1.0], [0.0], [0.0], [0.0]], sites)

    def state(self, sites: Indices, times: Seconds) -> tuple[Flags, Seconds]:
        streams = self._streams[sites]
        numbers, starts, ends, marks = latest = self._latest[:, sites]
        rewound = times < starts
        numbers[rewound], ends[rewound] = -1.0, 0.0
        due = np.flatnonzero(ends <= times)
        while due.size:
            numbers[due] += 1
            drawn = uniforms(streams[due] + numbers[due].astype(np.uint64), 0, 2)
            starts[due], marks[due] = ends[due], drawn[:, 0]
            ends[due] -= HOUR * np.log1p(-drawn[:, 1])
            due = due[ends[due] <= times[due]]
        if len(sites) == len(self._streams) and (sites == np.arange(len(sites))).all() and np.ptp(times) == 0:
            self._latest = latest
        return self._there(marks, self._zones[sites], times, ends)

    def _there(self, u: Seconds, zones: Seconds, times: Seconds, ends: Seconds) -> tuple[Flags, Seconds]:
        if self._swing == 0:
            return u < self._middle, ends
        angle = (times - zones) % DAY * (2 * np.pi / DAY)
        there: Flags = u < self._middle + self._swing * np.cos(angle)
        level = (u - self._middle) / self._swing  # there while the cosine is above it: near midnight, within ±width
        width = np.arccos(np.clip(level, -1, 1))
        leaves = np.where(angle < np.pi, width, 2 * np.pi + width)
        crossing = np.where(there, leaves, 2 * np.pi - width) - angle
        until = times + np.maximum(crossing * (DAY / (2 * np.pi)), _SHORTEST)
        return there, np.where(np.abs(level) < 1, np.minimum(ends, until), ends)
