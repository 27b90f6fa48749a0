"""How a run is going, from its events: a line that is rewritten on a terminal, lines one below the other elsewhere."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from hedgerow.errors import CODES
from hedgerow.pace import Pace, span
from hedgerow.statusline import Screen, resident_memory

__all__ = ["Progress"]

SHOWN = 6  # sites named in a line for one reason
REASONS = 3  # reasons told in a line
ALL_TOLD = 200  # rounds up to which each has its line
EXPECTED_LINES = 180  # about so many lines tell a longer run
FIRST_TOLD = 10  # rounds of a longer run that have their line, the first ones
VOIDS_TOLD = 20  # rounds without a model that are told one by one
LEFT_OUT = "E310"  # by the rule, which leaves somebody out also when nobody attacks: no accusation
SILENT = "E309"

SPENDING = "budgets-spent"  # may stand between a round's end and its evaluation

PATHS = {"kernel": "compiled kernel", "layers": "stacked layers", "vmap": "vmap", "one-by-one": "one by one"}

Event = Mapping[str, Any]


class Progress:
    """A listener that tells how a run goes.

    On a terminal one line is rewritten at most ten times a second: the round, the main metric, ε, rounds a second,
    the time left, this process's memory, the simulated time. What is worth keeping stays above it. Elsewhere each
    round has its line, and a run of more than 200 rounds about 200: the first, the last, some at regular distances,
    and each that leaves somebody out for a reason that is new.

    A reader that leaves (`hedgerow sim | head -1`) ends the printing, not the run.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], int | None] = resident_memory,
        width: Callable[[], int] | None = None,
    ) -> None:
        self._screen = Screen(stream, live=live, clock=clock, width=width)
        self._memory = memory
        self._pace = Pace(clock)
        self._rounds = 0
        self._number: int = 0
        self._line: str | None = None  # a closed round's, until somebody has evaluated it
        self._held = ""  # the line of the last round that was not told
        self._told = False
        self._news = False
        self._not_counted = ""
        self._metric = ""
        self._simulated = ""
        self._codes: set[str] = set()
        self._voids = 0
        self._limits: dict[str, float | None] = {}
        self._spent: tuple[float, float | None] | None = None

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "evaluated":
            self._metric = _metrics(event)
        if kind == "evaluated" and self._line is not None:
            self._tell_round(f"{self._line}  {self._metric}{self._budget()}{self._not_counted}")
        else:
            if kind != SPENDING:
                self._flush()
            self._hear(kind, event)
        if self._number < self._rounds:
            self._screen.show(self._status)

    def _hear(self, kind: str, event: Event) -> None:
        if kind == "run-started":
            self._screen.print(_headline(event))
        elif kind == "run-resumed":
            self._pace.forget()
            self._told = False
            self._screen.print(f"resumed after round {event['after_round']}")
        elif kind == "engine-chosen":
            self._screen.print(_engine(event))
        elif kind == "round-started":
            self._rounds = event["rounds"]
            self._pace.reached(event["round"] - 1)
        elif kind == "budget-planned":
            self._limits[event["site"]] = event["limit"]
        elif kind == SPENDING and event["epsilon"]:
            spent = event["epsilon"]
            site = max(spent, key=lambda name: math.inf if spent[name] is None else spent[name])
            self._spend(spent[site], self._limits.get(site))
        elif kind == "round-closed":
            self._reach(event)
            width = len(str(self._rounds))
            self._line = f"round {event['round']:>{width}}/{self._rounds}"
            self._not_counted = _not_counted(event)
        elif kind == "round-voided":
            self._reach(event)
            self._tell_void(event)
        elif kind == "leakage-started":
            self._end_of_rounds()
            self._measuring(event)
        elif kind == "leakage-measured" and event["result"]["scope"] == "all sites":
            self._end_of_rounds()
            self._screen.print(_leakage(event["result"]))
        elif kind == "gate-checked":
            self._end_of_rounds()
            self._screen.print(f"gate {event['text']}")
        elif kind == "run-finished":
            self._end_of_rounds()
            if self._voids > VOIDS_TOLD:
                self._screen.print(f"{self._voids:,} rounds in all released nothing")
            if event["status"] != "finished":
                self._screen.print(
                    f"{event['status']} after round {event['rounds']}: {event['code']} {event['reason']}"
                )

    def _reach(self, event: Event) -> None:
        """A round is over."""
        self._number = event["round"]
        self._pace.reached(self._number)
        clock = event.get("clock")
        self._simulated = f"simulated {span(clock)}" if clock is not None else ""
        ignored = {LEFT_OUT} if self._screen.live else set()
        new = {entry["code"] for entry in event["rejected"]} - self._codes - ignored
        self._news = bool(new)
        self._codes |= new

    def _flush(self) -> None:
        """The line of a round that nobody evaluated."""
        if self._line is not None:
            self._tell_round(f"{self._line}{self._budget()}{self._not_counted}")

    def _tell_round(self, line: str) -> None:
        self._line = None
        last = self._number == self._rounds
        if last:
            self._screen.clear()
        if last or self._news or (not self._screen.live and (not self._told or self._spaced())):
            if self._rounds > ALL_TOLD and not self._screen.live:
                line += "".join(f"  {text}" for text in (*self._pace.words(self._rounds), self._size()) if text)
            self._screen.print(line)
            self._told, self._held = True, ""
        else:
            self._held = line

    def _tell_void(self, event: Event) -> None:
        self._voids += 1
        if self._number == self._rounds:
            self._tell_held()
        if self._news or self._voids <= VOIDS_TOLD or (not self._screen.live and self._spaced()):
            self._screen.print(
                f"round {event['round']} released nothing: {event['code']} {event['reason']}{_not_counted(event)}"
            )

    def _spaced(self) -> bool:
        """Whether a round is one of those that tell a long run."""
        if self._rounds <= ALL_TOLD or self._number <= FIRST_TOLD:
            return True
        rough = self._rounds / EXPECTED_LINES
        power: int = 10 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        return self._number % step == 0

    def _tell_held(self) -> None:
        """No other round follows, so the last one that has no line gets it now."""
        self._screen.clear()
        if self._held:
            self._screen.print(self._held)
        self._held = ""

    def _end_of_rounds(self) -> None:
        """What follows the rounds has begun, after the last one or because the run was stopped."""
        self._tell_held()
        self._rounds = 0

    def _measuring(self, event: Event) -> None:
        """What takes time now: on a terminal until the next line, elsewhere as a line that stays."""
        words = f"measuring membership inference on {event['records']:,} records of {event['sites']:,} sites"
        if self._screen.live:
            self._screen.show(lambda: [(10, words)])
        else:
            self._screen.print(words)

    def _status(self) -> list[tuple[int, str]]:
        """The words of the status line, the number first that says how much they matter."""
        rate, left = self._pace.words(self._rounds)
        metric, _, interval = self._metric.partition(" (")
        void = "" if not self._voids else "1 void round" if self._voids == 1 else f"{self._voids:,} void rounds"
        told = [
            (9, metric),
            (2, f"({interval}" if interval else ""),
            (6, self._budget().strip()),
            (1, void),
            (5, rate),
            (8, left),
            (4, self._size()),
            (3, self._simulated),
        ]
        return [(10, f"round {self._number}/{self._rounds}"), *told]

    def _size(self) -> str:
        held = self._memory()
        return "" if held is None else f"{held / 1e9:.1f} GB" if held >= 1e9 else f"{held / 1e6:.0f} MB"

    def _spend(self, epsilon: float | None, limit: float | None) -> None:
        """The budget of the site that has spent the most; a number that JSON does not have bounds nothing."""
        told = math.inf if epsilon is None else epsilon
        if self._spent is None or told >= self._spent[0]:
            self._spent = told, limit

    def _budget(self) -> str:
        if self._spent is None:
            return ""
        epsilon, limit = self._spent
        if limit is None:
            return f"  ε {epsilon:.2f}"
        return f"  ε {epsilon:.2f} of {limit:g}" if limit >= 0.1 else f"  ε {epsilon:.2g} of {limit:g}"


