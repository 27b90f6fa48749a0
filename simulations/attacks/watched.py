"""How far the server's model has come to do what a backdoor's owner wants, told beside its metrics."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hedgerow.simulations.attacks.attack import Attacker
from hedgerow.simulations.attacks.poisoned import Poisoner, logits_of
from hedgerow.task import Data, Site, Split, Task

__all__ = ["SUCCESS", "WatchedTask"]

SUCCESS = "backdoor_success"  # among a round's metrics


class WatchedTask(Task):
    """A task whose server-side model is also tried on triggered records: `backdoor_success` among its metrics.

    That is the share of the held-out records outside the target class which the model, once they carry the trigger,
    takes for the target.
    """

    def __init__(self, honest: Task, attacker: Attacker, *, seed: int) -> None:
        self._honest = honest
        self._triggered = Poisoner(honest, seed=seed).triggered(attacker)
        self.name = honest.name
        self.labels = honest.labels

    def model(self) -> torch.nn.Module:
        return self._honest.model()

    def data(self, site: Site) -> Data:
        return self._honest.data(site)

    def held_out(self) -> Split | None:
        return self._honest.held_out()

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._honest.loss(logits, y)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return self._honest.metrics(logits, y)

    def probe(self, model: torch.nn.Module) -> Mapping[str, float]:
        found = dict(self._honest.probe(model))
        if self._triggered is not None:
            taken = logits_of(model)(self._triggered.x).argmax(axis=1)
            found[SUCCESS] = float((taken == self._triggered.y).mean())
        return found
