"""The verb `hedgerow attack`, as a Typer command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hedgerow.cli.again import RUNS, resume_new
from hedgerow.cli.answer import answer
from hedgerow.cli.options import (
    Address,
    Engine,
    JobWords,
    Json,
    Memory,
    ProjectPath,
    Runs,
    ScenarioWords,
    Workers,
    together,
)

__all__ = ["attack"]

Attacks = Annotated[
    str,
    typer.Option(
        "--attacks",
        metavar="A,B,…",
        help="The attacks to try: 'sign-flip,alie', with a strength 'sign-flip:4', or 'all'; a battery where left out.",
        show_default=False,
    ),
]
Defences = Annotated[
    str,
    typer.Option(
        "--defences",
        metavar="A,B,…",
        help="The defences to compare with the job's own, which stands first: 'median,nnm|trimmed-mean'; a few good "
        "ones where left out.",
        show_default=False,
    ),
]
Hostile = Annotated[
    str,
    typer.Option(
        "--f",
        metavar="N,…",
        help="How many sites are hostile, and how many the defence is told of: '1,2'; as the scenario or the job says "
        "where left out.",
        show_default=False,
    ),
]
Splits = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="A,…",
        help="How the data are split: 'dirichlet:0.5,iid'; as the scenario says where left out.",
        show_default=False,
    ),
]
Repeats = Annotated[
    int, typer.Option("--seeds", metavar="N", help="Repeat with N seeds; 2 where left out.", show_default=False)
]
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="LIMIT",
        help="Fail (exit code 6) unless the job's own defence keeps it: 'worst.accuracy >= 0.80', "
        "'clean.cost <= 0.015' or 'backdoor.success <= 0.05'; may be given again.",
        show_default=False,
    ),
]
Recommends = Annotated[
    bool, typer.Option("--recommend", help="Say which defence to take, what it costs, and what to write for it.")
]
Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="The folder's name below that of the runs.", show_default=False)
]


def attack(
    path: ProjectPath = Path("."),
    attacks: Attacks = "",
    defences: Defences = "",
    f: Hostile = "",
    split: Splits = "",
    seeds: Repeats = 2,
    gate: Gates = None,
    recommend: Recommends = False,
    engine: Engine = "auto",
    workers: Workers = None,
    memory: Memory = "",
    address: Address = "",
    name: Name = "",
    runs: Runs = RUNS,
    config: JobWords = None,
    scenario: ScenarioWords = None,
    json: Json = False,
) -> None:
    """Try every attack on a project's defence and on others.

    PATH is the project's folder, this one where left out. The report has the worst case of each defence first, and what
    it costs where nobody attacks.
    """

    def work() -> tuple[Mapping[str, Any], str]:
        from hedgerow.cli.attacking import AttackAsked, attack_project
        from hedgerow.cli.simulating import Means

        asked = AttackAsked(
            path=path,
            attacks=attacks,
            defences=defences,
            f=f,
            split=split,
            seeds=seeds,
            gates=tuple(gate or ()),
            recommend=recommend,
            engine=engine,
            means=Means(workers=workers, memory=memory, address=address),
            name=name,
            config=together(config),
            scenario=together(scenario),
        )
        return attack_project(asked, runs, quiet=json)

    answer(json, work, again=resume_new(runs))
