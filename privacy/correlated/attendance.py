"""Who took part when: the pattern that a plan's guarantee rests on, kept to by refusing anything else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgerow.errors import Misconfigured, Refused
from hedgerow.privacy.correlated.sensitivity import Participation

__all__ = ["Attendance", "cyclic_batch"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attendance:
    """The last round and the number of rounds of every unit (a site, or a record), `(units,)` each; 0 is never.

    Rounds count from 1. Both arrays may go into a checkpoint: they say who took part, not what with.
    """

    participation: Participation
    last: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def start(cls, participation: Participation, units: int) -> "Attendance":
        """Nobody has taken part yet."""
        return cls(participation=participation, last=np.zeros(units, np.int64), times=np.zeros(units, np.int64))

    def eligible(self, round: int) -> NDArray[np.bool_]:
        """Who may take part in a round, `(units,)`.

        >>> pattern = Participation(rounds=9, min_separation=3, max_participations=2)
        >>> Attendance.start(pattern, 2).after(1, [0]).eligible(3).tolist()
        [False, True]
        """
        rested = (self.times == 0) | (round - self.last >= self.participation.min_separation)
        allowed: NDArray[np.bool_] = rested & (self.times < self.participation.max_participations)
        return allowed

    def after(self, round: int, units: Sequence[int]) -> "Attendance":
        """The same with `units` in `round`.

        Raises: Refused E201 for a unit that took part too often or too recently, a round twice for the same unit or
        beyond the plan; Misconfigured E103 for a unit that does not exist or is named twice.
        """
        chosen = np.asarray(units, np.int64)
        if not 1 <= round <= self.participation.rounds:
            raise Refused("E201", f"round {round} is not one of the plan's {self.participation.rounds}", place="round")
        if len(np.unique(chosen)) != len(chosen) or ((chosen < 0) | (chosen >= len(self.last))).any():
            raise Misconfigured("E103", f"expected different units from 0 … {len(self.last) - 1}", place="units")
        early = chosen[~self.eligible(round)[chosen]]
        if len(early):
            raise Refused(
                "E201",
                f"unit {early[0]} took part {self.times[early[0]]} times, last in round {self.last[early[0]]}; "
                f"allowed are {self.participation.max_participations}, {self.participation.min_separation} apart",
                place=f"round {round}",
                hint="choose among those that are eligible",
            )
        last, times = self.last.copy(), self.times.copy()
        last[chosen] = round
        times[chosen] += 1
        return Attendance(participation=self.participation, last=last, times=times)


def cyclic_batch(*, records: int, batches: int, round: int) -> NDArray[np.int64]:
    """The records of a round when the batches come round in a fixed order: every `batches`-th record.

    A record comes back after exactly `batches` rounds. Its place depends on its number alone: a record that is taken
    out leaves its place empty and moves no other one. Rounds count from 1.
    Raises: Misconfigured E103 for more batches than records or a round below 1.

    >>> [cyclic_batch(records=5, batches=2, round=t).tolist() for t in (1, 2, 3)]
    [[0, 2, 4], [1, 3], [0, 2, 4]]
    """
    if not 1 <= batches <= records:
        raise Misconfigured("E103", f"batches={batches!r}, expected 1 … {records}", place="batches")
    if round < 1:
        raise Misconfigured("E103", f"round={round!r}, expected at least 1", place="round")
    return np.arange((round - 1) % batches, records, batches, dtype=np.int64)
