"""A sentence that decides whether a job's own defence held, for a pipeline that must stop where it did not.

>>> Gate.parse("worst.accuracy >= 0.80")
Gate(measure='worst.accuracy', limit=0.8)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from hedgerow.errors import Misconfigured
from hedgerow.report.redteamrows import Judged, WorstCase

__all__ = ["BACKDOOR", "Gate"]

SENTENCE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*([<>=!]+)\s*(\S.*?)\s*")
NUMBER = re.compile(r"\d*\.?\d+(?:[eE][+-]?\d+)?")
BACKDOOR = "backdoor.success"
SENSE: Mapping[str, str] = {"worst.accuracy": ">=", "clean.cost": "<=", BACKDOOR: "<="}
EXAMPLE = 'write for example "worst.accuracy >= 0.80", "clean.cost <= 0.015" or "backdoor.success <= 0.05"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One limit on what the battery does to the job's own defence.

    `worst.accuracy` is the lowest final accuracy of any run under attack: every attack, every number of hostile sites,
    every split, every seed. `clean.cost` is the most accuracy that the defence costs beside the plain mean where nobody
    attacks, as a share, of any seed; `backdoor.success` is the highest success of any backdoor.
    """

    measure: str
    limit: float

    def __str__(self) -> str:
        return f"{self.measure} {SENSE[self.measure]} {self.limit:g}"

    @classmethod
    def parse(cls, sentence: str) -> Gate:
        """Read one limit.

        Raises:
            Misconfigured: E103 for anything else, with what is wrong in it.
        """
        match = SENTENCE.fullmatch(sentence)
        if match is None:
            raise _wrong(f"'{sentence}' is no gate", EXAMPLE)
        measure, relation, number = match.groups()
        if measure not in SENSE:
            near = get_close_matches(measure.lower(), SENSE, 1, 0.6)
            hint = f"did you mean '{near[0]}'?" if near else "the measures are " + ", ".join(SENSE)
            raise _wrong(f"a gate cannot judge '{measure}'", hint)
        if relation != SENSE[measure]:
            raise _wrong(
                f"'{relation}' in '{sentence}' would pass what should fail"
                if relation in ("<=", ">=")
                else f"a gate has no '{relation}'",
                f"write {measure} {SENSE[measure]} {number}",
            )
        if not NUMBER.fullmatch(number) or not 0 <= float(number) <= 1:
            raise _wrong(f"'{number}' is no share from 0 to 1", EXAMPLE)
        return cls(measure=measure, limit=float(number))

    def check(self, cases: Sequence[WorstCase]) -> Judged:
        """Judge the cases of the job's own defence, by plain minimum and maximum over all runs: a few seeds make no
        interval that one could rely on.

        It fails closed: a run that is not done, a model that an attack destroyed, a case where the defence cannot be
        run, a run that was judged by nothing, or nothing measured fail the gate, and the text says which.
        """
        for each in cases:
            if each.case.unfit:
                return self._failed(f"against {each.case.f} hostile sites, {each.case.unfit}")
            if each.waiting:
                return self._failed(f"{each.waiting} runs are not done")
            if each.broken:
                run = each.broken[0]
                return self._failed(f"run {run.name} failed ({run.code})")
            if each.lost:
                run = each.lost[0]
                return self._failed(f"{run.settings['attack']} left no usable model (run {run.name})")
            if each.unmeasured:
                return self._failed(f"nobody measured the model of run {each.unmeasured[0].name}")
        return _JUDGED[self.measure](self, cases)

    def _failed(self, why: str) -> Judged:
        return Judged(passed=False, measured=None, text=f"{self}: failed, {why}")

    def _judged(self, measured: float, where: str, *, seeds: int) -> Judged:
        passed = measured >= self.limit if SENSE[self.measure] == ">=" else measured <= self.limit
        alone = "; one seed has no interval" if seeds == 1 else f"; the worst of {seeds} seeds"
        text = f"{self}: {'passed' if passed else 'failed'}, {measured:.3f} {where}{alone}"
        return Judged(passed=passed, measured=measured, text=text)


def _worst(gate: Gate, cases: Sequence[WorstCase]) -> Judged:
    other = next((each.metric for each in cases if each.metric and each.metric != "accuracy"), "")
    if other:
        return gate._failed(f"the runs are judged by '{other}', not by accuracy")
    values = [(each.value, each) for each in cases if each.value is not None]
    if len(values) < len(cases) or not values:
        return gate._failed("nothing was measured")
    value, case = min(values, key=lambda pair: pair[0])
    return gate._judged(value, f"by {case.attack} ({_place(case)})", seeds=len(case.by_seed))


def _clean(gate: Gate, cases: Sequence[WorstCase]) -> Judged:
    costs = [
        (max(each.costs.values()), each) for each in cases if each.costs and each.costs.keys() >= each.by_seed.keys()
    ]
    if len(costs) < len(cases) or not costs:  # a seed's own run or its plain mean is missing, or has no usable model
        return gate._failed("the cost where nobody attacks was not measured")
    cost, case = max(costs, key=lambda pair: pair[0])
    return gate._judged(cost, f"({_place(case)})", seeds=len(case.costs))


def _backdoor(gate: Gate, cases: Sequence[WorstCase]) -> Judged:
    values = [(each.backdoor, each) for each in cases if each.backdoor is not None]
    if len(values) < len(cases) or not values:
        return gate._failed(
            "no backdoor attack was run" + (f" in {len(cases) - len(values)} of the cases" if values else "")
        )
    untried = [run for each in cases for run in each.untried]
    if untried:
        return gate._failed(f"run {untried[0].name} does not tell how often its backdoor opens")
    value, case = max(values, key=lambda pair: pair[0])
    return gate._judged(value, f"by {case.backdoor_attack} ({_place(case)})", seeds=len(case.by_seed))


_JUDGED: Mapping[str, Callable[[Gate, Sequence[WorstCase]], Judged]] = {
    "worst.accuracy": _worst,
    "clean.cost": _clean,
    BACKDOOR: _backdoor,
}


def _place(case: WorstCase) -> str:
    return f"f = {case.case.f}, {case.case.split}"


def _wrong(message: str, hint: str) -> Misconfigured:
    return Misconfigured("E103", message, place="gate", hint=hint)
