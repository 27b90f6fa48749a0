"""`hedgerow attack`, and `hedgerow resume` and `hedgerow report` for what it made."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hedgerow.cli.again import resume_command, resume_new, resume_words
from hedgerow.cli.answer import failed_after
from hedgerow.cli.attacklines import advice_lines, start_words, worst_lines
from hedgerow.cli.outcome import closing_words
from hedgerow.cli.overriding import command, overridden, read_words, scenario_of
from hedgerow.cli.simulating import Means, refuse_engine, task_of
from hedgerow.cli.sitelog import failures_once
from hedgerow.cli.sweeplines import StepLines
from hedgerow.errors import Exhausted, HedgerowError, Misconfigured, error_of
from hedgerow.job import Job
from hedgerow.project import Project
from hedgerow.report.redteamrows import NOBODY, broken
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.redteam import RedTeam
from hedgerow.simulations.redteam.running import SEEDS
from hedgerow.simulations.sweeps.cells import Cell, scalar_text

__all__ = ["AttackAsked", "attack_project", "report_attack", "resume_attack_of", "run_command"]

OPTIONS = {
    "attacks": "--attacks",
    "defences": "--defences",
    "f": "--f",
    "splits": "--split",
    "split": "--split",
    "seeds": "--seeds",
    "gate": "--gate",
    "evaluate": "-c, evaluate",
}
OF_ITS_OWN = ("--engine", "--workers", "--memory", "--address")  # what its single runs are given too


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackAsked:
    """What stands after `hedgerow attack`, as it was written."""

    path: Path = Path(".")
    attacks: str = ""
    defences: str = ""
    f: str = ""
    split: str = ""
    seeds: int = SEEDS
    gates: tuple[str, ...] = ()
    recommend: bool = False
    engine: str = "auto"
    means: Means = Means()
    name: str = ""
    config: str = ""
    scenario: str = ""

    @property
    def command(self) -> str:
        """The command itself, without the name."""
        options = [
            ("--attacks", self.attacks),
            ("--defences", self.defences),
            ("--f", self.f),
            ("--split", self.split),
            ("--seeds", "" if self.seeds == SEEDS else self.seeds),
            *(("--gate", gate) for gate in self.gates),
            ("--engine", "" if self.engine == "auto" else self.engine),
            ("--workers", self.means.workers),
            ("--memory", self.means.memory),
            ("--address", self.means.address),
        ]
        words = command("attack", str(self.path), self.config, self.scenario, options)
        return f"{words} --recommend" if self.recommend else words


def attack_project(asked: AttackAsked, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Try every attack on every defence of a project's job.

    Raises:
        Misconfigured: whatever is wrong with the options or with any run; nothing was written then.
        Failed: a gate failed, or a run stopped that nobody attacked; the envelope's error has all that was found.
        Exhausted: E503 with the command that goes on, E504.
    """
    from hedgerow.simulations.redteam import attack
    from hedgerow.simulations.sweeps.batch import say_nothing

    refuse_engine(asked.engine)
    asked.means.refuse_wrong(asked.engine)
    f = _numbers(asked.f)
    project = Project.open(asked.path)
    task = project.task()
    if task is None:
        raise Misconfigured("E111", "this Flower app has no Hedgerow task", place=str(asked.path))
    scenario = scenario_of(project.scenario(), asked.scenario, None)
    again = resume_new(runs)
    with failures_once(), _how_to_go_on(again):
        try:
            done = attack(
                overridden(project.job(), "-c", asked.config),
                task,
                attacks=_attacks(asked.attacks),
                defences=_listed(asked.defences, "--defences"),
                f=f,
                splits=_listed(asked.split, "--split"),
                seeds=asked.seeds,
                scenario=scenario,
                gates=asked.gates,
                recommend=asked.recommend,
                engine=asked.engine,
                workers=asked.means.workers,
                memory=asked.means.memory_bytes,
                address=asked.means.address or None,
                runs=runs,
                name=asked.name or None,
                told=say_nothing if quiet else StepLines(start_words),
                project=str(project.folder),
                command=asked.command,
                run_command=partial(run_command, asked.command, scenario),
            )
        except Misconfigured as error:
            place = OPTIONS.get(error.place, error.place)
            raise Misconfigured(error.code, error.message, place=place, hint=error.hint) from None
    return _answer(done, runs, quiet=quiet)


