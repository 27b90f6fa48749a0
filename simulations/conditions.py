"""Sites that come and go, straggle, drop out and join late, on a simulated clock that counts seconds from 0.

```
present(clock) ─► the coordinator asks some ─► arrivals(asked, clock) ─► close(arrivals) ─► clock + seconds
      ▲                                                                                            │
      └───────────── too few for a quorum: next_change(clock) ◄────────────────────────────────────┘
```

Everything is drawn from the scenario's seed and depends on the site, the second and the round alone, never on what was
asked before. A site's draws stay the same in a federation of more sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured
from hedgerow.grammar import Choice
from hedgerow.scenario import Scenario
from hedgerow.simulations.availability import DAY, Always, Availability, Redrawn
from hedgerow.simulations.partition import site_names
from hedgerow.simulations.trace import read_trace

__all__ = ["LONGEST", "Conditions", "need_clock", "unsupported"]

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Seconds = NDArray[np.float64]

STREAM = 7  # the conditions' part of a simulation's seed
LONGEST = 30 * DAY  # seconds: an answer that would take longer never comes
TIMED = ("availability", "join", "latency", "bandwidth", "speed", "dropout")  # what needs a simulated clock


class Draw(IntEnum):
    """The conditions' streams: one more latency draw must not change who drops out."""

    PRESENCE = 0
    JOIN = 1
    BANDWIDTH = 2
    SPEED = 3
    LATENCY = 4
    DROPOUT = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditions:
    """What a federation of `sites` meets on its simulated clock.

    `joins` (sites,) is the second from which each one is enrolled, `bandwidth` (bytes/s) and `speed` (records/s) what
    each one's line and machine do, inf where they take no time.
    """

    seed: int
    sites: int
    ideal: bool
    availability: Availability
    joins: Seconds
    latency: Choice
    bandwidth: Seconds
    speed: Seconds
    dropout: float

    @classmethod
    def of(cls, scenario: Scenario, sites: int, *, names: Sequence[str] = (), folder: str | Path = ".") -> Conditions:
        """The conditions of a scenario for as many sites as the task has.

        `ideal` means that nothing is simulated: everyone is always there and answers at once. A trace's file is sought
        from `folder`, the project's; it calls the sites by their `names` (the scenario's unless said) or their indices.

        Raises:
            Misconfigured: E120 if the trace cannot be read, with the line.

        >>> conditions = Conditions.of(Scenario(sites=4, latency="constant:0.5", speed="constant:100"), 4)
        >>> asked, records = np.array([0, 3]), np.array([100, 300])
        >>> conditions.arrivals(asked, clock=0.0, round=1, records=records, bytes_down=10, bytes_up=10).tolist()
        [2.0, 4.0]
        """
        join = scenario.choice("join")
        return cls(
            seed=scenario.seed,
            sites=sites,
            ideal=not any(key in TIMED for key in unsupported(scenario)),
            availability=_availability(scenario, sites, names, Path(folder)),
            joins=_rng(scenario.seed, Draw.JOIN).random(sites) * (join.numbers[0] if join.numbers else 0.0),
            latency=scenario.choice("latency"),
            bandwidth=_drawn(scenario.choice("bandwidth"), _rng(scenario.seed, Draw.BANDWIDTH), sites),
            speed=_drawn(scenario.choice("speed"), _rng(scenario.seed, Draw.SPEED), sites),
            dropout=scenario.dropout,
        )

    def present(self, clock: float) -> Flags:
        """Who is enrolled and connected at that second, (sites,)."""
        return self._state(clock)[0]

    def next_change(self, clock: float) -> float:
        """The next second at which presence may change; inf: never again. O(sites)."""
        return float(self._state(clock)[1].min(initial=np.inf))

    def arrivals(
        self, asked: Indices, *, clock: float, round: int, records: Indices, bytes_down: int, bytes_up: int
    ) -> Seconds:
        """Seconds after `clock` at which each asked site's answer reaches the coordinator, (k,); inf: never.

        The request travels (a latency, and `bytes_down` over the site's bandwidth), the site trains on `records` (k,)
        records, repeats counted, and the answer travels back. A site that is not there, that drops out, or whose
        connection ends before its answer is through does not answer. O(sites).
        """
        there, until = self._state(clock)
        seconds = self._travels(round)[asked] + (bytes_down + bytes_up) / self.bandwidth[asked]
        seconds += records / self.speed[asked]
        lost = ~there[asked] | (seconds > LONGEST)
        if self.dropout:
            lost |= _rng(self.seed, Draw.DROPOUT, round).random(self.sites)[asked] < self.dropout
        seconds[lost] = np.inf
        self._disconnect(asked, seconds, clock, until[asked])
        return seconds

    def _state(self, clock: float) -> tuple[Flags, Seconds]:
        """Everyone's presence, and until when at least it holds."""
        there, until = self.availability.state(np.arange(self.sites), np.full(self.sites, clock))
        joined = self.joins <= clock
        return there & joined, np.where(joined, until, self.joins)

    def _travels(self, round: int) -> Seconds:
        """Seconds that a round's two messages of each site travel, whatever their size, (sites,)."""
        if self.latency.kind == "none":
            return np.zeros(self.sites)
        rng = _rng(self.seed, Draw.LATENCY, round)
        there, back = _drawn(self.latency, rng, 2 * self.sites).reshape(self.sites, 2).T
        return there + back

    def _disconnect(self, asked: Indices, seconds: Seconds, clock: float, until: Seconds) -> None:
        """Make the answers never come of those who leave before they are through."""
        arrives = clock + seconds
        checked = np.flatnonzero(np.isfinite(seconds) & (until < arrives))
        until = until[checked]
        while checked.size:
            there, until = self.availability.state(asked[checked], until)
            seconds[checked[~there]] = np.inf
            going = there & (until < arrives[checked])
            checked, until = checked[going], until[going]


