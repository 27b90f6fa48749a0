"""The verbs of the command line, as Typer commands."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer

import hedgerow
from hedgerow.cli.again import RUNS, resume_new, resume_words
from hedgerow.cli.answer import INTERRUPTED, answer, fail
from hedgerow.cli.attackverb import attack
from hedgerow.cli.auditing import audit
from hedgerow.cli.budgetverb import budget
from hedgerow.cli.options import (
    Address,
    Device,
    Engine,
    JobWords,
    Json,
    Memory,
    ProjectPath,
    RunName,
    Runs,
    ScenarioWords,
    Seeds,
    Sites,
    Sweeps,
    Workers,
    together,
)
from hedgerow.errors import CODES

__all__ = ["app", "run"]

app = typer.Typer(
    name="hedgerow",
    help="Private, robust federated learning on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HERE = Path(".")


def run() -> None:
    """Run the command line; a mistake in it is an error like any other."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without ε shows '?' and goes on
            stream.reconfigure(errors="replace")
    as_json = "--json" in sys.argv
    try:
        app(prog_name="hedgerow", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        message, hint = _usage(error)
        fail(as_json, "E100", message, hint=hint, exit_code=2)
    except click.exceptions.Abort:
        fail(as_json, "E901", CODES["E901"], exit_code=INTERRUPTED)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)


def _usage(error: click.ClickException) -> tuple[str, str]:
    """What is wrong in the command line, once, and what to write instead."""
    said, _, guess = error.format_message().partition(" Did you mean ")
    context = getattr(error, "ctx", None)
    verb = context.command_path if context is not None else "hedgerow"
    if isinstance(error, click.NoSuchOption) and error.option_name == "--json":
        return said.rstrip("."), "write --json after the verb"
    near = re.match("'([^']+)'", guess)
    return said.rstrip("."), f"did you mean '{near[1]}'?" if near else f"see {verb} --help"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hedgerow {hedgerow.__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Private, robust federated learning on Flower."""


@app.command()
def demo(runs: Runs = RUNS, config: JobWords = None, scenario: ScenarioWords = None, json: Json = False) -> None:
    """Watch a whole job on real digits.

    Ten sites train with differential privacy, two of them attack, a robust rule resists, and an attack measures what
    leaked. The same job runs without each protection, and a report sets them side by side.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.demo import run_demo, say_nothing, say_twin
        from hedgerow.cli.outcome import closing_words, run_data
        from hedgerow.progress import Progress

        finished = run_demo(
            runs=runs,
            config=together(config),
            scenario=together(scenario),
            listeners=[] if json else [Progress()],
            say=say_nothing if json else say_twin,
        )
        return run_data(finished), closing_words(finished)

    answer(json, work, again=resume_new(runs))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", hidden=True)],
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV or Parquet table to learn from.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="The table's column to predict.")] = None,
    site: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The table's column whose values are the sites.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a project, on digits or your own table.

    NAME is the folder that is made: a Flower app that runs as it is.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.checking import finding_line, finding_record
        from hedgerow.new import create_project

        made = create_project(Path(name), data=data, label=label, site=site)
        folder = shlex.quote(name)
        next_steps = f"\nnext:\n  hedgerow check {folder}\n  hedgerow sim {folder}"
        told = {
            "folder": str(made.folder),
            "files": [str(file) for file in made.files],
            "said": list(made.said),
            "findings": [finding_record(finding) for finding in made.findings],
        }
        return told, "\n".join([*made.said, *map(finding_line, made.findings)]) + next_steps

    answer(json, work)


@app.command()
def check(
    path: ProjectPath = HERE, config: JobWords = None, scenario: ScenarioWords = None, json: Json = False
) -> None:
    """Judge a job and its data before a round runs.

    PATH is the project's folder, this one where left out. Errors come first, then warnings and notes.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.checking import check_project

        return check_project(path, together(config), together(scenario))

    answer(json, work)


@app.command()
def sim(
    path: ProjectPath = HERE,
    engine: Engine = "auto",
    sites: Sites = None,
    seeds: Seeds = 1,
    sweep: Sweeps = None,
    workers: Workers = None,
    memory: Memory = "",
    address: Address = "",
    device: Device = "auto",
    runs: Runs = RUNS,
    config: JobWords = None,
    scenario: ScenarioWords = None,
    json: Json = False,
) -> None:
    """Simulate a project on this machine.

    PATH is the project's folder, this one where left out. Any other Flower app runs too, as it is.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.simulating import Asked, Means, simulate_project
        from hedgerow.cli.sweeping import sweep_project

        asked = Asked(
            path=path,
            engine=engine,
            sites=sites,
            seeds=seeds,
            sweeps=tuple(sweep or ()),
            device=device,
            means=Means(workers=workers, memory=memory, address=address),
            config=together(config),
            scenario=together(scenario),
        )
        if asked.sweeps or seeds != 1:
            return sweep_project(asked, runs, quiet=json)
        return simulate_project(asked, runs, quiet=json)

    answer(json, work, again=resume_new(runs))


@app.command()
def local(
    path: ProjectPath = HERE,
    runs: Runs = RUNS,
    config: JobWords = None,
    scenario: ScenarioWords = None,
    json: Json = False,
) -> None:
    """Run a project on real servers of this machine.

    PATH is the project's folder, this one where left out. A SuperLink and a process for each site are started, watched
    and cleaned up.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.simulating import run_project_locally

        return run_project_locally(path, runs, together(config), together(scenario), quiet=json)

    answer(json, work, again=resume_new(runs))


app.command()(attack)
app.command()(audit)
app.add_typer(budget, name="budget")


@app.command("ls")
def list_runs(runs: Runs = RUNS, json: Json = False) -> None:
    """List the runs, sweeps and red teams, the newest last."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.outcome import run_table

        return run_table(runs)

    answer(json, work)


@app.command()
def report(
    run_name: RunName = "",
    others: Annotated[list[str] | None, typer.Argument(metavar="[OTHERS]...", hidden=True)] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Draw a run's report again from its events.

    RUN is the name or folder of a run, a sweep or a red team, the newest where left out. OTHERS are runs to set beside
    a run.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.kinds import report_found

        return report_found(runs, run_name, others or ())

    answer(json, work)


@app.command()
def resume(
    run_name: RunName = "",
    workers: Workers = None,
    memory: Memory = "",
    address: Address = "",
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Continue a run, a sweep or a red team from its last checkpoint.

    RUN is its name or folder, the newest where left out. The result is the same as without the stop.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.kinds import resume_found
        from hedgerow.cli.simulating import Means

        means = Means(workers=workers, memory=memory, address=address)
        return resume_found(runs, run_name, means, quiet=json)

    answer(json, work, again=lambda: resume_words(runs, run_name))