def resume_attack_of(found: RedTeam, means: Means, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """Go on with a red team.

    Raises:
        Misconfigured: E113 if its code cannot be found again. Failed: as `attack_project`.
    """
    from hedgerow.simulations.redteam import RedTeamFolder, resume_attack
    from hedgerow.simulations.sweeps.batch import say_nothing

    folder = found.folder
    means.refuse_wrong(folder.engine)
    task = task_of(folder.project, folder.name, "redteam.resume_attack(RedTeamFolder.open(path), task)")
    folder = RedTeamFolder.open(folder.path)  # again: a rule of the task's own says only now how many updates it needs
    with failures_once(), _how_to_go_on(lambda: resume_words(runs, folder.name)):
        done = resume_attack(
            folder,
            task,
            workers=means.workers,
            memory=means.memory_bytes,
            address=means.address or None,
            told=say_nothing if quiet else StepLines(start_words),
            run_command=partial(run_command, folder.command, folder.scenario),
        )
    return _answer(done, runs, quiet=quiet)


@contextlib.contextmanager
def _how_to_go_on(again: Callable[[], str]) -> Iterator[None]:
    """A full disk stops all of a red team: what goes on is not the run that could not be written."""
    try:
        yield
    except Exhausted as error:
        if error.code != "E503" or not again():
            raise
        raise Exhausted("E503", error.message, place=error.place, hint=f"free some space; {again()}") from None


def report_attack(found: RedTeam, others: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """Draw a red team's report again.

    Raises:
        Misconfigured: E105 for other runs to set beside it.
    """
    if others:
        what = f"'{found.name}' is a red team: nothing is set beside it"
        raise Misconfigured("E105", what, place=" ".join(others), hint=f"hedgerow report {found.name}")
    page = found.draw()
    return {"red_team": found.name, "report": str(page)}, str(page)


def run_command(of_all: str, given: Scenario, cell: Cell) -> str:
    """The command of one run, from that of its red team and its scenario.

    Empty where the red team was started from Python, and where the scenario states a strength: a command cannot take
    that back for another attack.
    """
    if not of_all.startswith("hedgerow attack ") or given.strength is not None:
        return ""
    _, _, path, *rest = [word for word in shlex.split(of_all) if word != "--recommend"]
    options = list(zip(rest[::2], rest[1::2], strict=True))
    said = {option: value for option, value in options if option in ("-c", "-s")}
    kept = [pair for pair in options if pair[0] in OF_ITS_OWN]
    scenario = {key: value for key, value in read_words("-s", said.get("-s", "")).items() if key not in _HOSTILE}
    job = read_words("-c", said.get("-c", ""))
    changed_job, changed_scenario = _stated(cell)
    return command("sim", path, _words({**job, **changed_job}), _words({**scenario, **changed_scenario}), kept)


_HOSTILE = ("attack", "attackers")


def _stated(cell: Cell) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """What a cell states of the job and of the scenario, whatever the project says."""
    defence = {key: value for key, value in cell.job.flat().items() if key.startswith("aggregate.")}
    more = {key: value for key, value in cell.implied.items() if key in Job.keys()}
    hostile = {key: value for key, value in cell.implied.items() if key not in more}
    quiet: dict[str, Scalar] = {"attack": NOBODY, "attackers": 0} if not hostile else {}
    of = cell.scenario
    job: dict[str, Scalar] = {**defence, **more, "leakage.gate": ""}
    return job, {**quiet, **hostile, "split": of.split, "sites": of.sites, "seed": of.seed}


def _words(values: Mapping[str, Scalar]) -> str:
    return " ".join(f"{key}={shlex.quote(scalar_text(value))}" for key, value in values.items())


def _answer(done: RedTeam, runs: Path, *, quiet: bool) -> tuple[Mapping[str, Any], str]:
    """The envelope's data and the words; an error if a gate failed or a run stopped that nobody attacked."""
    folder, advice = done.folder, done.recommended
    data = {
        "red_team": done.name,
        "folder": str(done.path),
        "report": str(done.report),
        "status": done.status,
        "own": folder.defences[0].name,
        "worst": done.worst,
        "table": done.table,
        "gates": [dataclasses.asdict(gate) for gate in done.gates],
        "recommended": dataclasses.asdict(advice) if folder.recommends and advice else None,
    }
    lines = [*worst_lines(done), *(f"gate {gate.text}" for gate in done.gates)]
    lines += advice_lines(advice) if folder.recommends and advice else []
    words = "\n".join([*lines, closing_words(done)])
    error = _what_failed(done, runs)
    if error is None:
        return data, words
    raise failed_after(words, error, data, quiet=quiet)


def _what_failed(done: RedTeam, runs: Path) -> HedgerowError | None:
    """A run that stopped and was not brought down by an attack, or else a gate."""
    stopped = [run for run in done.failed if broken(run)]
    if stopped:
        return error_of(
            stopped[0].code or "E900",
            f"{len(stopped)} of {len(done.outcomes)} runs failed; {stopped[0].name}: {stopped[0].reason}",
            place=str(done.path),
            hint=f"the report is {done.report}; those that stopped are tried again by: "
            f"{resume_command(runs, done.name)}",
        )
    failed = next((gate for gate in done.gates if not gate.passed), None)
    if failed is not None:
        return error_of("E507", f"gate {failed.text}", place=str(done.path), hint=f"the report is {done.report}")
    return None


def _listed(text: str, option: str) -> list[str] | None:
    """The words between commas; `None` where nothing is written."""
    if not text:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise Misconfigured("E103", f"there is an empty word in '{text}'", place=option)
    return words


def _attacks(text: str) -> list[str] | None:
    """The attacks between commas; what begins like a number belongs to the one before it: `badnets:0.5,7,alie`.

    >>> _attacks("sign-flip, badnets:0.5,7, alie")
    ['sign-flip', 'badnets:0.5,7', 'alie']
    """
    words = _listed(text, "--attacks")
    if words is None:
        return None
    joined: list[str] = []
    for word in words:
        if joined and word[0] in ".0123456789":
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def _numbers(text: str) -> list[int] | None:
    words = _listed(text, "--f")
    if words is None:
        return None
    if not all(word.isdecimal() for word in words):
        raise Misconfigured(
            "E102", f"'{text}' is no list of whole numbers", place="--f", hint="write for example --f 1,2"
        )
    return list(map(int, words))
