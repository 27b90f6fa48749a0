"""Reputation: a site that keeps being left out is left out beforehand for some rounds, and then tried again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation.arrays.rows import Floats
from hedgerow.aggregation.defences.site_memory import as_state, remembered
from hedgerow.aggregation.given import State, Want
from hedgerow.aggregation.rule import Rule
from hedgerow.aggregation.verdict import Verdict
from hedgerow.aggregation.wrapper import Wrapper
from hedgerow.errors import Misconfigured

__all__ = ["Reputation", "expected_good"]

_GOOD, _BAD, _LEFT, _PROBATION = "good", "bad", "quarantine", "probation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation(Wrapper):
    """Another `rule`, and around it a record of whom its verdicts left out; the worst sites are put in quarantine.

    Each round in which a site's row was excluded counts against it, each other round for it; what lies further back
    counts `memory` times less per round of that site's. The reputation is the mean of the beta distribution that this
    gives, 0.5 for an unknown site. Below `threshold` a site goes into quarantine for `rounds` rounds, whether it takes
    part in them or not: its rows are left out beforehand, and count against the `f` of the rule inside as unusable
    rows do. Then it returns with an unknown site's reputation, and for `probation` rounds of its own one exclusion is
    enough to go back. Never are more than `f` sites in quarantine at once (what the rule inside tolerates, if it was
    told none), the lowest reputation first, ties by name.

    Verdict: that of the rule inside; a row in quarantine is excluded as "in quarantine, round 1 of 5".
    Assumption: the rule inside excludes hostile rows more often than honest ones, and few honest ones: around a rule
    that keeps one row of many (Krum), or with the mean, which excludes nobody, it says nothing. κ: none proven, that
    of the rule inside holds with its smaller n and f. Breakdown: that of the rule inside.
    Fails when honest sites with unusual data are excluded again and again; against hostile sites that behave for long
    enough between attacks; and against those that take a new name, as names are not identities: the server must know
    who is who. When f sites are in quarantine, one further unusable row is more than f, and no vector is made.
    Cost: that of the rule inside, and O(k) for the `k` sites of the last 100 rounds; who was away for longer is new.
    State: four numbers per site, the names, and the state of the rule inside.
    Source: Jøsang and Ismail, 15th Bled Electronic Commerce Conference, 2002, sections 3 to 5 (beta reputation,
    forgetting).

    Raises:
        Misconfigured: E103 for `threshold` or `memory` outside 0..1 or `rounds` or `probation` negative; E105 without
            `sites`, when the rule is used.
    """

    reason: ClassVar[str] = ""
    least_share: ClassVar[float] = 0.0

    rule: Rule
    threshold: float = 0.25
    memory: float = 0.8
    rounds: int = 5
    probation: int = 5

    def __post_init__(self) -> None:
        if not (0 <= self.threshold < 1 and 0 < self.memory <= 1):
            raise Misconfigured(
                "E103",
                f"threshold must be in 0..1 and memory above 0 and at most 1, not {self.threshold}, {self.memory}",
            )
        if self.rounds < 1 or self.probation < 0:
            raise Misconfigured(
                "E103", f"rounds must be at least 1 and probation at least 0, not {self.rounds}, {self.probation}"
            )

    @property
    def inner(self) -> Rule:
        return self.rule

    @property
    def wants(self) -> frozenset[Want]:
        return frozenset({"sites"})

    def holding(self, inner: Rule) -> "Reputation":
        return replace(self, rule=inner)

    def barred(self, n: int, sites: Sequence[str], state: State) -> Mapping[int, str]:
        names, kept, place, _ = remembered(state, sites, "Reputation")
        if len(place) != n:
            raise Misconfigured("E126", f"{n} rows need {n} names of sites, not {len(place)}")
        record = _Record.of(state, kept, len(names))
        reasons = dict(Wrapper.barred(self, n, sites, state))
        for row in self._kept_out(record, names, place, n).tolist():
            reasons[row] = f"in quarantine, round {self.rounds - record.left[place[row]] + 1} of {self.rounds}"
        return reasons

    def learned(self, verdict: Verdict, sites: Sequence[str], state: State, made: State) -> State:
        names, kept, place, away = remembered(state, sites, "Reputation")
        before = _Record.of(state, kept, len(names))
        n = len(place)
        judged = np.ones(n, np.bool_)
        judged[self._kept_out(before, names, place, n)] = False
        excluded = np.zeros(n, np.bool_)
        excluded[list(verdict.excluded)] = True
        record = before.judged(place[judged], excluded[judged], self.memory)
        back = (before.left > 0) & (record.left == 0)
        record.good[back] = record.bad[back] = 0.0
        record.probation[back] = self.probation
        reputation = expected_good(record.good, record.bad)
        failed = np.zeros(len(names), np.bool_)
        failed[place[judged]] = excluded[judged] & (before.probation[place[judged]] > 0)
        failed |= reputation < self.threshold
        free = max(self._most(n) - int(np.count_nonzero(record.left)), 0)
        candidates = np.flatnonzero(failed & (record.left == 0) & ~back).tolist()
        worst = _worst_first(candidates, reputation, names)[:free]
        record.left[worst] = self.rounds
        record.probation[worst] = 0
        return {**as_state(names, away), **record.as_state(), **Wrapper.learned(self, verdict, sites, state, made)}

    def _most(self, n: int) -> int:
        f = self.rule.byzantine(n)
        return self.rule.tolerates(n) if f is None else f

    def _kept_out(
        self, record: "_Record", names: Sequence[str], place: npt.NDArray[np.intp], n: int
    ) -> npt.NDArray[np.intp]:
        """The rows in quarantine, at most `f` of this round's: of more, those with the lowest reputation."""
        reputation = expected_good(record.good, record.bad)
        row_of = {int(site): row for row, site in enumerate(place)}
        quarantined = [site for site in np.flatnonzero(record.left > 0).tolist() if site in row_of]
        worst = _worst_first(quarantined, reputation, names)[: self._most(n)]
        return np.array(sorted(row_of[site] for site in worst), np.intp)


