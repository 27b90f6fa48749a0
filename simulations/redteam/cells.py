"""The runs of a red team, all known beforehand: every attack on every defence, and nobody attacking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.report.redteamrows import MEAN, NOBODY, Case
from hedgerow.scenario import Scenario
from hedgerow.settings import Scalar
from hedgerow.simulations.redteam.defences import Defence, asked_in_a_round
from hedgerow.simulations.sweeps.cells import LONGEST_NAME, MOST_RUNS, UNFIT, Cell, cell_words, in_cell

__all__ = ["cases_of", "cells_of", "honest"]


def cases_of(job: Job, sites: Mapping[str, int], defences: Sequence[Defence], f: Sequence[int]) -> tuple[Case, ...]:
    """What each defence is up against, the most hostile sites last; `sites` says how many each split has."""
    return tuple(
        Case(
            split=split,
            f=number,
            defence=defence.name,
            unfit=defence.unfit(number, asked_in_a_round(defence.job(job, number), count)),
        )
        for split, count in sites.items()
        for number in f
        for defence in defences
    )


def cells_of(
    job: Job,
    scenario: Scenario,
    *,
    attacks: Sequence[str],
    defences: Sequence[Defence],
    f: Sequence[int],
    sites: Mapping[str, int],
    seeds: int,
) -> tuple[Cell, ...]:
    """Every run, seed by seed: a red team that is stopped has whole rounds of comparisons.

    In each split there is the plain mean without attackers (`f` = 0), and each defence that can be run against `f`
    hostile sites, told of as many: without attackers, and under every attack. The same seed is the same split, the same
    attackers and the same random streams throughout.

    Raises:
        Misconfigured: E101–E106 with the cell as the place; E103 for less than one seed or too many runs.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise Misconfigured("E103", f"seeds is {seeds!r}, but must be a whole number of at least 1", place="seeds")
    by_name = {each.name: each for each in defences}
    cases = [case for case in cases_of(job, sites, defences, f) if not case.unfit]
    total = seeds * (len(sites) + len(cases) * (1 + len(attacks)))
    if total > MOST_RUNS:
        raise Misconfigured("E103", f"a red team of {total:,} runs is too large: at most {MOST_RUNS:,}", place="seeds")
    quiet = honest(scenario)
    plain = Defence(rule=MEAN, before="none", more={})
    made: list[Cell] = []
    for k in range(seeds):
        for split, count in sites.items():
            of = quiet.override({"split": split, "sites": count, "seed": scenario.seed + k})
            made.append(_cell(job, of, plain, NOBODY, 0))
            for case in cases:
                if case.split == split:
                    defence = by_name[case.defence]
                    made += [_cell(job, of, defence, attack, case.f) for attack in (NOBODY, *attacks)]
    return _named(made)


def honest(scenario: Scenario) -> Scenario:
    """The scenario with nobody attacking."""
    kept = {key: value for key, value in scenario.flat().items() if key not in ("attack", "attackers", "strength")}
    return Scenario.from_flat(kept)


def _cell(job: Job, scenario: Scenario, defence: Defence, attack: str, f: int) -> Cell:
    settings: dict[str, Scalar] = {
        "split": scenario.split,
        "f": f,
        "defence": defence.name,
        "attack": attack,
    }
    hostile: dict[str, Scalar] = {} if attack == NOBODY else {"attack": attack, "attackers": f}
    try:
        return Cell(
            name="",
            settings=settings,
            implied={**defence.more, **hostile},
            seed=scenario.seed,
            job=defence.job(job, f).override({"leakage.gate": ""}),  # it judges a release, and no cell is one
            scenario=scenario.override(hostile),
        )
    except Misconfigured as error:
        raise in_cell(error, cell_words({**settings, "seed": scenario.seed})) from None


def _named(made: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with names for their folders: what tells them apart, and nothing that a file system minds."""
    told = {key for key in ("split", "f") if len({cell.settings[key] for cell in made} - {0}) > 1}
    taken: dict[str, int] = {}
    named = []
    for cell in made:
        of = cell.settings
        parts = [str(of["split"])] if "split" in told else []
        if of["f"] == 0:
            parts += ["plain-mean"]
        else:
            parts += ([f"f{of['f']}"] if "f" in told else []) + [str(of["defence"]), str(of["attack"])]
        stem = "_".join(UNFIT.sub("-", part).strip("-") for part in parts)[:LONGEST_NAME] + f"_seed-{cell.seed}"
        taken[stem] = taken.get(stem, 0) + 1
        named.append(replace(cell, name=stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"))
    return tuple(named)
