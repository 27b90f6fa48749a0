"""What the user brings: a model, each site's data, a loss and metrics.

A `Task` says nothing about rounds, privacy or defence; that is the `Job`. Ready tasks are in `hedgerow.tasks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Misconfigured
from hedgerow.settings import Scalar

if TYPE_CHECKING:
    import torch

__all__ = ["Data", "PooledTask", "Site", "Split", "Task"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One party: its display name, its index among `count` sites, and its operator's own settings."""

    name: str
    index: int
    count: int
    config: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Records `x` (n, …) float32 and labels `y` (n,) int64.

    Raises:
        Misconfigured: E126 if they are no arrays, the lengths differ, or the shapes or dtypes are others.
    """

    x: Floats
    y: Labels

    def __post_init__(self) -> None:
        if not isinstance(self.x, np.ndarray) or not isinstance(self.y, np.ndarray):
            raise Misconfigured(
                "E126",
                f"records are {type(self.x).__name__} and labels {type(self.y).__name__}, but must be numpy arrays",
                hint="convert with np.asarray(x, np.float32) and np.asarray(y, np.int64)",
            )
        if self.x.ndim == 0 or self.y.ndim != 1:
            raise Misconfigured(
                "E126",
                f"records have shape {self.x.shape} and labels {self.y.shape}, but must be (n, …) and (n,)",
                hint="give one label per record, y.reshape(-1)",
            )
        if len(self.x) != len(self.y):
            raise Misconfigured("E126", f"{len(self.x)} records but {len(self.y)} labels")
        if self.x.dtype != np.float32 or self.y.dtype != np.int64:
            raise Misconfigured(
                "E126",
                f"records are {self.x.dtype} and labels {self.y.dtype}, but must be float32 and int64",
                hint="convert with x.astype(np.float32) and y.astype(np.int64)",
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Split:
        return Split(self.x[rows], self.y[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A site's records: `train` is learned from, `test` is held out at the site (it may be empty)."""

    train: Split
    test: Split


class Task(ABC):
    """A learning problem. Subclass it, give `model` and `data`, and override the rest where the default does not fit.

    `model` must return the same architecture each time; its initial values are the server's first model.
    `loss` and `metrics` take logits (n, k) and labels (n,).
    """

    name: str = "task"
    labels: tuple[str, ...] = ()

    @abstractmethod
    def model(self) -> torch.nn.Module:
        """A fresh model on the CPU. Its initial values come from torch's generator, which the engine seeds."""

    @abstractmethod
    def data(self, site: Site) -> Data:
        """The records of one site."""

    def held_out(self) -> Split | None:
        """Records at the server that no site trained on, for evaluation; `None` where the server has none."""
        return None

    def root(self) -> Split | None:
        """Clean records of the server's own, of the sites' kind, for rules that compare each update with one that the
        server trains itself (FLTrust); `None` where it has none."""
        return None

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Loss per record, shape (n,): cross entropy unless overridden."""
        import torch.nn.functional

        return torch.nn.functional.cross_entropy(logits, y, reduction="none")

    def probe(self, model: torch.nn.Module) -> Mapping[str, float]:
        """More numbers about the global model, told beside its metrics after each round: none unless overridden."""
        return {}

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """The main metric first. Accuracy unless overridden."""
        return {"accuracy": float((logits.argmax(dim=-1) == y).double().mean()) if len(y) else float("nan")}


class PooledTask(Task):
    """A task whose records are all on this machine, to be split into simulated sites by a `Scenario`.

    `pool().train` is split; `pool().test` stays with the server. Where held-out records lie among the others in one
    array that is not to be copied, `training_rows` says which are for the sites. `column` (n,) names the site of each
    training record, in the order of `training_rows`, where the data itself says so (a table's hospital column), else
    `None`.
    """

    @abstractmethod
    def pool(self) -> Data:
        """All records."""

    def training_rows(self) -> np.ndarray | None:
        """The rows of `pool().train` that sites may get, ascending; `None` where these are all of them."""
        return None

    @property
    def column(self) -> np.ndarray | None:
        return None

    def held_out(self) -> Split | None:
        return self.pool().test

    def data(self, site: Site) -> Data:
        raise Misconfigured(
            "E111",
            f"'{self.name}' holds all records in one pool, so a site cannot say which are its own",
            hint="split it first: hedgerow.simulations.split(task, scenario)",
        )
