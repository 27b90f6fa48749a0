"""The runs of a red team: every pair once, seeds paired, the defence told of as many as attack."""

from collections import Counter

import pytest

from hedgerow import Job, Scenario
from hedgerow.errors import Misconfigured
from hedgerow.simulations.redteam.battery import SEES, adversary, battery
from hedgerow.simulations.redteam.cells import cases_of, cells_of, honest
from hedgerow.simulations.redteam.defences import Defence
from hedgerow.simulations.sweeps.cells import Cell

DEFENCES = [Defence.parse(text) for text in ("median", "krum", "mean")]
ATTACKS = ("sign-flip:4", "label-flip")


def made(job: Job, scenario: Scenario, *, f: tuple[int, ...] = (1, 2), seeds: int = 2) -> tuple[Cell, ...]:
    sites = {"iid": 7, "labels:1": 7}
    return cells_of(job, scenario, attacks=ATTACKS, defences=DEFENCES, f=f, sites=sites, seeds=seeds)


def test_every_pair_stands_there_once_with_every_seed(job: Job, scenario: Scenario) -> None:
    cells = made(job, scenario)
    pairs = Counter((*cell.settings.values(), cell.seed) for cell in cells)
    assert set(pairs.values()) == {1}
    assert len(cells) == 2 * 2 * (1 + 2 * 3 * 3)
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


def test_as_many_attack_as_the_defence_was_told_of(job: Job, scenario: Scenario) -> None:
    for cell in made(job, scenario):
        f = cell.settings["f"]
        attacked = cell.settings["attack"] != "none"
        assert cell.job.aggregate.byzantine == f
        assert cell.scenario.attackers == (f if attacked else 0)
        assert (cell.scenario.attack, cell.scenario.strength) == (cell.settings["attack"], None)
        assert (cell.scenario.split, cell.scenario.seed) == (cell.settings["split"], cell.seed)


def test_the_plain_mean_without_attackers_is_there_for_each_split_and_seed(job: Job, scenario: Scenario) -> None:
    plain = [cell for cell in made(job, scenario) if cell.settings["f"] == 0]
    assert [(cell.settings["split"], cell.seed) for cell in plain] == [
        ("iid", 4),
        ("labels:1", 4),
        ("iid", 5),
        ("labels:1", 5),
    ]
    assert all(cell.job.aggregate.rule == "mean" and cell.job.aggregate.before == "none" for cell in plain)


def test_only_the_settings_of_a_cell_differ_from_the_job(job: Job, scenario: Scenario) -> None:
    job = job.override({"leakage.gate": "auc <= 0.6", "local.lr": 0.3})
    for cell in made(job, scenario):
        changed = dict(cell.job.flat().items() - job.flat().items())
        assert changed.keys() <= {"aggregate.rule", "aggregate.before", "aggregate.byzantine", "leakage.gate"}
        assert cell.job.leakage.gate == ""  # it judges a release


def test_a_defence_that_does_not_fit_is_a_case_with_its_reason_and_has_no_runs(job: Job, scenario: Scenario) -> None:
    cases = cases_of(job, {"iid": 7}, DEFENCES, (2, 3))
    unfit = {(case.defence, case.f) for case in cases if case.unfit}
    assert unfit == {("krum", 3)}
    sites = {"iid": 7}
    cells = cells_of(job, scenario, attacks=ATTACKS, defences=DEFENCES, f=(2, 3), sites=sites, seeds=1)
    assert {("krum", 3)} & {(cell.settings["defence"], cell.settings["f"]) for cell in cells} == set()


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5, 100_000])
def test_a_wrong_number_of_seeds_is_refused(job: Job, scenario: Scenario, seeds: int) -> None:
    with pytest.raises(Misconfigured) as caught:
        made(job, scenario, seeds=seeds)
    assert (caught.value.code, caught.value.place) == ("E103", "seeds")


def test_the_scenarios_own_attack_does_not_reach_the_honest_runs() -> None:
    scenario = Scenario(sites=5, attack="sign-flip", attackers=2, strength=3.0, seed=9)
    assert honest(scenario) == Scenario(sites=5, seed=9)


def test_the_default_battery_has_the_scenarios_own_attack_first() -> None:
    scenario = Scenario(sites=5, attack="gaussian", attackers=2, strength=3.0)
    chosen = battery(scenario, None)
    assert chosen[0] == "gaussian:3.0" and len(set(chosen)) == len(chosen)
    assert {adversary(attack) for attack in battery(Scenario(), None)} == set(SEES.values())


@pytest.mark.parametrize(
    ("wanted", "code", "hint"),
    [
        (["sing-flip"], "E103", ""),
        (["sign-flip:x"], "E103", ""),
        ([], "E103", ""),
        (["ipm"] * 0 + ["gaussian"] * 2, "E105", ""),
    ],
)
def test_a_wrong_attack_is_refused(wanted: list[str], code: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        battery(Scenario(), wanted)
    assert (caught.value.code, caught.value.place) == (code, "attacks") and hint in caught.value.hint


def test_all_is_every_attack_that_a_scenario_knows() -> None:
    from hedgerow.scenario import ATTACKS

    assert battery(Scenario(), ["all"]) == tuple(name for name in ATTACKS if name != "none")
