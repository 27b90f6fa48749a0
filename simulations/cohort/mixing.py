"""Sites that would refuse a model because it mixes their records, where the cohort's path would not notice."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from hedgerow.errors import HedgerowError
from hedgerow.privacy import check_private
from hedgerow.task import Site, Task
from hedgerow.update import Layout, Vector

__all__ = ["MixingSites"]

log = logging.getLogger("hedgerow.simulations")


class MixingSites:
    """Asks for each of the `sites`, the first time that it trains, what it asks itself before it trains.

    A path that runs the forward function for each record alone keeps records apart where a real site cannot, so a
    simulation would train what a deployment refuses. O(1) records a site.
    """

    def __init__(self, task: Task, layout: Layout, sites: Sequence[Site]) -> None:
        self._task = task
        self._layout = layout
        self._sites = sites
        self._asked: set[int] = set()

    def found(self, model: Vector, places: Sequence[int]) -> dict[int, str]:
        """A code for each site, by its place, on whose records the model (d,) cannot be trained privately."""
        new = [place for place in places if place not in self._asked]
        if not new:
            return {}
        self._asked.update(new)
        module = self._task.model()
        self._layout.load(model, module)
        codes = {}
        for place in new:
            site = self._sites[place]
            try:
                check_private(module, torch.from_numpy(self._task.data(site).train.x))
            except HedgerowError as error:
                log.warning("%s does not take part: %s", site.name, error)
                codes[place] = error.code
        return codes
