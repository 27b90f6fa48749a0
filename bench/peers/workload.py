"""The job that all systems run, as a file of arrays that each of their processes reads, and how each one is timed.

The federation is made once, by Hedgerow's own split, so that every system trains on the same records at the same
sites. Reading needs numpy only: pfl-research runs in an environment without Hedgerow.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hedgerow.scenario import Scenario
    from hedgerow.task import PooledTask

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

BATCH, LR, MOMENTUM = 5, 0.1, 0.9
LAYERS = (64, 128, 10)
EPSILON, DELTA, CLIP, DP_BATCH = 8.0, 1e-4, 1.0, 15  # of the part that compares private training

__all__ = [
    "BATCH",
    "CLIP",
    "DELTA",
    "DP_BATCH",
    "EPSILON",
    "LAYERS",
    "LR",
    "MOMENTUM",
    "Workload",
    "peak_megabytes",
    "peer_arguments",
    "scenario_of",
    "task_of",
    "timed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A federation: training records in site order (site i has the next `sizes[i]`), records to evaluate on, rounds.

    `kind` is `digits` (as scikit-learn has them), `resampled` (as many as asked, drawn from them with noise) or
    `images` (resampled, as 1 × 8 × 8 for a convolution). `batch` is a mini-batch, or the expected one of a private job.
    """

    kind: str
    split: str
    rounds: int
    batch: int
    x: Array
    y: Array
    sizes: Array
    test_x: Array
    test_y: Array

    @property
    def sites(self) -> int:
        return len(self.sizes)

    @property
    def shares(self) -> list[tuple[Array, Array]]:
        ends = np.cumsum(self.sizes)[:-1]
        return list(zip(np.split(self.x, ends), np.split(self.y, ends), strict=True))

    @classmethod
    def make(cls, kind: str, *, records: int, sites: int, rounds: int, split: str, batch: int) -> Workload:
        from hedgerow.simulations import split as split_task

        task = task_of(kind, records)
        shares = split_task(task, scenario_of(sites, split)).shares
        pool, order = task.pool(), np.concatenate(shares)
        return cls(
            kind=kind,
            split=split,
            rounds=rounds,
            batch=batch,
            x=pool.train.x[order],
            y=pool.train.y[order],
            sizes=np.array([len(share) for share in shares]),
            test_x=pool.test.x,
            test_y=pool.test.y,
        )

    def save(self, path: Path) -> None:
        np.savez(path, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    @functools.cache
    def load(cls, path: str) -> Workload:
        with np.load(path) as arrays:
            return cls(
                kind=str(arrays["kind"]),
                split=str(arrays["split"]),
                rounds=int(arrays["rounds"]),
                batch=int(arrays["batch"]),
                **{name: arrays[name] for name in ("x", "y", "sizes", "test_x", "test_y")},
            )


def scenario_of(sites: int, split: str) -> Scenario:
    from hedgerow.scenario import Scenario

    return Scenario(sites=sites, split=split)


def task_of(kind: str, records: int) -> PooledTask:
    """The task that Hedgerow is given: digits, or `records` made from digits by drawing again and adding noise."""
    from hedgerow.task import Data, PooledTask, Split
    from hedgerow.tasks import digits, small_cnn

    plain = digits()
    if kind == "digits":
        return plain

    class Resampled(PooledTask):
        name = kind
        labels = plain.labels

        def __init__(self) -> None:
            rng, pool = np.random.default_rng(0), plain.pool()
            rows = rng.integers(len(pool.train), size=records)
            noisy = pool.train.x[rows] + rng.normal(0, 0.1, (records, LAYERS[0])).astype(np.float32)
            shape = (-1, 1, 8, 8) if kind == "images" else (-1, LAYERS[0])
            self._pool = Data(
                Split(np.clip(noisy, 0, 1).reshape(shape), pool.train.y[rows]),
                Split(pool.test.x.reshape(shape), pool.test.y),
            )

        def model(self) -> Any:
            return small_cnn(1, 8, 10) if kind == "images" else plain.model()

        def pool(self) -> Data:
            return self._pool

    return Resampled()


def timed(run: Callable[[Workload], tuple[float, Mapping[str, float]]], arguments: argparse.Namespace) -> None:
    """Run the file's workload and print a line of JSON: seconds of each run, final accuracy, peak memory.

    `run` returns the accuracy and any further figures; those of the median run are printed.
    """
    work = Workload.load(arguments.workload)
    if arguments.warm:
        run(replace(work, rounds=1))  # imports, first allocations and caches are no part of a run
    tried: list[tuple[float, float, Mapping[str, float]]] = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        accuracy, further = run(work)
        tried.append((time.perf_counter() - start, accuracy, further))
    middle = sorted(tried, key=lambda one: one[0])[(len(tried) - 1) // 2]
    print(
        json.dumps(
            {
                "seconds": statistics.median(one[0] for one in tried),
                "tried": [one[0] for one in tried],
                "accuracy": middle[1],
                "peak_mb": peak_megabytes(),
                **middle[2],
            }
        )
    )


def peer_arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workload")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm", action="store_true")
    return parser


def peak_megabytes() -> float:
    """The largest resident memory this process has had. Not `ru_maxrss`, which a new program inherits on Linux."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def main() -> None:
    """Write a workload and print what training it once takes, in floating-point operations."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--kind", required=True)
    parser.add_argument("--split", default="dirichlet:0.5")
    for name, default in (("records", 0), ("sites", None), ("rounds", None), ("batch", BATCH)):
        parser.add_argument(f"--{name}", type=int, default=default)
    work = Workload.make(**{key: value for key, value in vars(parser.parse_args()).items() if key != "path"})
    work.save(parser.parse_args().path)
    steps = int(np.ceil(work.sizes / work.batch).sum())
    print(json.dumps({"records": len(work.y), "steps": steps * work.rounds, "largest": int(work.sizes.max())}))


if __name__ == "__main__":
    main()
