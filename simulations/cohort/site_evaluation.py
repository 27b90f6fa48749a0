"""The model measured by each site on its own held-out records, where the job says so."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hedgerow.evaluation import evaluate, evaluated
from hedgerow.eventlog import EventLog
from hedgerow.server.ongoing import OngoingRun
from hedgerow.server.pooling import credible, pooled
from hedgerow.task import Site, Split, Task
from hedgerow.update import Vector

__all__ = ["SiteEvaluation"]

log = logging.getLogger("hedgerow.simulations")


class SiteEvaluation:
    """Evaluates at every site that holds records out, and tells the pooled metrics."""

    def __init__(self, task: Task, run: OngoingRun, log: EventLog, sites: Sequence[Site]) -> None:
        self._task = task
        self._run = run
        self._log = log
        tests: list[Split] = [task.data(site).test for site in sorted(sites, key=lambda site: site.index)]
        self._tests = [test for test in tests if len(test)]

    def measure(self, number: int, model: Vector) -> None:
        """The model's metrics after a round, as the sites measure them."""
        self._run.layout.load(model, self._run.module)
        means, records = pooled([self._claim(number, test) for test in self._tests])
        if means:
            self._log.append(evaluated(round=number, where="sites", records=records, metrics=means))

    def _claim(self, number: int, test: Split) -> tuple[int, dict[str, float]]:
        """A site's measurement; one that fails or is not finite leaves the site out."""
        try:
            event = evaluate(self._task, self._run.module, test, round=number)
        except (Exception, SystemExit):  # a task's own code at that site
            log.exception("a site cannot evaluate")
            return 0, {}
        return credible(event.records, event.metrics)
