"""Draws per second of the noise that is released, beside numpy's and torch's generators, which must not be.

    python bench/noise.py [--draws 2000000] [--repeat 3] [--dimension 1000000]     # about ten seconds on one core

Every generator draws the same number on one thread, the best of the repeats counts, and the last column is its rate
next to numpy's Gaussian of the same run. Tables are built before the clock starts; their cost is printed apart. The
second part encodes one update of a million numbers for a secure sum and decodes the sum.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import torch

from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.discrete import (
    decode,
    discrete_gaussian,
    discrete_gaussian_exact,
    discrete_gaussian_table,
    encode,
    plan_grid,
    skellam,
    skellam_table,
)

EXACT_SHARE = 1000  # the one-by-one sampler draws this many times fewer


def seconds(work: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def generators(draws: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Name → what to time, and how many numbers it draws."""
    numpy_rng, source, simulated = np.random.default_rng(), OsRandomness(), SimulatedRandomness(7)
    few = max(1, draws // EXACT_SHARE)
    rows: dict[str, tuple[Callable[[], object], int]] = {
        "numpy normal": (lambda: numpy_rng.standard_normal(draws), draws),
        "torch.randn": (lambda: torch.randn(draws), draws),
        "simulated Gaussian": (lambda: simulated.gaussian((draws,), 1.0), draws),
        "released Gaussian (4 draws)": (lambda: source.gaussian((draws,), 1.0), draws),
        "numpy Poisson difference, var 1e6": (
            lambda: numpy_rng.poisson(5e5, draws) - numpy_rng.poisson(5e5, draws),
            draws,
        ),
    }
    for variance in (1e2, 1e4, 1e6, 2.0**28):
        rows[f"released Skellam, var {variance:.3g}"] = (partial(skellam, variance, draws, source), draws)
    for variance in (1e2, 1e6):
        drawing = partial(discrete_gaussian, variance, draws, source)
        rows[f"released discrete Gaussian, var {variance:.3g}"] = (drawing, draws)
    rows["discrete Gaussian by rejection, var 1e6"] = (
        lambda: discrete_gaussian_exact(Fraction(10**6), few, source),
        few,
    )
    rows["64-bit words"] = (lambda: source.words(draws), draws)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dimension", type=int, default=1_000_000)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)

    print("tables, built once a variance")
    for name, build in (("Skellam", skellam_table), ("discrete Gaussian", discrete_gaussian_table)):
        for variance in (1e2, 1e4, 1e6, 2.0**28):
            start = time.perf_counter()
            cells = len(build(variance).kept)
            print(f"  {name:20} var {variance:<9.3g} {1e3 * (time.perf_counter() - start):8.1f} ms {cells:8d} cells")

    print(f"{'generator':42} {'M draws/s':>10} {'ns/draw':>9} {'of numpy':>9}")
    reference = 0.0
    for name, (work, draws) in generators(chosen.draws).items():
        rate = draws / seconds(work, chosen.repeat)
        reference = reference or rate
        print(f"{name:42} {rate / 1e6:10.3f} {1e9 / rate:9.1f} {rate / reference:9.3f}")

    source = OsRandomness()
    update = np.random.default_rng(7).normal(size=chosen.dimension).astype(np.float32)
    grid = plan_grid(
        dimension=chosen.dimension, clients=32, honest=24, groups=1000, clip=1.0, epsilon=8.0, delta=1e-6, steps=1
    )
    sent = encode(update, grid=grid, rotation=b"bench", bits=source).numbers
    for name, step in (
        ("encode", lambda: encode(update, grid=grid, rotation=b"bench", bits=source)),
        ("decode", lambda: decode(sent, grid=grid, rotation=b"bench")),
    ):
        print(f"{name} {chosen.dimension} numbers, {grid.bits} bits: {1e3 * seconds(step, chosen.repeat):.1f} ms")


if __name__ == "__main__":
    main()
