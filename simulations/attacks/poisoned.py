"""The records that hostile sites train on in the place of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from hedgerow.errors import Misconfigured
from hedgerow.modes import in_mode
from hedgerow.simulations.attacks.attack import Attacker, site_stream
from hedgerow.simulations.attacks.scene import RecordScene
from hedgerow.simulations.attacks.trigger import Trigger
from hedgerow.simulations.shift import shifted
from hedgerow.simulations.splittask import SplitTask
from hedgerow.task import Data, Site, Split, Task

__all__ = ["Logits", "PoisonedTask", "Poisoner", "logits_of"]

BATCH = 4096

Logits = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]


class Poisoner:
    """What the attackers of one run make of records, for one task: its labels, and the trigger they agreed on."""

    def __init__(self, task: Task, *, seed: int) -> None:
        self._seed = seed
        self._classes = len(task.labels)
        held_out = task.held_out()
        self.held_out = held_out if held_out is not None and len(held_out) else None
        self._trigger = None if self.held_out is None else Trigger.of(self.held_out)

    def records(self, attacker: Attacker, site: int, records: Split, *, logits: Logits | None = None) -> Split:
        """The records that a hostile site trains on in the place of its own.

        Raises:
            Misconfigured: E126 if a registered attack returns another number of records or other shapes.
        """
        poison = attacker.attack.kind.poison
        if poison is None or not len(records):
            return records
        found = poison(self._scene(attacker, records, site_stream(self._seed, site), logits))
        if found.x.shape != records.x.shape:
            raise Misconfigured(
                "E126",
                f"the attack '{attacker.attack.name}' returned records {found.x.shape} for {records.x.shape}",
                hint="return as many records of the same shape",
            )
        return found

    def triggered(self, attacker: Attacker) -> Split | None:
        """Held-out records with the trigger, labelled as the attacker wants them; None where there are none."""
        success = attacker.attack.kind.success
        if success is None or self.held_out is None:
            return None
        found = success(self._scene(replace(attacker, rank=0), self.held_out, np.random.default_rng(0), None))
        return found if len(found) else None

    def _scene(
        self, attacker: Attacker, records: Split, rng: np.random.Generator, logits: Logits | None
    ) -> RecordScene:
        strength, more = attacker.attack.of_records
        return RecordScene(
            records=records,
            classes=self._classes or int(records.y.max(initial=0)) + 1,
            rank=attacker.rank,
            attackers=attacker.attackers,
            strength=strength,
            more=more,
            rng=rng,
            trigger=self._trigger or Trigger.of(records),
            logits=logits,
        )


class PoisonedTask(Task):
    """A task whose training records are what the attackers among its sites make of them.

    Records are poisoned before a site's own view of its features is applied to them.
    """

    def __init__(
        self, honest: Task, attackers: Mapping[int, Attacker], *, seed: int, logits: Logits | None = None
    ) -> None:
        self._honest = honest
        self._attackers = attackers
        self._poisoner = Poisoner(honest, seed=seed)
        self._logits = logits
        self.name = honest.name
        self.labels = honest.labels

    def model(self) -> torch.nn.Module:
        return self._honest.model()

    def data(self, site: Site) -> Data:
        data = self._honest.data(site)
        attacker = self._attackers.get(site.index)
        if attacker is None:
            return data
        affine = self._honest.transform(site.index) if isinstance(self._honest, SplitTask) else None
        records = data.train
        if isinstance(self._honest, SplitTask) and affine is not None:
            records = self._honest.inner.pool().train.take(self._honest.shares[site.index])
        found = self._poisoner.records(attacker, site.index, records, logits=self._logits)
        return Data(found if affine is None else Split(shifted(found.x, affine), found.y), data.test)

    def held_out(self) -> Split | None:
        return self._honest.held_out()

    def loss(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._honest.loss(logits, y)

    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return self._honest.metrics(logits, y)


def logits_of(model: torch.nn.Module) -> Logits:
    """The module as a function from records' x (n, …) to logits (n, k), in evaluation mode."""

    def logits(x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        with in_mode(model, training=False), torch.inference_mode():
            parts = [
                model(torch.from_numpy(np.ascontiguousarray(x[start : start + BATCH]))).numpy()
                for start in range(0, len(x), BATCH)
            ]
        found: npt.NDArray[np.floating] = np.concatenate(parts)
        return found

    return logits
