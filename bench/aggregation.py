"""How long the robust rules take, beside ByzFL's and Flower's on the same updates, in one run.

    python bench/aggregation.py [--sizes 20x1000000 50x1000000] [--rules krum median] [--json FILE]

`ours` is the vector alone, which is what the peers give; `verdict` is the full `aggregate` call. Times are the best of
`--repeat` in milliseconds; a call that would take longer than `--patience` seconds, judged by the peer's last time on
fewer rows or columns, is not made. `passes` is ours over the time of one read of the table by as many threads. `MB` is
the largest memory of `aggregate` besides the rows. Flower's Message API starts from replies: its time is given less
that of reading every array in them once. ByzFL is put into a temporary folder with pip for the run, or taken from
`--byzfl FOLDER`. The defaults take about five minutes on two idle cores.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from hedgerow.aggregation import RULES, Rule, aggregate, make_rule
from hedgerow.aggregation.arrays.table import InMemory
from hedgerow.aggregation.arrays.threads import allowed, in_order
from hedgerow.aggregation.judge import combine
from hedgerow.errors import HedgerowError

if TYPE_CHECKING:
    from bench.peers.robust_rules import Peer

Rows = npt.NDArray[np.float32]
T = TypeVar("T")

SIZES = ("20x100000", "50x100000", "200x100000", "20x1000000", "50x1000000", "20x10000000")
ENOUGH = 1.0  # seconds after which no time is taken again
HUGE = 100_000_000  # numbers above which only the first rules are timed, unless others are asked for
CHAINS = ("nnm+trimmed-mean", "nnm+krum", "arc+nnm+trimmed-mean")
FIRST = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "centered-clipping", *CHAINS)
TARGETS: Mapping[str, Mapping[str, float]] = {
    "median": {"": 8},
    "trimmed-mean": {"ByzFL numpy": 1.5, "": 10},
    "krum": {"": 6},
    "multi-krum": {"": 6},
    "geometric-median": {"": 5},
    "centered-clipping": {"": 5},
    "nnm+trimmed-mean": {"": 7},
    "bulyan": {"Flower": 8, "Flower legacy": 20},
}
"""Times faster than a peer, or than every peer without a line of its own, for 2e7 numbers and more."""


@dataclass(slots=True)
class Times:
    """The best times so far, and for each peer and rule the size at which it was last measured."""

    repeat: int
    patience: float
    last: dict[tuple[str, str], tuple[int, int, float]] = field(default_factory=dict)

    def best(self, prepare: Callable[[], T], work: Callable[[T], object]) -> float:
        """Shortest time of `work` in milliseconds, without what `prepare` takes; fewer tries of what takes long."""
        shortest, spent, tries = float("inf"), 0.0, 0
        while tries < self.repeat and spent < ENOUGH:
            given = prepare()
            start = time.perf_counter()
            work(given)
            took = time.perf_counter() - start
            shortest, spent, tries = min(shortest, took), spent + took, tries + 1
        return shortest * 1e3

    def of_peer(self, rule: str, name: str, peer: "Peer", X: Rows) -> float | None:
        """The peer's time, or None if it would take too long."""
        n, d = X.shape
        if (rule, name) in self.last:
            rows, width, took = self.last[rule, name]
            if took * max(n / rows, 1) ** peer.power * (d / width) > self.patience * 1e3:
                return None
        took = self.best(lambda: peer.prepare(X), peer.run)
        self.last[rule, name] = (n, d, took)
        return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="ROWSxCOLUMNS")
    parser.add_argument("--rules", nargs="+", metavar="RULE", help="names of jobs, steps before them joined with +")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--patience", type=float, default=6.0, metavar="SECONDS")
    parser.add_argument("--byzfl", type=Path, metavar="FOLDER", help="a folder that has the byzfl package")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found from wherever this was started
    from bench.peers.robust_rules import byzfl_rules, flower_rules, get_byzfl

    logging.getLogger("flwr").setLevel(logging.ERROR)

    times = Times(options.repeat, options.patience)
    found: dict[str, object] = {"threads": allowed(), "load": os.getloadavg()[0]}
    print(f"{allowed()} threads, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}; times in ms")
    with tempfile.TemporaryDirectory() as scratch:
        byzfl = options.byzfl or Path(scratch)
        why = "" if options.byzfl else get_byzfl(byzfl)
        if why:
            print(f"ByzFL is SKIPPED: {why}")
        for size in options.sizes:
            n, d = map(int, size.split("x"))
            X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
            peers = flower_rules(n, n // 5)
            if not why:
                for rule, others in byzfl_rules(byzfl, n, n // 5).items():
                    peers[rule] = {**peers.get(rule, {}), **others}
            names = options.rules or (list(FIRST) if n * d > HUGE else every_rule())
            found[size] = measured(X, names, peers, times)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def every_rule() -> list[str]:
    """Those with targets first, then whatever else jobs may name."""
    return [*FIRST, *(name for name in RULES if name not in FIRST)]


def measured(
    X: Rows, names: list[str], peers: "Mapping[str, Mapping[str, Peer]]", times: Times
) -> dict[str, dict[str, object]]:
    """All figures for one table, printed as they come."""
    from bench.peers.robust_rules import read_each, replies

    n, d = X.shape
    one_read = times.best(
        lambda: X, lambda X: list(in_order(np.sum, (b for _, b in InMemory(X).spans()), numbers=n * d))
    )
    print(f"\n{n} rows of {d} float32, f = {n // 5}; one read takes {one_read:.1f}")
    columns = ("ours", "passes", "verdict", "MB")
    print(f"{'':22}" + "".join(f"{name:>9}" for name in columns) + "  peers, and how many times as fast ours is")
    table: dict[str, dict[str, object]] = {}
    for name in names:
        rule = rule_of(name, n // 5)
        figures: dict[str, object] = {}
        try:
            figures["verdict"] = verdict = times.best(lambda: X, lambda X: full(X, rule))
        except HedgerowError as error:
            print(f"{name:22} {error.code}: not for these rows", flush=True)
            continue
        try:
            ours = times.best(lambda: X, lambda X: combine(X, rule))
        except HedgerowError:  # it needs more than rows
            ours = verdict
        figures |= {"ours": ours, "passes": ours / one_read, "megabytes": extra_megabytes(X, rule)}
        line = f"{name:22}{ours:9.1f}{ours / one_read:9.1f}{verdict:9.1f}{figures['megabytes']:9.0f} "
        reading: float | None = None
        missed = []
        for peer, system in peers.get(name, {}).items():
            took = times.of_peer(name, peer, system, X)
            figures[peer] = took
            if took is None:
                line += f" {peer}: not tried;"
                continue
            if system.messages:
                if reading is None:
                    reading = times.best(lambda: replies(X), read_each)
                    figures["reading replies"] = reading
                took = max(took - reading, 0.0)
                figures[f"{peer}, read"] = took
            line += f" {peer} {took:.0f} ({took / ours:.1f}x);"
            goals = TARGETS.get(name, {})
            goal = goals.get(peer, goals.get(""))
            if goal is not None and n * d >= 2e7 and took < goal * ours:
                missed.append(f"{peer} {goal:g}x")
        table[name] = figures
        print(line + (f" MISSED {', '.join(missed)}" if missed else ""), flush=True)
    return table


def rule_of(name: str, f: int) -> Rule:
    """The rule of a job's `before+...+rule`."""
    *steps, last = name.split("+")
    return make_rule(last, byzantine=f, before="+".join(steps) or "none") if steps else make_rule(last, byzantine=f)


def full(X: Rows, rule: Rule) -> object:
    """One call with everything that any rule may ask for."""
    rng = np.random.default_rng(0)
    sites = [f"site-{row}" for row in range(len(X))]
    return aggregate(X, rule, sites=sites, reference=X[0], rng=rng)


def extra_megabytes(X: Rows, rule: Rule) -> float:
    """The largest memory of one call besides the rows."""
    tracemalloc.start()
    full(X, rule)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


if __name__ == "__main__":
    main()