def _headline(event: Event) -> str:
    job, scenario = event["job"], event["scenario"]
    unit = job["privacy.unit"]
    private = (
        "no differential privacy"
        if unit == "none"
        else f"ε ≤ {job['privacy.epsilon']:g} per {unit} at δ = {job['privacy.delta']:g}"
        + (" (simulated, so not a DP release)" if scenario else "")
    )
    before = "" if job["aggregate.before"] == "none" else f" after {job['aggregate.before']}"
    parts = [
        f"{event['task']}: {event['sites']:,} sites, {job['rounds']} rounds, {event['parameters']:,} parameters",
        private,
        f"{job['aggregate.rule']}{before}, f = {job['aggregate.byzantine']}",
    ]
    if scenario.get("attackers"):
        who = "1 site attacks" if scenario["attackers"] == 1 else f"{scenario['attackers']} sites attack"
        parts.append(f"{who} ({scenario['attack']})")
    return "\n".join([f"run {event['run']}, engine {event['engine']}", *(f"  {part}" for part in parts)])


def _engine(event: Event) -> str:
    """Which path trains the sites; the slow one is told with its reason."""
    path, reason = event["path"], event["reason"]
    if path == "one-by-one":
        private = f" ({event['private']})" if event["private"] else ""
        return f"notice: engine {event['engine']} trains one site after another{private}" + (
            f": {reason}" if reason else ""
        )
    words = ", ".join(word for word in (PATHS.get(path, path), event["private"]) if word)
    workers = "1 worker" if event["workers"] == 1 else f"{event['workers']} workers"
    device = "" if event["device"] in ("", "cpu") else f" on {event['device']}"
    tried = "" if event["difference"] is None else f" (difference to one by one {event['difference']:.0e})"
    return f"engine {event['engine']}: {words}; {workers}{device}{tried}"


