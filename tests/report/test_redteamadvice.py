"""What is recommended: the best worst case, never one that promises nothing, and of equals the simplest."""

from collections.abc import Mapping, Sequence

import pytest
from tests.simulations.redteam.fakes import fake_cases, fake_run, fake_runs

from hedgerow.report.redteamadvice import Candidate, Recommendation, recommend
from hedgerow.report.redteamrows import Case, worst_cases

STEPS = {"mean": 0, "median": 1, "nnm|median": 2, "arc+nnm|median": 3}


def advise(
    reached: Mapping[str, Mapping[str, Sequence[float | None]]], *, unsound: Mapping[str, str] | None = None
) -> Recommendation:
    candidates = [
        Candidate(
            name=name, steps=STEPS[name], settings={"aggregate.rule": name}, unsound=(unsound or {}).get(name, "")
        )
        for name in reached
    ]
    return recommend(fake_cases(reached), candidates)


def test_the_best_worst_case_wins_not_the_best_mean() -> None:
    advice = advise(
        {
            "median": {"none": [0.9, 0.9], "a": [0.95, 0.95], "b": [0.20, 0.21]},
            "nnm|median": {"none": [0.9, 0.9], "a": [0.60, 0.61], "b": [0.60, 0.61]},
        }
    )
    assert (advice.defence, advice.worst, advice.attack, advice.tied) == ("nnm|median", 0.60, "a", ())
    assert advice.settings == {"aggregate.rule": "nnm|median", "aggregate.byzantine": 2}
    assert "median accuracy 0.200 by b" in " ".join(advice.words)


def test_a_tie_within_the_noise_between_seeds_goes_to_the_simpler_one_and_is_said() -> None:
    advice = advise(
        {
            "arc+nnm|median": {"none": [0.9, 0.9], "a": [0.80, 0.86]},
            "median": {"none": [0.9, 0.9], "a": [0.79, 0.87]},
        }
    )
    assert (advice.defence, advice.worst, advice.tied) == ("median", 0.79, ("arc+nnm|median",))
    words = " ".join(advice.words)
    assert "arc+nnm|median reached accuracy 0.800" in words and "noise between seeds" in words


def test_a_lead_that_every_seed_shows_is_no_tie() -> None:
    advice = advise(
        {
            "arc+nnm|median": {"none": [0.9, 0.9], "a": [0.80, 0.90]},
            "median": {"none": [0.9, 0.9], "a": [0.75, 0.86]},
        }
    )
    assert (advice.defence, advice.tied) == ("arc+nnm|median", ())


def test_a_worst_case_far_below_is_no_tie_however_lucky_another_seed_was() -> None:
    advice = advise(
        {
            "arc+nnm|median": {"none": [0.9, 0.9], "a": [0.80, 0.82]},
            "median": {"none": [0.9, 0.9], "a": [0.60, 0.95]},
        }
    )
    assert advice.defence == "arc+nnm|median"


def test_one_seed_has_no_noise_so_only_equals_tie_and_it_says_so() -> None:
    close = {"arc+nnm|median": {"none": [0.9], "a": [0.801]}, "median": {"none": [0.9], "a": [0.800]}}
    advice = advise(close)
    assert advice.defence == "arc+nnm|median"
    assert "no interval" in advice.words[-1]
    assert advise({**close, "median": {"none": [0.9], "a": [0.801]}}).defence == "median"


def test_of_equally_simple_equals_the_one_that_costs_least_is_taken() -> None:
    reached = {"median": {"none": [0.85], "a": [0.7]}, "nnm|median": {"none": [0.9], "a": [0.7]}}
    candidates = [Candidate(name=name, steps=1, settings={}) for name in reached]
    assert recommend(fake_cases(reached), candidates).defence == "nnm|median"


def test_what_promises_nothing_is_never_recommended_whatever_it_reached() -> None:
    advice = advise(
        {"mean": {"none": [0.95], "a": [0.94]}, "median": {"none": [0.9], "a": [0.5]}},
        unsound={"mean": "it tolerates no hostile site"},
    )
    assert advice.defence == "median"
    assert "mean was passed over: it tolerates no hostile site." in advice.words


def test_a_defence_that_lost_a_model_is_passed_over() -> None:
    advice = advise(
        {
            "median": {"none": [0.9, 0.9], "a": [0.9, None]},
            "nnm|median": {"none": [0.9, 0.9], "a": [0.3, 0.3]},
        }
    )
    assert advice.defence == "nnm|median"
    assert any("median was passed over: a left no usable model" in words for words in advice.words)


def test_a_defence_with_a_run_that_failed_is_passed_over() -> None:
    runs = [*fake_runs({"median": {"none": [0.9], "a": [0.9]}, "nnm|median": {"none": [0.9], "a": [0.3]}})]
    runs.append(fake_run("median", "b", None, status="failed", code="E105", reason="no reference"))
    cases = worst_cases([Case(split="iid", f=2, defence=name) for name in ("median", "nnm|median")], runs)
    advice = recommend(cases, [Candidate(name=case.case.defence, steps=1, settings={}) for case in cases])
    assert advice.defence == "nnm|median"
    assert any("failed (E105 no reference)" in words for words in advice.words)


def test_where_nothing_can_be_recommended_it_says_so() -> None:
    advice = advise({"mean": {"none": [0.9], "a": [0.8]}}, unsound={"mean": "it tolerates no hostile site"})
    assert (advice.defence, dict(advice.settings), advice.worst) == ("", {}, None)
    assert advice.words[0] == "None of the defences tried can be recommended against 2 hostile sites."


def test_the_most_hostile_sites_that_were_tried_decide() -> None:
    few = {"median": {"none": [0.9], "a": [0.9]}, "nnm|median": {"none": [0.9], "a": [0.2]}}
    many = {"median": {"none": [0.9], "a": [0.1]}, "nnm|median": {"none": [0.9], "a": [0.2]}}
    runs = [*fake_runs(few, f=1), *fake_runs(many, f=4)]
    cases = worst_cases([Case(split="iid", f=f, defence=name) for f in (1, 4) for name in few], runs)
    candidates = [Candidate(name=name, steps=STEPS[name], settings={}) for name in few]
    advice = recommend(cases, candidates)
    assert (advice.f, advice.defence, advice.worst) == (4, "nnm|median", 0.2)
    assert advice.settings["aggregate.byzantine"] == 4


def test_the_worst_split_decides() -> None:
    iid = fake_runs({"median": {"none": [0.9], "a": [0.9]}, "nnm|median": {"none": [0.9], "a": [0.6]}})
    skew = fake_runs(
        {"median": {"none": [0.7], "a": [0.1]}, "nnm|median": {"none": [0.8], "a": [0.5]}}, split="labels:1"
    )
    names = ("median", "nnm|median")
    cases = worst_cases([Case(split=s, f=2, defence=n) for s in ("iid", "labels:1") for n in names], [*iid, *skew])
    advice = recommend(cases, [Candidate(name=name, steps=STEPS[name], settings={}) for name in names])
    assert (advice.defence, advice.worst) == ("nnm|median", 0.5)
    assert advice.cost == pytest.approx(0.15)  # where that is most
