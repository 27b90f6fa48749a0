"""Client momentum of a whole cohort: what each site would remember, kept together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hedgerow.client.momentum import Momentum, MomentumStore

__all__ = ["CohortMomentum"]


class CohortMomentum:
    """The memory of `sites` with updates of `size` numbers, below a run's folder. `beta` as `local.update_momentum`."""

    def __init__(self, folder: Path, *, sites: int, size: int, beta: float) -> None:
        self._store = MomentumStore(folder / "momentum", durable=False)
        self._shape = sites, size
        self._beta = beta
        self._memory: Momentum | None = None

    def average(self, round: int, places: Sequence[int], rows: NDArray[np.float32]) -> None:
        """Put each site's average of its updates so far in the place of its update; `rows` (k, d) are of `places`.

        Raises:
            Exhausted: E503, E504. Tampered: E401.
        """
        if not self._beta or not places:
            return
        whole = self._store.before(round, *self._shape) if self._memory is None else self._memory
        chosen = np.array(places)
        own = Momentum(average=whole.average[chosen], steps=whole.steps[chosen])
        own, rows[:] = own.after(rows, beta=self._beta)
        whole.average[chosen], whole.steps[chosen] = own.average, own.steps
        self._store.save(round, whole)
        self._memory = whole
