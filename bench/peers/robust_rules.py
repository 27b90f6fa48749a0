"""ByzFL's and Flower's robust rules on one table of updates, by the names of ours."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.server.strategy import aggregate as legacy
from flwr.serverapp import strategy

BYZFL = "byzfl==0.0.11"
_UNUSED = ("torchvision", "seaborn", "matplotlib", "matplotlib.pyplot")  # loaded with ByzFL, used by none of its rules

__all__ = ["Peer", "byzfl_rules", "flower_rules", "get_byzfl", "read_each", "replies"]

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer's rule. `run` makes the vector of what `prepare` made of the rows, whose time is not counted.

    `power`: its time grows with n to that. `messages`: it starts from Flower's reply messages.
    """

    run: Callable[[Any], object]
    prepare: Callable[[Rows], Any]
    power: int = 1
    messages: bool = False


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


def read_each(messages: list[Reply]) -> list[Rows]:
    """The updates in the replies, one by one."""
    return [message.content.array_records["arrays"]["w"].numpy() for message in messages]


def flower_rules(n: int, f: int) -> dict[str, dict[str, Peer]]:
    """By rule, Flower's functions of the legacy API and its strategies of the Message API."""
    share = (f + 0.5) / n  # Flower cuts int(share * n) on each side
    functions: dict[str, Callable[[Any], object]] = {
        "mean": legacy.aggregate,
        "median": legacy.aggregate_median,
        "trimmed-mean": lambda results: legacy.aggregate_trimmed_avg(results, share),
        "krum": lambda results: legacy.aggregate_krum(results, f, 0),
        "multi-krum": lambda results: legacy.aggregate_krum(results, f, n - f),
        "bulyan": lambda results: legacy.aggregate_bulyan(results, f, legacy.aggregate_krum, to_keep=0),
    }
    strategies: dict[str, strategy.FedAvg] = {
        "mean": strategy.FedAvg(),
        "median": strategy.FedMedian(),
        "trimmed-mean": strategy.FedTrimmedAvg(beta=share),
        "krum": strategy.Krum(num_malicious_nodes=f),
        "multi-krum": strategy.MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f),
        "bulyan": strategy.Bulyan(num_malicious_nodes=f),
    }
    found: dict[str, dict[str, Peer]] = {}
    for name, function in functions.items():
        power = _power(name)
        found[name] = {
            "Flower legacy": Peer(run=function, prepare=lambda X: [([row], 1) for row in X], power=power),
            "Flower": Peer(run=_strategy(strategies[name]), prepare=replies, messages=True),
        }
    return found


def _strategy(made: strategy.FedAvg) -> Callable[[list[Reply]], object]:
    return lambda given: made.aggregate_train(1, cast(list[Message], given))


def _power(rule: str) -> int:
    if rule in ("bulyan", "spectral"):
        return 3  # they compare all rows again after each that they choose or weaken
    return 2 if "krum" in rule or "nnm" in rule or rule == "mda" else 1


def get_byzfl(folder: Path) -> str:
    """Puts ByzFL, without what it depends on, into a folder; the reason if that fails, else an empty text."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps"]
    done = subprocess.run([*pip, "--target", str(folder), BYZFL], capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""


def byzfl_rules(folder: Path, n: int, f: int) -> dict[str, dict[str, Peer]]:
    """By rule, ByzFL's classes on numpy arrays and on torch tensors."""
    for name in _UNUSED:
        sys.modules.setdefault(name, _Empty(name))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    byzfl = importlib.import_module("byzfl")
    made: Mapping[str, Callable[[], Any]] = {
        "mean": byzfl.Average,
        "median": byzfl.Median,
        "trimmed-mean": lambda: byzfl.TrMean(f),
        "meamed": lambda: byzfl.Meamed(f),
        "krum": lambda: byzfl.Krum(f),
        "multi-krum": lambda: byzfl.MultiKrum(f),
        "monna": lambda: byzfl.MoNNA(f),
        "geometric-median": byzfl.GeometricMedian,
        "centered-clipping": lambda: byzfl.CenteredClipping(L=3, tau=10.0),
        "spectral": lambda: byzfl.CAF(f),
        "nnm+trimmed-mean": lambda: _chain(byzfl.NNM(f), byzfl.TrMean(f)),
        "nnm+krum": lambda: _chain(byzfl.NNM(f), byzfl.Krum(f)),
        "arc+nnm+trimmed-mean": lambda: _chain(byzfl.ARC(f), _chain(byzfl.NNM(f), byzfl.TrMean(f))),
    }
    if comb(n, f) <= 10_000:  # it tries every subset
        made = {**made, "mda": lambda: byzfl.MDA(f)}
    found: dict[str, dict[str, Peer]] = {}
    for name, maker in made.items():
        power = _power(name)
        found[name] = {
            "ByzFL numpy": Peer(run=_fresh(maker), prepare=np.copy if "arc" in name else _same, power=power),
            "ByzFL torch": Peer(run=_fresh(maker), prepare=_tensor, power=power),
        }
    return found


def _fresh(maker: Callable[[], Any]) -> Callable[[Any], object]:
    """A new rule at each call: some keep a state from one call to the next."""
    return lambda given: maker()(given)


def _chain(first: Callable[[Any], Any], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda given: then(first(given))


def _same(X: Rows) -> Rows:
    return X


def _tensor(X: Rows) -> torch.Tensor:
    return torch.from_numpy(X.copy())


class _Empty(types.ModuleType):
    """Stands where a package would be that is loaded, and called as it is loaded, but that no rule uses."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name)

    def __call__(self, *given: object, **named: object) -> object:
        return self
