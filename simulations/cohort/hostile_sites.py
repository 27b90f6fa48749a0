"""The hostile sites of a cohort: which records they train on, and which rows they answer with."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hedgerow.simulations.attacks import attackers_of
from hedgerow.simulations.attacks.poisoned import Poisoner, logits_of
from hedgerow.simulations.attacks.reaching import adversary_of, model_before
from hedgerow.simulations.cohort.data import Poison
from hedgerow.simulations.cohort.trainer import CohortTrainer
from hedgerow.simulations.stage import Stage
from hedgerow.task import Site, Split
from hedgerow.update import Layout, Vector

__all__ = ["HostileSites"]


class HostileSites:
    """Every attack's two hands in the cohort engine. Sites are known by their places in the order of their names."""

    def __init__(self, stage: Stage, sites: Sequence[Site]) -> None:
        attackers = attackers_of(stage.scenario)
        self._index = {place: site.index for place, site in enumerate(sites)}
        self._attackers = {place: attackers[index] for place, index in self._index.items() if index in attackers}
        self._kind = next((attacker.attack.kind for attacker in self._attackers.values()), None)
        self._task = stage.task
        self._poisoner = Poisoner(stage.task, seed=stage.scenario.seed) if self._attackers else None
        self._adversary = adversary_of(stage.folder.job, stage.scenario)
        self._before = model_before(stage.folder) if self._attackers else None

    @property
    def poisons(self) -> Mapping[int, Poison]:
        """What hostile sites make of their records, by place, where they do; the others are honest."""
        if self._kind is None or self._kind.poison is None:
            return {}
        return {
            place: Poison(
                records=functools.partial(self._poisoned, place),
                acts=attacker.attack.acts,
                labels_alone=self._kind.keeps_features and attacker.attack.every == 1 and not self._kind.adapts,
                adapts=self._kind.adapts,
            )
            for place, attacker in self._attackers.items()
        }

    def adapt(self, trainer: CohortTrainer, model: Vector, places: Sequence[int], *, round: int) -> None:
        """Before a round: poison that follows the model is made anew."""
        if self._kind is None or not self._kind.adapts:
            return
        layout, module = self._module
        layout.load(model, module)
        for place in places:
            if place in self._attackers and self._attackers[place].attack.acts(round):
                trainer.poison_again(place, functools.partial(self._poisoned, place, module=module))

    def answer(self, rows: np.ndarray, model: Vector, places: Sequence[int], *, round: int) -> None:
        """The hostile sites' rows, written over the updates (k, d) that they trained from `model`."""
        if self._kind is None:
            return
        before, self._before = self._before, model
        bad = [at for at, place in enumerate(places) if place in self._attackers]
        if self._kind.change is None or not bad:
            return
        bad.sort(key=lambda at: self._index[places[at]])
        good = [at for at, place in enumerate(places) if place not in self._attackers]
        good.sort(key=lambda at: self._index[places[at]])
        rows[bad] = self._adversary.answers(
            round=round,
            sites=[self._index[places[at]] for at in bad],
            own=rows[bad],
            honest=rows[good if self._kind.collude else []],
            last=None if before is None else model - before,
        )

    def _poisoned(self, place: int, records: Split, *, module: torch.nn.Module | None = None) -> Split:
        assert self._poisoner is not None
        logits = None if module is None else logits_of(module)
        return self._poisoner.records(self._attackers[place], self._index[place], records, logits=logits)

    @functools.cached_property
    def _module(self) -> tuple[Layout, torch.nn.Module]:
        module = self._task.model()
        return Layout.of(module), module
