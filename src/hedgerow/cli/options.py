"""The options that verbs share, with their help."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Address",
    "Device",
    "Engine",
    "JobWords",
    "Json",
    "Memory",
    "ProjectPath",
    "RunName",
    "Runs",
    "ScenarioWords",
    "Seeds",
    "Sites",
    "Sweeps",
    "Workers",
    "together",
]

# Arguments are explained in each verb's words, and defaults in the help itself: what Typer makes of them depends on the
# versions of click and rich (a lost help, a stray backslash).
Json = Annotated[bool, typer.Option("--json", help="Print one JSON envelope on stdout and nothing else.")]
Runs = Annotated[
    Path, typer.Option("--runs", help="The folder of the runs; 'runs' where left out.", show_default=False)
]
JobWords = Annotated[
    list[str] | None,
    typer.Option(
        "-c",
        "--config",
        metavar="WORDS",
        help="Change the job: 'rounds=5 privacy.epsilon=2'; may be given again.",
        show_default=False,
    ),
]
ScenarioWords = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--scenario",
        metavar="WORDS",
        help="Change the scenario: 'sites=100 attackers=0'; may be given again.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="How many threads train sites (engine 'cohort').", show_default=False),
]
Memory = Annotated[
    str,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="How much memory training may take: '4GB' (engine 'cohort').",
        show_default=False,
    ),
]
Address = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster for engine 'ray'.", show_default=False)
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where sites are trained: 'cpu', which 'auto' always is, or 'cuda' (engine 'cohort').",
        show_default=False,
    ),
]
ProjectPath = Annotated[Path, typer.Argument(metavar="[PATH]", hidden=True)]
RunName = Annotated[str, typer.Argument(metavar="[RUN]", hidden=True)]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="'auto', the default, takes the fastest; 'cohort' trains many sites at once, 'in-process' one after "
        "another, 'ray' on a cluster (extra 'ray').",
        show_default=False,
    ),
]
Sites = Annotated[
    int | None, typer.Option("--sites", metavar="N", help="How many sites: -s 'sites=N'.", show_default=False)
]
Seeds = Annotated[
    int, typer.Option("--seeds", metavar="N", help="Repeat with N seeds, for mean and spread.", show_default=False)
]
Sweeps = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=A,B,…",
        help="Run a key of the job or the scenario with each of the values; given again, all combinations. A value "
        "with a comma stands in double quotes.",
        show_default=False,
    ),
]


def together(words: Sequence[str] | None) -> str:
    """What stands after an option that was given several times, as if it stood after one.

    >>> together(["rounds=5", "local.lr=1 local.epochs=2"]), together(None)
    ('rounds=5 local.lr=1 local.epochs=2', '')
    """
    return " ".join(words or ())
