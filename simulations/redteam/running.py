"""Run a red team on a job, or go on with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hedgerow.check import holds_out
from hedgerow.errors import Misconfigured
from hedgerow.events import Listener
from hedgerow.job import Job
from hedgerow.report.template import need_jinja2
from hedgerow.scenario import Scenario
from hedgerow.simulations.engine import engine_of
from hedgerow.simulations.redteam.battery import backdoors, battery
from hedgerow.simulations.redteam.cells import honest
from hedgerow.simulations.redteam.defences import Defence, default_defences, once
from hedgerow.simulations.redteam.folder import RedTeamFolder
from hedgerow.simulations.redteam.gate import BACKDOOR, Gate
from hedgerow.simulations.redteam.result import RedTeam
from hedgerow.simulations.sites import prepare
from hedgerow.simulations.sweeps.batch import Means, Step, no_command, say_nothing, started
from hedgerow.simulations.sweeps.cells import Cell
from hedgerow.simulations.sweeps.through import refuse_other_runs, refuse_unusable, run_through
from hedgerow.task import PooledTask, Task

__all__ = ["SEEDS", "attack", "resume_attack"]

SEEDS = 2


def attack(
    job: Job,
    task: Task,
    *,
    attacks: Sequence[str] | None = None,
    defences: Sequence[str] | None = None,
    f: Iterable[int] | None = None,
    splits: Sequence[str] | None = None,
    seeds: int = SEEDS,
    scenario: Scenario | None = None,
    gates: Sequence[str] = (),
    recommend: bool = False,
    engine: str = "auto",
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    listeners: Sequence[Listener] = (),
    told: Callable[[Step[RedTeamFolder]], None] = say_nothing,
    project: str = "",
    command: str = "",
    run_command: Callable[[Cell], str] = no_command,
) -> RedTeam:
    """Simulate `job` under every attack, with its own defence and others, and find the worst case of each.

    `attacks` are names of a scenario, `sign-flip` or `sign-flip:4`, or `["all"]`; a battery where left out. `defences`
    are rules with the steps before them, `nnm|trimmed-mean`; the job's own always stands first. `f` hostile sites
    attack in each run, and the defence is told of as many; where left out, the scenario's attackers or else the job's
    `aggregate.byzantine`. `splits` are the scenario's own where left out. Each is repeated with `seeds` seeds, paired.
    `gates` judge the job's own defence: "worst.accuracy >= 0.80"; what they found is in `.gates`, nothing is raised.

    A defence whose preconditions do not hold against `f` is not run there, and says so. A run that fails is written
    down, and the red team goes on: no usable model is the worst case there is. What was stopped goes on with
    `resume_attack`.

    Raises:
        Misconfigured: whatever is wrong with any of it, with the cell as the place; nothing was written then.
        Exhausted: E503, E504 the disk takes nothing more.

    >>> import tempfile
    >>> from hedgerow import Cohort, Privacy, Secure
    >>> from hedgerow.tasks import digits
    >>> job = Job(rounds=2, cohort=Cohort(quorum=5), privacy=Privacy(unit="none"), secure=Secure(mode="off"))
    >>> tried = {"attacks": ["sign-flip"], "defences": ["mean"], "seeds": 1}
    >>> found = attack(job, digits(hidden=0), **tried, runs=tempfile.mkdtemp())
    >>> [(row["defence"], row["by"]) for row in found.worst]
    [('reject+arc+nnm|trimmed-mean', 'sign-flip'), ('mean', 'sign-flip')]
    """
    engine_of(engine)
    need_jinja2()  # asked for before the runs, not after them
    _refuse_unmeasured(job, task)
    given = Scenario() if scenario is None else scenario
    chosen = None if defences is None else once([Defence.of(job), *map(Defence.parse, defences)])
    planned = RedTeamFolder(
        path=Path(runs),
        job=job,
        scenario=given,
        attacks=battery(given, attacks),
        defences=default_defences(job) if chosen is None else chosen,
        f=_hostile(f, given, job),
        sites=_sites(task, given, splits),
        seeds=seeds,
        gates=tuple(map(Gate.parse, gates)),
        recommends=recommend,
        engine=engine,
        task=task.name if isinstance(task, Task) else "",
        project=project,
        command=command,
    )
    means = Means(workers=workers, memory=memory, address=address, listeners=listeners, bare=True)
    _refuse_impossible(planned)
    _refuse_unjudged(planned)
    refuse_unusable(planned, _distinct(planned.cells), task, means, seed=given.seed)
    folder = planned.write(Path(runs), name)
    with folder.lock():
        return run_through(folder, task, means, result=RedTeam, told=told, run_command=run_command)


def resume_attack(
    folder: RedTeamFolder,
    task: Task,
    *,
    workers: int | None = None,
    memory: int | None = None,
    address: str | None = None,
    listeners: Sequence[Listener] = (),
    told: Callable[[Step[RedTeamFolder]], None] = say_nothing,
    run_command: Callable[[Cell], str] = no_command,
) -> RedTeam:
    """Go on with a red team: finished runs stay as they are, interrupted and failed ones go on from their checkpoint.

    Raises:
        Misconfigured: as `attack`, for the runs that were not started yet. Tampered: E401 a run in its folder has
            another job or scenario than its cell. Exhausted: as `attack`; E506 if the red team is running.
    """
    need_jinja2()
    means = Means(workers=workers, memory=memory, address=address, listeners=listeners, bare=True)
    with folder.lock():
        refuse_other_runs(folder)
        left = [cell for cell in folder.cells if not started(folder, cell)]
        refuse_unusable(folder, _distinct(left), task, means, seed=folder.scenario.seed)
        return run_through(folder, task, means, result=RedTeam, told=told, run_command=run_command)


def _hostile(f: Iterable[int] | None, scenario: Scenario, job: Job) -> tuple[int, ...]:
    """The numbers of hostile sites, the fewest first."""
    if f is None:
        return (scenario.attackers or job.aggregate.byzantine or 1,)
    numbers = tuple(f)
    for k, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise Misconfigured("E103", f"f is {number!r}, but must be a whole number of at least 1", place="f")
        if number in numbers[:k]:
            raise Misconfigured("E105", f"f = {number} stands twice", place="f")
    if not numbers:
        raise Misconfigured("E103", "there is no number of hostile sites to try", place="f")
    return tuple(sorted(numbers))


def _sites(task: Task, scenario: Scenario, splits: Sequence[str] | None) -> dict[str, int]:
    """How many sites each split has.

    Raises:
        Misconfigured: E105 for a split that stands twice or for more than one where the task has sites of its own, and
            as `prepare`.
    """
    wanted = [scenario.split] if splits is None else list(splits)
    if not wanted:
        raise Misconfigured("E103", "there is no split to try", place="splits")
    for k, split in enumerate(wanted):
        if split in wanted[:k]:
            raise Misconfigured("E105", f"the split '{split}' stands twice", place="splits")
    quiet = honest(scenario)
    found = {}
    for split in wanted:
        prepared, _, sites = prepare(task, quiet.override({"split": split}))
        found[split] = len(sites)
    if len(found) > 1 and not isinstance(getattr(prepared, "inner", prepared), PooledTask):
        what = "the task has its own records at each site, so there is one split"
        raise Misconfigured("E105", what, place="splits", hint="leave it out")
    return found


def _refuse_unmeasured(job: Job, task: Task) -> None:
    """Models that are compared must be judged by somebody."""
    hint = 'write evaluate = "server" and give the task a held_out()'
    if job.evaluate == "none":
        what = "a red team compares models, and evaluate = 'none' measures none"
        raise Misconfigured("E105", what, place="evaluate", hint=hint)
    if job.evaluate == "server" and isinstance(task, Task) and not holds_out(task):
        what = "a red team compares models, and the task holds no records out to judge them by"
        raise Misconfigured("E105", what, place="evaluate", hint=hint)


def _refuse_impossible(planned: RedTeamFolder) -> None:
    """More hostile sites than there are, or none of the defences fit for any number of them."""
    for split, count in planned.sites.items():
        if max(planned.f) > count:
            what = f"{max(planned.f)} hostile sites among {count}, split {split}"
            raise Misconfigured("E105", what, place="f")
    if all(case.unfit for case in planned.cases):
        case = planned.cases[0]
        what = f"no defence can be run: '{case.defence}', {case.unfit}"
        raise Misconfigured("E105", what, place="defences", hint="lower f, or add sites")


def _refuse_unjudged(planned: RedTeamFolder) -> None:
    """A gate on backdoors where none is planted, or where nobody tries them: it could not but fail in the end."""
    gate = next((gate for gate in planned.gates if gate.measure == BACKDOOR), None)
    if gate is None:
        return
    if not backdoors(planned.attacks):
        what = f"'{gate}' judges backdoors, and none of the attacks plants one: {', '.join(planned.attacks)}"
        raise Misconfigured(
            "E105", what, place="gate", hint="add one to the attacks, as badnets, or leave the gate out"
        )
    if planned.job.evaluate != "server":
        what = f"'{gate}' judges backdoors, which the server alone tries, and evaluate is '{planned.job.evaluate}'"
        raise Misconfigured("E105", what, place="gate", hint='write evaluate = "server", or leave the gate out')


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of those that a check sees alike: an attack changes neither the job nor the honest data, and what an
    attack needs is the same for each defence."""
    found: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        for key in (
            (cell.job.digest(), cell.scenario.split, cell.seed),
            (cell.scenario.attack, cell.scenario.split, 0),
        ):
            found.setdefault(key, cell)
    return list({cell.name: cell for cell in found.values()}.values())