def _metrics(event: Event) -> str:
    name, value = next(iter(event["metrics"].items()))
    if value is None:
        return f"{name} not finite"
    interval = "" if event["low"] is None else f" ({event['low']:.2f} to {event['high']:.2f})"
    backdoor = event["metrics"].get("backdoor_success")
    return f"{name} {value:.3f}{interval}" + ("" if backdoor is None else f"  backdoor {backdoor:.3f}")


def _not_counted(event: Event) -> str:
    """Who did not count, by reason: the rule's exclusions, then bad updates and silent sites; many as a count."""
    by_code: dict[str, list[str]] = {}
    for entry in event["rejected"]:
        by_code.setdefault(entry["code"], []).append(entry["site"])
    asked = len(event.get("accepted", ())) + len(event["rejected"])
    words = [f"left out {_some(by_code.pop(LEFT_OUT))}"] if LEFT_OUT in by_code else []
    if len(by_code.get(SILENT, ())) > SHOWN:
        words.append(f"{len(by_code.pop(SILENT)):,} of {asked:,} silent")
    commonest = sorted(by_code, key=lambda code: (-len(by_code[code]), code))
    words += [f"rejected {_some(by_code[code])} ({CODES.get(code, code)})" for code in commonest[:REASONS]]
    others = sum(len(by_code[code]) for code in commonest[REASONS:])
    words += [f"and {others:,} for other reasons"] if others else []
    if suspects := event.get("suspects"):
        words.append(f"{len(suspects)} look hostile, more than the rule expects")
    return "".join(f"  {word}" for word in words)


def _some(sites: Sequence[str]) -> str:
    more = f" and {len(sites) - SHOWN:,} more" if len(sites) > SHOWN else ""
    return f"{' '.join(sites[:SHOWN])}{more}"


def _leakage(result: Event) -> str:
    auc = result["auc"]
    return (
        f"membership inference ({result['attack']}, {result['adversary']}): "
        f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}); 0.5 is guessing"
    )
