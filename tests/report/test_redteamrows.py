"""The worst case is really the worst: over attacks and seeds, with a model that was destroyed below everything."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulations.redteam.fakes import fake_cases, fake_run, fake_runs

from hedgerow.report.redteamrows import Case, broken, pair_of, worst_cases

VALUES = st.floats(0, 1).map(lambda value: round(value, 3))


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), min_size=1, max_size=4))
def test_the_worst_is_the_least_of_every_attack_and_seed(table: list[list[float]]) -> None:
    attacks = {f"a{k}": values for k, values in enumerate(table)}
    (case,) = fake_cases({"krum": {"none": [0.9, 0.9], **attacks}})
    least = min(itertools.chain.from_iterable(table))
    assert case.value == least
    assert attacks[case.attack][case.seed] == least
    assert case.by_seed == {seed: min(values[seed] for values in table) for seed in (0, 1)}
    assert (case.low, case.high) == (min(case.by_seed.values()), max(case.by_seed.values()))  # type: ignore[type-var]


def test_runs_without_an_attack_are_no_part_of_the_worst_case() -> None:
    (case,) = fake_cases({"krum": {"none": [0.1, 0.1], "alie": [0.7, 0.8]}})
    assert (case.value, case.attack, case.seed) == (0.7, "alie", 0)
    assert case.clean is not None and case.clean.mean == pytest.approx(0.1)


def test_a_destroyed_model_is_worse_than_any_value() -> None:
    (case,) = fake_cases({"krum": {"none": [0.9, 0.9], "alie": [0.01, 0.5], "ipm": [0.6, None]}})
    assert (case.value, case.attack, case.seed) == (None, "ipm", 1)
    assert [run.name for run in case.lost] == ["iid_f2_krum_ipm_seed-1"]
    assert case.by_seed == {0: 0.01, 1: None} and case.low is None and case.high == 0.01


def test_a_run_that_failed_under_attack_is_lost_and_one_that_waits_counts_in_nothing() -> None:
    stopped = fake_run("krum", "alie", None, status="failed", code="E501")
    waiting = fake_run("krum", "ipm", None, status="waiting")
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], [stopped, waiting])
    assert (case.lost, case.waiting, case.measured) == ((stopped,), 1, 1)
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], [waiting])
    assert (case.value, case.attack, case.lost, case.waiting) == (None, "", (), 1)


def test_what_no_attack_can_cause_is_broken_and_counts_in_nothing() -> None:
    case = Case(split="iid", f=2, defence="krum")
    runs = [
        fake_run("krum", "none", None, status="failed", code="E501"),
        fake_run("krum", "alie", None, status="failed", code="E900"),
        fake_run("krum", "ipm", 0.4),
    ]
    (worst,) = worst_cases([case], runs)
    assert [run.code for run in worst.broken] == ["E501", "E900"]
    assert (worst.value, worst.lost) == (0.4, ())
    assert broken(runs[0]) and not broken(fake_run("krum", "ipm", None, status="failed", code="E502"))


def test_a_model_that_nobody_judged_is_not_lost_and_not_measured() -> None:
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], [fake_run("krum", "alie", None, metric="")])
    assert (case.value, case.attack, case.lost, case.waiting, case.measured) == (None, "", (), 0, 0)


def test_of_a_loss_the_highest_is_the_worst() -> None:
    runs = [
        replace(run, metric="loss") for run in fake_runs({"krum": {"none": [0.5], "a": [0.7], "b": [2.0]}}, mean=[0.4])
    ]
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], runs)
    assert (case.value, case.attack) == (2.0, "b")
    assert case.cost == pytest.approx(0.1)  # a higher loss than the mean's costs something


def test_the_clean_cost_is_to_the_mean_of_the_same_seed() -> None:
    runs = fake_runs({"krum": {"none": [0.90, 0.80], "alie": [0.5, 0.5]}}, mean=[0.95, 0.81])
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], runs)
    assert case.costs == pytest.approx({0: 0.05, 1: 0.01})
    assert case.cost == pytest.approx(0.03)


def test_cases_do_not_mix_splits_nor_numbers_of_hostile_sites() -> None:
    runs = [
        run
        for k, (split, f) in enumerate(itertools.product(("iid", "labels:2"), (1, 2)))
        for run in fake_runs({"krum": {"none": [0.9], "alie": [0.5 + k / 10]}}, f=f, split=split)
    ]
    cases = [Case(split=split, f=f, defence="krum") for split in ("iid", "labels:2") for f in (1, 2)]
    assert [case.value for case in worst_cases(cases, runs)] == [0.5, 0.6, 0.7, 0.8]


def test_the_strongest_backdoor_is_told_with_its_name() -> None:
    runs = [
        fake_run("krum", "none", 0.9, f=2),
        fake_run("krum", "badnets", 0.9, backdoor=0.1),
        fake_run("krum", "dba", 0.9, backdoor=0.7),
        fake_run("krum", "alie", 0.5),
    ]
    (case,) = worst_cases([Case(split="iid", f=2, defence="krum")], runs)
    assert (case.backdoor, case.backdoor_attack, case.attack) == (0.7, "dba", "alie")


def test_one_attack_on_one_defence_is_told_by_its_worst_seed() -> None:
    runs = fake_runs({"krum": {"none": [0.9, 0.9, 0.9], "alie": [0.6, 0.4, None]}})
    of = pair_of(runs, Case(split="iid", f=2, defence="krum"), "alie")
    assert (of.lowest, of.lost, of.waiting, len(of.runs)) == (0.4, 1, 0, 3)
    assert of.result is not None and of.result.mean == pytest.approx(0.5)
