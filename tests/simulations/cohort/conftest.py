"""Small federations for the cohort's tests: a task of pieces, ways to train it, and models of every family."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hedgerow.job import Job
from hedgerow.privacy import RecordPlan, plan_record_dp
from hedgerow.simulations.cohort.choosing import Choice, choose
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.paths import Chunk, Path
from hedgerow.simulations.cohort.trainer import CohortTrainer
from hedgerow.task import Data, Site, Split, Task
from hedgerow.update import Layout, Vector

Build = Callable[[], nn.Module]
CLASSES, TOKENS = 3, 7
ROUNDING = 1e-6  # of the model's length: a few steps in float32


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Linear(36, 12), nn.LayerNorm(12)
        self.inner, self.leave = nn.Linear(12, 12), nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.enter(x.flatten(1)))
        out: torch.Tensor = self.leave(hidden + torch.relu(self.inner(self.norm(hidden))))
        return out


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix, self.leave = nn.Embedding(TOKENS, 5), nn.Linear(5, 4), nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vectors = self.table(x.flatten(1).long())
        out: torch.Tensor = self.leave(torch.tanh(self.mix(vectors)).mean(1))
        return out


class Gated(nn.Module):
    """A product of two activations: `torch.func` maps it, the layers do not know it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate, self.leave = nn.Linear(36, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.enter(x.flatten(1)))
        out: torch.Tensor = self.leave(hidden * torch.sigmoid(self.gate(hidden)))
        return out


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 9), nn.Tanh(), nn.Linear(9, CLASSES))
    first = model[1]
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.copy_(torch.linspace(-0.4, 0.5, parameter.numel()).view_as(parameter)).requires_grad_(False)
    return model


MODELS: dict[str, Build] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES)),
    "relu": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 10), nn.ReLU(), nn.Linear(10, CLASSES)),
    "no-bias": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8, bias=False), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, CLASSES)
    ),
    "convolution": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 2, stride=1, dilation=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    ),
    "residual": Residual,
    "words": Words,
    "frozen": frozen,
}


class Pieces(Task):
    """Sites of given sizes; their records are small images, or token numbers where `whole`."""

    name = "pieces"
    labels = ("a", "b", "c")

    def __init__(self, build: Build, sizes: Sequence[int], *, whole: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.build = build
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []
        for n in sizes:
            x = rng.integers(0, TOKENS, (n, 1, 6, 6)) if whole else rng.standard_normal((n, 1, 6, 6))
            self.parts.append((x.astype(np.float32), rng.integers(0, CLASSES, n)))

    def model(self) -> nn.Module:
        return self.build()

    def data(self, site: Site) -> Data:
        x, y = self.parts[site.index]
        return Data(Split(x, y), Split(x[:0], y[:0]))


class Cohort:
    """A task's sites, their first model, and the ways to train them."""

    def __init__(self, task: Task, sites: int, **settings: Any) -> None:
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        self.task = task
        self.job = Job.from_flat({"rounds": 3, "local.batch": 4, "privacy.unit": "none", "secure.mode": "off", **keys})
        self.sites = [Site(name=f"site-{n:03d}", index=n, count=sites) for n in range(sites)]
        torch.manual_seed(1)
        model = task.model()
        self.layout = Layout.of(model)
        self.model: Vector = self.layout.flatten(model)

    def trainer(self, path: str = "", **options: Any) -> CohortTrainer:
        torch.manual_seed(2)  # a fresh module is not the first model
        return CohortTrainer(
            self.job, self.task, self.sites, model=self.model, seed=5, path=path, **{"workers": 1, **options}
        )

    def train(
        self, path: str = "", places: Sequence[int] | None = None, *, round: int = 1, **options: Any
    ) -> tuple[np.ndarray, dict[int, str]]:
        trainer = self.trainer(path, **options)
        try:
            assert path in ("", trainer.chosen.path), trainer.chosen.reason
            return trainer.train(self.model, range(len(self.sites)) if places is None else places, round=round)
        finally:
            trainer.close()

    def choice(self, wanted: str = "") -> Choice:
        data = CohortData.of(self.task, self.sites, rounds=self.job.rounds)
        return choose(self.job, self.task, self.sites, data, model=self.model, seed=5, wanted=wanted)

    def chunk(self, *, clip: float | None = None, noise: float | None = None, round: int = 1) -> Chunk:
        """All sites in one chunk; with `clip` under privacy, with this noise multiplier instead of the planned one."""
        data = CohortData.of(self.task, self.sites, rounds=self.job.rounds)
        sizes = [len(share) for share in data.shares]
        plans: list[RecordPlan] = []
        if clip is not None:
            plans = [
                plan_record_dp(
                    records=n,
                    batch=self.job.local.batch,
                    epochs=self.job.local.epochs,
                    rounds=3,
                    epsilon=8.0,
                    delta=1e-3,
                    clip=clip,
                )
                for n in sizes
            ]
            if noise is not None:
                plans = [replace(plan, noise_multiplier=noise) for plan in plans]
        batch, epochs = self.job.local.batch, self.job.local.epochs
        steps = [plan.steps_per_round for plan in plans] or [epochs * -(-n // batch) for n in sizes]
        order = np.argsort([-count for count in steps], kind="stable").tolist()
        return Chunk(
            seed=5,
            round=round,
            sites=order,
            rows=[data.shares[place] for place in order],
            records=data.records([self.sites[place] for place in order]),
            settings=self.job.local,
            plans=[plans[place] for place in order] if plans else (),
        )

    def updates(self, path: Path, chunk: Chunk) -> np.ndarray:
        """The chunk's updates by place."""
        out = np.empty((len(chunk.sites), len(self.model)), np.float32)
        path.train(self.model, chunk, out)
        return out[np.argsort(chunk.sites)]

    def far(self, rows: np.ndarray, expected: np.ndarray) -> float:
        """How far the rows are from the expected ones, the worst row, relative to its length.

        An update is the difference of two float32 models, so what the model itself is rounded to does not count.
        """
        away = np.linalg.norm(rows.astype(np.float64) - expected, axis=1)
        away = np.maximum(away - ROUNDING * np.linalg.norm(self.model), 0.0)
        return float(np.nan_to_num(away / np.maximum(np.linalg.norm(expected, axis=1), 1e-9), nan=np.inf).max())


@pytest.fixture
def cohort() -> Callable[..., Cohort]:
    """A cohort of sites of the given sizes, for a model by its name or its builder."""

    def make(model: str | Build, sizes: Sequence[int], **settings: Any) -> Cohort:
        build = MODELS[model] if isinstance(model, str) else model
        return Cohort(Pieces(build, sizes, whole=model == "words"), len(sizes), **settings)

    return make


@pytest.fixture
def gated() -> Build:
    return Gated
