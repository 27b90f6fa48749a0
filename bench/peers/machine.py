"""The machine's own pace: float32 matrix products of 1024 × 1024 per second, in operations, and what is installed."""

import argparse
import importlib.metadata
import json
import os
import platform
import time

import torch

SIZE, SECONDS = 1024, 1.0


def rate(threads: int) -> float:
    """The best of a second's products, in operations per second: 2 · 1024³ a product."""
    torch.set_num_threads(threads)
    a, b, out = (torch.rand(SIZE, SIZE) for _ in range(3))
    best, deadline = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * SIZE**3 / best


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    cores = len(os.sched_getaffinity(0))
    print(
        json.dumps(
            {
                "cores": cores,
                "machine": platform.machine(),
                "python": platform.python_version(),
                "versions": {name: importlib.metadata.version(name) for name in ("torch", "numpy", "flwr", "opacus")},
                "one_thread": rate(1),
                "all_threads": rate(cores),
                "load": os.getloadavg()[0],
            }
        )
    )


if __name__ == "__main__":
    main()