def expected_good(good: Floats, bad: Floats) -> Floats:
    """The mean of the beta distribution after so much good and bad evidence, with a uniform prior.

    >>> expected_good(np.array([0.0, 7.0]), np.array([0.0, 1.0])).tolist()
    [0.5, 0.8]
    """
    reputation: Floats = (good + 1.0) / (good + bad + 2.0)
    return reputation


def _worst_first(sites: Iterable[int], reputation: Floats, names: Sequence[str]) -> list[int]:
    return sorted(sites, key=lambda site: (float(reputation[site]), names[site]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Record:
    """By site: the evidence for and against it, and how many rounds of quarantine and of probation are left."""

    good: Floats
    bad: Floats
    left: npt.NDArray[np.int64]
    probation: npt.NDArray[np.int64]

    @classmethod
    def of(cls, state: State, kept: npt.NDArray[np.intp], k: int) -> "_Record":
        """The record in a state of the sites that are `kept`, with new ones up to `k`; copies."""

        def numbers(name: str) -> Floats:
            known = state[name].astype(np.float64)[kept] if name in state else np.empty(0)
            return np.append(known, np.zeros(k - len(known)))

        return cls(
            good=numbers(_GOOD),
            bad=numbers(_BAD),
            left=numbers(_LEFT).astype(np.int64),
            probation=numbers(_PROBATION).astype(np.int64),
        )

    def judged(self, sites: npt.NDArray[np.intp], excluded: npt.NDArray[np.bool_], memory: float) -> "_Record":
        """One round later, with the verdict on some sites."""
        good, bad, probation = self.good.copy(), self.bad.copy(), self.probation.copy()
        good[sites] = memory * good[sites] + ~excluded
        bad[sites] = memory * bad[sites] + excluded
        probation[sites] = np.maximum(probation[sites] - 1, 0)
        return _Record(good=good, bad=bad, left=np.maximum(self.left - 1, 0), probation=probation)

    def as_state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {_GOOD: self.good, _BAD: self.bad, _LEFT: self.left, _PROBATION: self.probation}
