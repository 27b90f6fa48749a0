"""The verbs of the command line, as Typer commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer

import hedgerow
from hedgerow.cli.answer import answer, fail

__all__ = ["app", "run"]

app = typer.Typer(
    name="hedgerow",
    help="Private, robust federated learning on Flower.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON envelope on stdout and nothing else.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of the runs.")]
JobWords = Annotated[str, typer.Option("-c", "--config", help="Change the job: 'rounds=5 privacy.epsilon=2'.")]
ScenarioWords = Annotated[str, typer.Option("-s", "--scenario", help="Change the scenario: 'sites=100 attackers=0'.")]
ProjectPath = Annotated[Path, typer.Argument(help="A project's folder.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder; the newest where left out.")]

HERE, RUNS = Path("."), Path("runs")


def run() -> None:
    """Run the command line; a mistake in it is an error like any other."""
    try:
        app(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        fail("--json" in sys.argv, "E100", error.format_message(), hint="see hedgerow --help", exit_code=2)
    except click.exceptions.Abort:
        fail("--json" in sys.argv, "E901", "interrupted", exit_code=130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)


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
def demo(runs: Runs = RUNS, config: JobWords = "", scenario: ScenarioWords = "", json: Json = False) -> None:
    """Train on real digits with privacy and attackers, measure what leaked, and write a report."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.demo import run_demo
        from hedgerow.cli.outcome import closing_words, run_data
        from hedgerow.cli.progress import Progress
        from hedgerow.settings import parse_overrides

        finished = run_demo(
            runs=runs,
            job_overrides=parse_overrides(config),
            scenario_overrides=parse_overrides(scenario),
            listeners=[] if json else [Progress()],
            say=_say_nothing if json else _say_twin,
        )
        return run_data(finished), closing_words(finished)

    answer(json, work)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The project's folder.")],
    data: Annotated[Path | None, typer.Option(help="A CSV or Parquet table to learn from.")] = None,
    label: Annotated[str | None, typer.Option(help="The table's column to predict.")] = None,
    site: Annotated[str | None, typer.Option(help="The table's column whose values are the sites.")] = None,
    json: Json = False,
) -> None:
    """Make a project: a Flower app that runs as it is, on digits or on your own table."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.new import create_project

        made = create_project(Path(name), data=data, label=label, site=site)
        next_steps = f"\nnext:\n  hedgerow check {name}\n  hedgerow sim {name}"
        files = [str(file) for file in made.files]
        return {"folder": str(made.folder), "files": files, "said": list(made.said)}, "\n".join(made.said) + next_steps

    answer(json, work)


@app.command()
def check(
    path: ProjectPath = HERE, config: JobWords = "", scenario: ScenarioWords = "", json: Json = False
) -> None:
    """Judge a project's job and data before a round runs."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.checking import check_project

        return check_project(path, config, scenario)

    answer(json, work)


@app.command()
def sim(
    path: ProjectPath = HERE,
    engine: Annotated[str, typer.Option(help="in-process, or ray (extra 'ray').")] = "in-process",
    runs: Runs = RUNS,
    config: JobWords = "",
    scenario: ScenarioWords = "",
    json: Json = False,
) -> None:
    """Simulate a project on this machine. Any other Flower app folder runs in-process too, unmodified."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.simulating import simulate_project

        return simulate_project(path, engine, runs, config, scenario, quiet=json)

    answer(json, work)


@app.command()
def local(
    path: ProjectPath = HERE, runs: Runs = RUNS, config: JobWords = "", scenario: ScenarioWords = "", json: Json = False
) -> None:
    """Run a project on a real SuperLink and site processes on this machine, and clean up afterwards."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.simulating import run_project_locally

        return run_project_locally(path, runs, config, scenario, quiet=json)

    answer(json, work)


@app.command("ls")
def list_runs(runs: Runs = RUNS, json: Json = False) -> None:
    """List the runs, the newest last."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.outcome import run_table

        return run_table(runs)

    answer(json, work)


@app.command()
def report(
    run_name: RunName = "",
    others: Annotated[list[str] | None, typer.Argument(help="Other runs to set beside it.")] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Draw a run's report again from its events, alone or beside other runs."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.outcome import find_run
        from hedgerow.report import write_report

        run = find_run(runs, run_name)
        page = write_report(run.path, [find_run(runs, other).path for other in others or ()])
        return {"run": run.name, "report": str(page)}, str(page)

    answer(json, work)


@app.command()
def resume(run_name: RunName = "", runs: Runs = RUNS, json: Json = False) -> None:
    """Continue a run from its last checkpoint, to the same result as without the stop."""

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.simulating import resume_run

        return resume_run(runs, run_name, quiet=json)

    answer(json, work)


def _say_nothing(name: str, final: Mapping[str, float]) -> None:
    """JSON alone goes to stdout."""


def _say_twin(name: str, final: Mapping[str, float]) -> None:
    words = {"undefended": "without the robust rule", "without-dp": "without differential privacy"}
    metrics = ", ".join(f"{key} {value:.3f}" for key, value in list(final.items())[:1])
    print(f"the same job {words[name]}: {metrics}", flush=True)
