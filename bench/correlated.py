"""What correlated noise saves, and what it costs: errors at equal ε, time a round, vectors to remember.

    python bench/correlated.py                       # about a minute
    python bench/correlated.py --dimension 100000    # a smaller model for the times

Errors are exact, not sampled: the rms noise in the models of a run of prefix sums, at ε = 4 and δ = 1e-5 for the whole
run. `gain` is how many times less of it than independent noise with the same participation; `poisson` is the gain over
independent noise on secret Poisson samples with as many expected participations, which needs a sampler that most
federations do not have (below 1: sampling wins). Times are the median of five rounds, as a multiple of drawing the
noise alone in the same process.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness
from hedgerow.privacy.correlated import Kind, NoiseStream, Plan, plan

EPSILON, DELTA = 4.0, 1e-5
PATTERNS = {  # what it is: rounds, rounds between two participations, participations
    "one epoch": (1000, 1, 1),
    "5 epochs": (1000, 200, 5),
    "10 epochs": (1000, 100, 10),
    "20 epochs": (400, 20, 20),
    "50 epochs": (500, 10, 50),
    "every round": (100, 1, 100),
}
CHOICES: tuple[tuple[str, Kind, dict[str, int]], ...] = (
    ("banded, 4 bands", "banded", {"bands": 4}),
    ("banded, 16 bands", "banded", {"bands": 16}),
    ("banded, 64 bands", "banded", {"bands": 64}),
    ("BLT, 2 buffers", "blt", {"buffers": 2}),
    ("BLT, 4 buffers", "blt", {"buffers": 4}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores")
    show_errors()
    show_times(options.dimension)


def show_errors() -> None:
    columns = f"{'noise':17} {'gain':>6} {'max':>6} {'poisson':>7} {'s':>6}"
    print(f"\n{'pattern':12} {'rounds':>6} {'apart':>5} {'times':>5}  {columns}")
    for name, (rounds, apart, times) in PATTERNS.items():
        for label, kind, size in CHOICES:
            if size.get("bands", 0) > apart and times > 1:
                continue
            began = time.perf_counter()
            chosen = planned(rounds, apart, times, kind, poisson_rate=times / rounds, **size)
            took = time.perf_counter() - began
            assert chosen.poisson_error is not None
            print(
                f"{name:12} {rounds:6} {apart:5} {times:5}  {label:17} {chosen.gain:6.2f} "
                f"{chosen.independent_error.max / chosen.error.max:6.2f} "
                f"{chosen.poisson_error.rms / chosen.error.rms:7.2f} {took:6.2f}"
            )


def show_times(dimension: int) -> None:
    print(f"\n{'d = ' + format(dimension, ','):17} {'vectors':>7} {'system':>7} {'seeded':>7} {'seeded, float32':>15}")
    for label, kind, size in CHOICES:
        chosen = planned(1000, 100, 10, kind, **size)
        ratios = [
            ratio(chosen, dimension, lambda t: OsRandomness(), np.float64),
            ratio(chosen, dimension, lambda t: SimulatedRandomness(1, t), np.float64),
            ratio(chosen, dimension, lambda t: SimulatedRandomness(1, t), np.float32),
        ]
        print(f"{label:17} {chosen.mechanism.memory:7} {ratios[0]:7.2f} {ratios[1]:7.2f} {ratios[2]:15.2f}")


def ratio(chosen: Plan, dimension: int, source: Callable[[int], Randomness], dtype: type) -> float:
    """The time of a round of correlated noise, as a multiple of the time of its draw."""
    stream = NoiseStream(chosen, dimension, source, clip=1.0, dtype=dtype)
    drawn_as = torch.float32 if dtype is np.float32 else torch.float64
    stream.next()  # the first round pays for the memory's pages
    rounds, draws = [], []
    for _ in range(5):
        rounds.append(seconds(stream.next))
        draws.append(seconds(lambda: source(1).gaussian((dimension,), 1.0, drawn_as)))
    return statistics.median(rounds) / statistics.median(draws)


def planned(rounds: int, apart: int, times: int, kind: Kind, **settings: float) -> Plan:
    return plan(
        rounds=rounds,
        min_separation=apart,
        max_participations=times,
        epsilon=EPSILON,
        delta=DELTA,
        kind=kind,
        **settings,  # type: ignore[arg-type]
    )


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
