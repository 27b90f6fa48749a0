"""The runs of a sweep: all combinations, names a file system takes, and every mistake told before anything runs."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow import Job, Privacy, Scenario, Secure
from hedgerow.errors import Misconfigured
from hedgerow.folders import NAME
from hedgerow.simulations.sweeps.cells import base, cell_words, cells, checked_grid

JOB = Job(privacy=Privacy(unit="record", epsilon=3.0, delta=1e-4), secure=Secure(mode="off"))
ATTACKED = Scenario(sites=6, attack="sign-flip", attackers=1, seed=3)


def test_every_combination_runs_once_with_every_seed() -> None:
    grid = {"privacy.epsilon": (1, 3, 8), "aggregate.rule": ("median", "krum")}
    runs = cells(JOB, Scenario(seed=7), grid, seeds=3)
    found = [(run.job.privacy.epsilon, run.job.aggregate.rule, run.scenario.seed) for run in runs]
    assert sorted(found) == sorted(itertools.product((1.0, 3.0, 8.0), ("median", "krum"), (7, 8, 9)))
    assert len({run.name for run in runs}) == 18


def test_a_sweep_goes_seed_by_seed_so_that_a_stopped_one_compares_every_cell() -> None:
    runs = cells(JOB, Scenario(), {"local.lr": (0.1, 0.2)}, seeds=2)
    assert [(run.seed, run.settings["local.lr"]) for run in runs] == [(0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)]


def test_the_same_seed_is_the_same_scenario_in_every_cell() -> None:
    runs = cells(JOB, ATTACKED, {"aggregate.rule": ("median", "krum"), "privacy.epsilon": (1, 8)}, seeds=2)
    for seed in (3, 4):
        assert len({run.scenario for run in runs if run.seed == seed}) == 1


def test_without_a_grid_the_job_is_repeated() -> None:
    runs = cells(JOB, Scenario(seed=5), {}, seeds=3)
    assert [run.name for run in runs] == ["seed-5", "seed-6", "seed-7"]
    assert {run.job for run in runs} == {JOB}


@pytest.mark.parametrize(
    ("grid", "found"),
    [
        ({"attackers": (0, 1, 2)}, [("none", 0), ("sign-flip", 1), ("sign-flip", 2)]),
        ({"attack": ("none", "label-flip")}, [("none", 0), ("label-flip", 1)]),
    ],
)
def test_nobody_attacking_can_be_among_the_values(grid: Any, found: list[Any]) -> None:
    assert [(run.scenario.attack, run.scenario.attackers) for run in cells(JOB, ATTACKED, grid, seeds=1)] == found


def test_privacy_can_be_swept_off() -> None:
    first, second = cells(JOB, Scenario(), {"privacy.unit": ("none", "record")}, seeds=1)
    assert (first.job.privacy.epsilon, second.job.privacy.epsilon) == (None, 3.0)


Values = st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=4, unique=True)


@given(values=Values)
def test_a_name_is_a_folders_name_and_nobody_elses(values: list[str]) -> None:
    job = JOB.override({"leakage.gate": "auc <= 0.9"})
    runs = cells(job, Scenario(), {"leakage.gate": tuple(values)}, seeds=2)
    assert len({run.name for run in runs}) == len(runs)
    assert all(NAME.fullmatch(run.name) for run in runs)


def test_names_say_as_much_of_the_key_as_tells_it_apart() -> None:
    (run,) = cells(JOB, Scenario(), {"local.lr": (0.5,), "server.lr": (1.0,), "rounds": (3,)}, seeds=1)
    assert run.name == "local.lr-0.5_server.lr-1_rounds-3"


def test_words_are_written_as_on_the_command_line() -> None:
    assert cell_words({"local.lr": 0.5, "rounds": 3, "aggregate.rule": "krum"}) == (
        "local.lr=0.5 rounds=3 aggregate.rule=krum"
    )


@pytest.mark.parametrize(
    ("grid", "code", "place"),
    [
        ({"privacy.epsilom": [1]}, "E101", "privacy.epsilom"),
        ({"privacy.epsilon": []}, "E103", "privacy.epsilon"),
        ({"aggregate.rule": "krum"}, "E102", "aggregate.rule"),
        ({"rounds": 3}, "E102", "rounds"),
        ({"server.lr": [None]}, "E102", "server.lr"),
        ({"privacy.epsilon": [1, 3, 1.0]}, "E105", "privacy.epsilon"),
        ({"seed": [1, 2]}, "E105", "seed"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid: Any, code: str, place: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        checked_grid(grid)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_numpys_numbers_are_numbers() -> None:
    grid = checked_grid({"local.lr": np.array([0.1, 0.2]), "rounds": np.arange(1, 3)})
    assert grid == {"local.lr": (0.1, 0.2), "rounds": (1, 2)}
    assert all(type(value) in (int, float) for values in grid.values() for value in values)


@pytest.mark.parametrize(
    ("grid", "code", "cell"),
    [
        ({"privacy.epsilon": (1, -1)}, "E103", "privacy.epsilon=-1"),
        ({"privacy.epsilon": (1, "two")}, "E102", "privacy.epsilon=two"),
        ({"aggregate.rule": ("krum", "crum")}, "E103", "aggregate.rule=crum"),
        ({"privacy.unit": ("record", "none"), "privacy.epsilon": (1,)}, "E105", "privacy.unit=none"),
        ({"attackers": (1, 7)}, "E105", "attackers=7"),
    ],
)
def test_a_value_that_no_cell_can_take_names_the_cell(grid: Any, code: str, cell: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        cells(JOB, ATTACKED, grid, seeds=1)
    assert caught.value.code == code
    assert caught.value.place.startswith(f"cell {cell}")


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5, 10_001])
def test_a_number_of_seeds_that_makes_no_sense_is_refused(seeds: Any) -> None:
    with pytest.raises(Misconfigured) as caught:
        cells(JOB, Scenario(), {}, seeds)
    assert (caught.value.code, caught.value.place) == ("E103", "seeds")


def test_seeds_beyond_the_largest_are_refused() -> None:
    with pytest.raises(Misconfigured) as caught:
        cells(JOB, Scenario(seed=2**63 - 1), {}, seeds=2)
    assert caught.value.code == "E103"


PRIVATE = Job(privacy=Privacy(unit="record", epsilon=3.0, delta=1e-4), secure=Secure(mode="off"))


def test_a_base_that_holds_is_the_settings_with_their_overrides() -> None:
    grid = {"attackers": (1, 2)}
    assert base(Scenario(), {"seed": 7}, grid) == Scenario(seed=7)
    assert base(PRIVATE, {"rounds": 3}, grid) == PRIVATE.override({"rounds": 3})


@pytest.mark.parametrize("attackers", [(1, 2), (0, 1, 2), (2, 0), (99, 1)])
def test_what_contradicts_itself_only_without_the_swept_values_is_a_base(attackers: tuple[int, ...]) -> None:
    """Attackers that no cell has (none at all) do not matter, and the cells are those of a base that holds."""
    grid = {"attackers": attackers}
    found = base(Scenario(), {"attack": "sign-flip"}, grid)
    usable = {"attackers": tuple(n for n in attackers if n < 99)}
    whole = Scenario(attack="sign-flip", attackers=3)
    assert [run.scenario for run in cells(PRIVATE, found, usable, 1)] == [
        run.scenario for run in cells(PRIVATE, whole, usable, 1)
    ]


def test_a_base_keeps_the_budget_for_the_cells_that_need_it() -> None:
    """The first cell has no privacy and so no budget; it cannot stand in for the others."""
    grid = {"privacy.unit": ("none", "record"), "evaluate": ("server", "none")}
    found = base(PRIVATE, {"evaluate": "sites"}, grid)
    assert [run.job.privacy.epsilon for run in cells(found, Scenario(), grid, 1)] == [None, None, 3.0, 3.0]


def test_where_no_cell_can_be_the_first_one_is_named() -> None:
    with pytest.raises(Misconfigured) as caught:
        base(Scenario(sites=5), {"attack": "sign-flip"}, {"attackers": (20, 30)})
    assert caught.value.place.startswith("cell attackers=20") and "20 attackers among 5 sites" in caught.value.message


def test_what_has_nothing_to_do_with_the_swept_values_is_said_as_ever() -> None:
    with pytest.raises(Misconfigured) as caught:
        base(Scenario(), {"atack": "sign-flip"}, {"attackers": (1, 2)})
    assert (caught.value.code, "cell" in caught.value.place) == ("E101", False)
