"""One line per round, from the run's events."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from hedgerow.errors import CODES

__all__ = ["Progress"]

SHOWN = 6  # sites named in a line for one reason
REASONS = 3  # reasons told in a line
LEFT_OUT = "E310"  # by the rule, which leaves somebody out also when nobody attacks: no accusation


class Progress:
    """A listener that prints a run's start, one line per round, and what was measured at its end.

    A reader that leaves (`hedgerow sim | head -1`) ends the printing, not the run.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._rounds = 0
        self._line: str | None = None
        self._not_counted = ""
        self._spent: dict[str, tuple[float, float]] = {}
        self._heard = True

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "evaluated" and self._line is not None:
            self._print(f"{self._line}  {_metrics(event)}{self._budget()}{self._not_counted}")
            self._line = None
            return
        self._flush()
        if kind == "run-started":
            self._print(_headline(event))
        elif kind == "run-resumed":
            self._print(f"resumed after round {event['after_round']}")
        elif kind == "round-started":
            self._rounds = event["rounds"]
        elif kind == "budget-spent":
            self._spent[event["site"]] = (event["epsilon"], event["limit"])
        elif kind == "round-closed":
            width = len(str(self._rounds))
            self._line = f"round {event['round']:>{width}}/{self._rounds}"
            self._not_counted = _not_counted(event)
        elif kind == "round-voided":
            self._print(
                f"round {event['round']} released nothing: {event['code']} {event['reason']}{_not_counted(event)}"
            )
        elif kind == "leakage-measured" and event["result"]["scope"] == "all sites":
            self._print(_leakage(event["result"]))
        elif kind == "gate-checked":
            self._print(f"gate {event['text']}")
        elif kind == "run-finished" and event["status"] != "finished":
            self._print(f"{event['status']} after round {event['rounds']}: {event['code']} {event['reason']}")

    def _flush(self) -> None:
        """The line of a round that nobody evaluated."""
        if self._line is not None:
            self._print(f"{self._line}{self._budget()}{self._not_counted}")
            self._line = None

    def _budget(self) -> str:
        if not self._spent:
            return ""
        epsilon, limit = max(self._spent.values())
        return f"  ε {epsilon:.2f} of {limit:g}" if limit >= 0.1 else f"  ε {epsilon:.2g} of {limit:g}"

    def _print(self, text: str) -> None:
        if not self._heard:
            return
        try:
            print(text, file=self._stream or sys.stdout, flush=True)
        except BrokenPipeError:
            self._heard = False


def _headline(event: Mapping[str, Any]) -> str:
    job, scenario = event["job"], event["scenario"]
    private = (
        f"ε ≤ {job['privacy.epsilon']:g} per record at δ = {job['privacy.delta']:g}"
        + (" (simulated, so not a DP release)" if scenario else "")
        if job["privacy.unit"] == "record"
        else "no differential privacy"
    )
    before = "" if job["aggregate.before"] == "none" else f" after {job['aggregate.before']}"
    parts = [
        f"{event['task']}: {event['sites']} sites, {job['rounds']} rounds, {event['parameters']:,} parameters",
        private,
        f"{job['aggregate.rule']}{before}, f = {job['aggregate.byzantine']}",
    ]
    if scenario.get("attackers"):
        parts.append(f"{scenario['attackers']} sites attack ({scenario['attack']})")
    return "\n".join([f"run {event['run']}, engine {event['engine']}", *(f"  {part}" for part in parts)])


def _metrics(event: Mapping[str, Any]) -> str:
    name, value = next(iter(event["metrics"].items()))
    if value is None:
        return f"{name} not finite"
    interval = "" if event["low"] is None else f" ({event['low']:.2f} to {event['high']:.2f})"
    return f"{name} {value:.3f}{interval}"


def _not_counted(event: Mapping[str, Any]) -> str:
    """Who did not count, by reason: the rule's exclusions, then bad updates and silent sites."""
    by_code: dict[str, list[str]] = {}
    for entry in event["rejected"]:
        by_code.setdefault(entry["code"], []).append(entry["site"])
    words = [f"left out {_some(by_code.pop(LEFT_OUT))}"] if LEFT_OUT in by_code else []
    commonest = sorted(by_code, key=lambda code: (-len(by_code[code]), code))
    words += [f"rejected {_some(by_code[code])} ({CODES.get(code, code)})" for code in commonest[:REASONS]]
    others = sum(len(by_code[code]) for code in commonest[REASONS:])
    words += [f"and {others} for other reasons"] if others else []
    return "".join(f"  {word}" for word in words)


def _some(sites: Sequence[str]) -> str:
    more = f" and {len(sites) - SHOWN} more" if len(sites) > SHOWN else ""
    return f"{' '.join(sites[:SHOWN])}{more}"


def _leakage(result: Mapping[str, Any]) -> str:
    auc = result["auc"]
    return (
        f"membership inference ({result['attack']}, {result['adversary']}): "
        f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}); 0.5 is guessing"
    )
