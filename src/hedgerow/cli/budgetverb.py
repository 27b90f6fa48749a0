"""The verbs `hedgerow budget show`, `set` and `export`, as Typer commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hedgerow.cli.again import RUNS
from hedgerow.cli.answer import answer
from hedgerow.cli.options import Json, Runs

__all__ = ["budget"]

budget = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Store = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="STORE_OR_RUN",
        help="A ledger's file, a folder with ledgers, or a run; this machine's store where left out.",
        show_default=False,
    ),
]


@budget.callback()
def about() -> None:
    """Show, limit and export what data sets spent."""


@budget.command()
def show(
    where: Annotated[str, typer.Argument(metavar="[STORE_OR_RUN]", hidden=True)] = "",
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Show what every data set has spent, per unit.

    STORE_OR_RUN is a ledger's file, a folder with ledgers, or a run; where left out, this machine's store
    (HEDGEROW_STORE, or .hedgerow in the home folder).
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.budgeting import show_budget

        return show_budget(where, runs)

    answer(json, work)


@budget.command("set")
def set_limit(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", hidden=True)],
    epsilon: Annotated[float, typer.Option("--epsilon", metavar="E", help="What may be lost over all jobs.")],
    delta: Annotated[
        float | None,
        typer.Option(
            "--delta",
            metavar="D",
            help="The δ at which it holds; the smallest of all jobs where left out.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            "--unit",
            metavar="UNIT",
            help="Whom it protects: 'record', where left out, 'person' or 'site'.",
            show_default=False,
        ),
    ] = "record",
    new: Annotated[bool, typer.Option("--new", help="Take a data set that no ledger knows yet.")] = False,
    store: Store = "",
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Limit what a data set may lose over all jobs.

    DATASET is its name in the ledger. The limit is an entry of the ledger like any other, and every job is held to it
    from then on, beside its own.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.budgeting import set_budget

        return set_budget(dataset, unit=unit, epsilon=epsilon, delta=delta, where=store, runs=runs, new=new)

    answer(json, work)


@budget.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", hidden=True)],
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV, as for a FILE that ends in .csv; else JSON.")] = False,
    store: Store = "",
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Write all entries of a ledger for an audit.

    FILE is made: CSV or JSON, with the hashes by which every entry can be verified without Hedgerow.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.budgeting import export_budget

        return export_budget(file, as_table=csv, where=store, runs=runs)

    answer(json, work)
