"""The simulated sites of a scenario: their names, their data, and the settings each one's operator would give it."""

from pathlib import Path

from hedgerow.errors import Misconfigured
from hedgerow.runs import RunFolder
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.partition import site_names
from hedgerow.simulations.splittask import SplitTask, split
from hedgerow.task import PooledTask, Site, Task

__all__ = ["prepare", "project_place", "site_settings"]


def prepare(task: Task, scenario: Scenario) -> tuple[Task, Scenario, list[Site]]:
    """The task split into sites, the scenario with as many sites as the split has, and those sites.

    A split by column has a site for each of the column's values.

    Raises:
        Misconfigured: E111 for something else than a task, and as `partition`.
    """
    if not isinstance(task, Task):
        hint = "give an object of a subclass of hedgerow.Task, not the class"
        raise Misconfigured("E111", f"the task is '{type(task).__name__}', which is no hedgerow.Task", hint=hint)
    if isinstance(task, SplitTask):
        task = task.inner  # split by the project for its sites; a simulation may ask for another split
    if isinstance(task, PooledTask):
        task = split(task, scenario)
    if isinstance(task, SplitTask) and len(task.site_names) != scenario.sites:
        scenario = scenario.override({"sites": len(task.site_names)})
    return task, scenario, _simulated_sites(task, scenario)


def site_settings(site: Site, folder: RunFolder, scenario: Scenario) -> dict[str, Scalar]:
    """A simulated site's node configuration: its share, its name, the run's ledger, and the seed of its randomness."""
    return {
        "partition-id": site.index,
        "num-partitions": site.count,
        "site-name": site.name,
        "site-store": str(folder.path.resolve()),
        "simulation-seed": scenario.seed,
    }


def project_place(project: str) -> Path:
    """Where a scenario's relative files are sought: the project's folder, else the current one."""
    return Path(project) if project and Path(project).is_dir() else Path(".")


def _simulated_sites(task: Task, scenario: Scenario) -> list[Site]:
    """The sites that a simulation of `task` has."""
    names = task.site_names if isinstance(task, SplitTask) else site_names(scenario)
    return [Site(name=name, index=index, count=len(names)) for index, name in enumerate(names)]
