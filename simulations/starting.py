"""Everything that keeps a simulated run from starting, asked before anything is written."""

from __future__ import annotations

from hedgerow.check import check_job
from hedgerow.findings import refuse_errors
from hedgerow.job import Job
from hedgerow.scenario import Scenario
from hedgerow.simulations.attacks.reaching import refuse_impossible
from hedgerow.simulations.conditions import Conditions, need_clock
from hedgerow.simulations.fitting import refuse_misfit
from hedgerow.simulations.sites import prepare, project_place
from hedgerow.task import Site, Task

__all__ = ["prepare_to_start"]


def prepare_to_start(
    job: Job,
    task: Task,
    scenario: Scenario,
    *,
    engine: str,
    project: str,
    workers: int | None = None,
    memory: int | None = None,
    device: str = "auto",
    fitting: bool = True,
) -> tuple[Task, Scenario, list[Site]]:
    """As `prepare`, once nothing is wrong with the run on this engine; `fitting` asks for its memory as well.

    Raises:
        Misconfigured: whatever `hedgerow check` would call an error, E105 for conditions that need a clock on an engine
            without one, for an attack that the engine cannot run and for too little memory, E120 for a trace that
            cannot be read, and as `prepare`.
    """
    task, scenario, sites = prepare(task, scenario)
    need_clock(scenario, engine)
    if engine == "cohort":
        Conditions.of(scenario, len(sites), names=[site.name for site in sites], folder=project_place(project))
    refuse_errors(check_job(job, task, sites))
    refuse_impossible(task, scenario, engine=engine)
    if engine == "cohort" and fitting:
        refuse_misfit(job, task, sites, seed=scenario.seed, workers=workers, memory=memory, device=device)
    return task, scenario, sites
