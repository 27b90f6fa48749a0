"""One line per round, from the run's events."""

import sys
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["Progress"]

SHOWN = 6  # rejected sites named in a line


class Progress:
    """A listener that prints a run's start, one line per round, and what was measured at its end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._rounds = 0
        self._line: str | None = None
        self._spent: dict[str, tuple[float, float]] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "evaluated" and self._line is not None:
            self._print(f"{self._line}  {_metrics(event)}{self._budget()}{self._rejected}")
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
            self._rejected = _rejected(event)
        elif kind == "round-voided":
            self._print(f"round {event['round']} released nothing: {event['code']} {event['reason']}{_rejected(event)}")
        elif kind == "leakage-measured" and event["result"]["scope"] == "all sites":
            self._print(_leakage(event["result"]))
        elif kind == "gate-checked":
            self._print(f"gate {event['gate']}: {'passed' if event['passed'] else 'FAILED'}: {event['text']}")
        elif kind == "run-finished" and event["status"] != "finished":
            self._print(f"{event['status']} after round {event['rounds']}: {event['code']} {event['reason']}")

    def _flush(self) -> None:
        """The line of a round that nobody evaluated."""
        if self._line is not None:
            self._print(f"{self._line}{self._budget()}{self._rejected}")
            self._line = None

    def _budget(self) -> str:
        if not self._spent:
            return ""
        epsilon, limit = max(self._spent.values())
        return f"  ε {epsilon:.2f} of {limit:g}"

    def _print(self, text: str) -> None:
        print(text, file=self._stream or sys.stdout, flush=True)


def _headline(event: Mapping[str, Any]) -> str:
    job, scenario = event["job"], event["scenario"]
    private = (
        f"ε ≤ {job['privacy.epsilon']:g} per record at δ = {job['privacy.delta']:g}"
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
    return "\n".join([f"run {event['run']} ({event['engine']})", *(f"  {part}" for part in parts)])


def _metrics(event: Mapping[str, Any]) -> str:
    name, value = next(iter(event["metrics"].items()))
    if value is None:
        return f"{name} not finite"
    interval = "" if event["low"] is None else f" ({event['low']:.2f} to {event['high']:.2f})"
    return f"{name} {value:.3f}{interval}"


def _rejected(event: Mapping[str, Any]) -> str:
    sites = [entry["site"] for entry in event["rejected"]]
    if not sites:
        return ""
    more = f" and {len(sites) - SHOWN} more" if len(sites) > SHOWN else ""
    return f"  rejected {' '.join(sites[:SHOWN])}{more}"


def _leakage(result: Mapping[str, Any]) -> str:
    auc = result["auc"]
    return (
        f"membership inference ({result['attack']}, {result['adversary']}): "
        f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}); 0.5 is guessing"
    )
