"""A sentence in the job that decides whether a model may be released.

>>> Gate.parse("tpr@0.01 <= 0.03")
Gate(metric='tpr', fpr=0.01, limit=0.03)
>>> Gate.parse("auc <= 0.55").check([]).text
'auc <= 0.55: failed, nothing was measured'
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hedgerow.errors import Misconfigured
from hedgerow.privacy.leakage.membership import Membership

__all__ = ["Gate", "GateResult"]

_NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
_SENTENCE = re.compile(rf"\s*(?P<metric>auc|tpr)(?:@(?P<fpr>{_NUMBER}))?\s*<=\s*(?P<limit>{_NUMBER})\s*")
_EXAMPLE = 'write it like "tpr@0.01 <= 0.03" or "auc <= 0.55"'


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The gate's verdict: `measured` is the worst upper end found, or None if any figure was missing."""

    passed: bool
    measured: float | None
    limit: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One limit on a measured leak. `fpr` belongs to the metric "tpr" and is None for "auc".

    Raises: Misconfigured E103 if the metric is unknown or a number is out of range.
    """

    metric: str
    fpr: float | None = None
    limit: float

    def __post_init__(self) -> None:
        known = (self.metric == "auc" and self.fpr is None) or (
            self.metric == "tpr" and self.fpr is not None and 0.0 < self.fpr < 1.0
        )
        if not known or not 0.0 <= self.limit <= 1.0:
            raise _malformed(str(self))

    def __str__(self) -> str:
        return f"{self.metric} <= {self.limit:g}" if self.fpr is None else f"tpr@{self.fpr:g} <= {self.limit:g}"

    @classmethod
    def parse(cls, sentence: str) -> "Gate":
        """Read one limit. Raises Misconfigured E103, with an example, for anything else."""
        match = _SENTENCE.fullmatch(sentence)
        if match is None:
            raise _malformed(sentence)
        fpr = match["fpr"]
        return cls(metric=match["metric"], fpr=None if fpr is None else float(fpr), limit=float(match["limit"]))

    def check(self, results: Sequence[Membership]) -> GateResult:
        """Judge the upper ends of the intervals of all results; the worst one decides.

        It fails closed: no result, a rate that was not measured, too few held-out records to resolve it, or a figure
        that is not a number fails the gate, and the text says which. Where the bootstrap is rough (fewer than ten
        held-out records decide the threshold) the text says so.
        """
        if not results:
            return self._failed("nothing was measured")
        worst, where, rough = -math.inf, "", ""
        for result in results:
            if self.fpr is None:
                high, caution = result.auc.high, ""
            else:
                at = next((at for at in result.tpr if at.fpr == self.fpr), None)
                if at is None:
                    return self._failed(f"the rate was not measured for {result.scope}")
                if not at.resolvable:
                    return self._failed(f"too few held-out records for {result.scope} ({result.nonmembers})")
                high, caution = at.interval.high, at.note
            if not math.isfinite(high):
                return self._failed(f"the figure for {result.scope} is not a number")
            if high > worst:
                worst, where, rough = high, result.scope, caution
        passed = worst <= self.limit
        verdict = "passed" if passed else "failed"
        text = f"{self}: {verdict}, at most {worst:.3g} ({where})"
        return GateResult(passed=passed, measured=worst, limit=self.limit, text=f"{text}. {rough}" if rough else text)

    def _failed(self, reason: str) -> GateResult:
        return GateResult(passed=False, measured=None, limit=self.limit, text=f"{self}: failed, {reason}")


def _malformed(sentence: str) -> Misconfigured:
    return Misconfigured("E103", f"'{sentence}' is not a limit on a leak", place="leakage.gate", hint=_EXAMPLE)
