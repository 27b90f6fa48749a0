"""How long the robust rules take, beside Flower's own strategies on the same replies, in one run.

    python bench/aggregation.py [--rows 20] [--columns 1000000] [--repeat 3]

Both sides start from the same reply messages: `ours` includes reading the arrays out of them, as Flower's time does.
`rule` is our plain function on the table of updates alone, `verdict` the full `aggregate` call. Times are the best of
`--repeat`, in milliseconds. `differ` is the largest difference between the two vectors.
"""

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum

from hedgerow import aggregation as ours

Rows = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """What Flower's strategies read of a message. A real one cannot be made outside of a running Flower task."""

    content: RecordDict

    def has_error(self) -> bool:
        return False


def replies(X: Rows) -> list[Reply]:
    """One reply per row, as a Flower strategy receives them."""
    messages = []
    for row in X:
        content = RecordDict({"arrays": ArrayRecord({"w": Array(row)}), "metrics": MetricRecord({"num-examples": 1})})
        messages.append(Reply(content))
    return messages


def read(messages: list[Reply]) -> Rows:
    """The table of updates in the replies."""
    return np.stack([message.content.array_records["arrays"]["w"].numpy() for message in messages])


def best(prepare: Callable[[], T], work: Callable[[T], npt.NDArray[np.float32]], repeat: int) -> tuple[float, Rows]:
    """Shortest time of `work` in milliseconds, and its result. What `prepare` takes is not counted."""
    shortest = float("inf")
    for _ in range(repeat):
        given = prepare()
        start = time.perf_counter()
        result = work(given)
        shortest = min(shortest, (time.perf_counter() - start) * 1e3)
    return shortest, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--columns", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    n, d = options.rows, options.columns
    f = n // 5
    X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    logging.getLogger("flwr").setLevel(logging.ERROR)

    rules: dict[str, tuple[ours.Rule, FedAvg | None]] = {
        "mean": (ours.Mean(), FedAvg()),
        "median": (ours.Median(), FedMedian()),
        "trimmed mean": (ours.TrimmedMean(f=f), FedTrimmedAvg(beta=(f + 0.5) / n)),
        "Krum": (ours.Krum(f=f), Krum(num_malicious_nodes=f)),
        "multi-Krum": (ours.MultiKrum(f=f), MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f)),
        "geometric median": (ours.GeometricMedian(), None),
        "NNM, trimmed mean": (ours.NNM(f=f) | ours.TrimmedMean(f=f), None),
        "clip, NNM, trimmed mean": (ours.ClipNorms() | ours.NNM(f=f) | ours.TrimmedMean(f=f), None),
    }
    plain: dict[str, Callable[[Rows], Rows]] = {
        "mean": ours.mean,
        "median": ours.median,
        "trimmed mean": lambda X: ours.trimmed_mean(X, f=f),
        "Krum": lambda X: ours.krum(X, f=f),
        "multi-Krum": lambda X: ours.multi_krum(X, f=f),
        "geometric median": ours.geometric_median,
    }
    read_pass, _ = best(lambda: X, lambda X: X.sum(keepdims=True), options.repeat)
    print(f"{n} rows of {d} float32, f = {f}; one pass over them takes {read_pass:.1f} ms")
    print(f"{'':26}{'rule':>9}{'verdict':>9}{'ours':>9}{'Flower':>9}{'Flower/ours':>13}{'differ':>10}")
    for name, (rule, flower) in rules.items():
        verdict, vector = best(lambda: X, lambda X: ours.aggregate(X, rule).vector, options.repeat)
        line = f"{name:26}"
        line += f"{best(lambda: X, plain[name], options.repeat)[0]:9.1f}" if name in plain else f"{'':9}"
        whole, _ = best(lambda: replies(X), lambda given: ours.aggregate(read(given), rule).vector, options.repeat)
        line += f"{verdict:9.1f}{whole:9.1f}"
        if flower is not None:
            theirs, other = best(lambda: replies(X), lambda given: flower_vector(flower, given), options.repeat)
            line += f"{theirs:9.1f}{theirs / whole:13.1f}{np.abs(other - vector).max():10.1e}"
        print(line, flush=True)


def flower_vector(strategy: FedAvg, given: list[Reply]) -> Rows:
    """What Flower's strategy makes of the replies."""
    arrays, _ = strategy.aggregate_train(1, cast(list[Message], given))
    assert arrays is not None
    return arrays["w"].numpy()


if __name__ == "__main__":
    main()