def unsupported(scenario: Scenario) -> list[str]:
    """The scenario's keys that only an engine with a simulated clock and rounds of its own can honour.

    >>> unsupported(Scenario(latency="constant:1", drift="labels:0.5", shift="affine:0.2"))
    ['latency', 'drift']
    """
    defaults = {field.name: field.default for field in fields(Scenario)}
    return [key for key in (*TIMED, "drift") if getattr(scenario, key) != defaults[key]]


def need_clock(scenario: Scenario, engine: str) -> None:
    """Refuse a scenario whose conditions the engine cannot simulate: only `cohort` has a clock, and it must move.

    Raises:
        Misconfigured: E105 with the settings that need one, or that need something to take time, and for records of
            the server's own (`root`) on real servers, which have the project's task and no scenario.
    """
    if engine == "local" and scenario.root:
        raise Misconfigured(
            "E105",
            "engine 'local' has no records for its server",
            place="root",
            hint="give the project's task a root(), or take another engine",
        )
    if engine != "cohort" and (untimed := unsupported(scenario)):
        raise Misconfigured(
            "E105",
            f"engine '{engine}' has no simulated clock; it is needed for: {', '.join(untimed)}",
            place="engine",
            hint="take the engine 'cohort', or leave them out",
        )
    settled = scenario.availability == "always" and scenario.join == "all"
    timeless = (scenario.latency, scenario.bandwidth, scenario.speed) == ("none", "none", "instant")
    if not settled and timeless:
        raise Misconfigured(
            "E105",
            "nothing takes time here, so the clock stands still and the same sites are there in every round",
            place="join" if scenario.availability == "always" else "availability",
            hint="say how long an answer takes: speed=constant:100 (records a second) or latency=constant:60",
        )


def _availability(scenario: Scenario, sites: int, names: Sequence[str], folder: Path) -> Availability:
    chosen = scenario.choice("availability")
    if chosen.kind == "always":
        return Always()
    if chosen.kind == "trace":
        if not names and scenario.choice("split").kind != "column":  # else only the data know the names
            names = site_names(scenario)
        return read_trace(folder / chosen.text, sites=sites, names=names)
    low, high = chosen.numbers[0], chosen.numbers[-1]
    return Redrawn(_seeds(scenario.seed, Draw.PRESENCE), sites=sites, low=low, high=high)


def _drawn(chosen: Choice, rng: np.random.Generator, count: int) -> Seconds:
    """`count` values of `constant:VALUE` or `lognormal:MEDIAN,SIGMA`; inf where nothing is chosen."""
    if chosen.kind == "constant":
        return np.full(count, chosen.numbers[0])
    if chosen.kind == "lognormal":
        median, sigma = chosen.numbers
        return median * np.exp(sigma * rng.standard_normal(count))
    return np.full(count, np.inf)


def _seeds(seed: int, *path: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(STREAM, *path))


def _rng(seed: int, *path: int) -> np.random.Generator:
    return np.random.default_rng(_seeds(seed, *path))
