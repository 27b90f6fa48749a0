from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from hedgerow.events import Evaluated, Event
from hedgerow.report import load_run
from hedgerow.report.answers import did_it_hold, did_it_learn, notes, what_leaked
from hedgerow.report.beside import Beside, beside, lower_is_better
from hedgerow.report.content import Mark


@pytest.fixture
def twins(demo: Path) -> tuple[Beside, ...]:
    run = load_run(demo)
    return beside(run, [load_run(demo / "twins" / name) for name in ("undefended", "without-dp")], [])


def test_what_it_learned_stands_beside_its_twins(demo: Path, twins: tuple[Beside, ...]) -> None:
    answer = did_it_learn(load_run(demo), twins)
    assert (answer.mark, answer.figure, answer.unit) == (Mark.YES, "0.91", "accuracy")
    assert answer.interval == "95 % interval 0.88 – 0.94"
    assert answer.text == (
        "0.91 (0.88 – 0.94) accuracy on 360 test records held by the server, up from 0.10 before training; "
        "0.10 without defence; 0.97 without DP."
    )


def test_overlapping_intervals_are_not_called_learning(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.evaluated(0, 0.50), make.evaluated(1, 0.53)]
    answer = did_it_learn(load_run(make.write(tmp_path / "run", events)), [])
    assert (answer.mark, answer.verdict) == (Mark.PARTLY, "Not clearly")
    events[-1] = make.evaluated(1, 0.40)
    assert did_it_learn(load_run(make.write(tmp_path / "worse", events)), []).mark is Mark.NO


def test_a_falling_loss_is_learning(tmp_path: Path, make: ModuleType) -> None:
    def at(number: int, loss: float) -> object:
        return replace(make.evaluated(number, 0.5), metrics={"loss": loss}, low=None, high=None)

    answer = did_it_learn(load_run(make.write(tmp_path / "run", [make.started(), at(0, 2.3), at(1, 0.7)])), [])
    assert answer.mark is Mark.YES and "0.70 loss" in answer.text and "down from 2.30" in answer.text
    assert lower_is_better("mean_squared_error") and not lower_is_better("auc")


def test_hostile_and_honest_exclusions_are_both_told(demo: Path, twins: tuple[Beside, ...]) -> None:
    answer = did_it_hold(load_run(demo), twins)
    assert (answer.mark, answer.figure, answer.unit) == (Mark.YES, "20 of 20", "hostile updates excluded")
    assert answer.text.startswith("2 of 10 sites attacked (sign flip); 20 of 20 hostile updates excluded, ")
    assert "excluded, and no honest one of 80." in answer.text
    assert "set for 1 hostile site, fewer than attacked" in answer.text
    assert answer.text.endswith("Accuracy is 0.91 (0.88 – 0.94) with the defence, 0.10 (0.07 – 0.13) without.")


def test_excluding_every_attacker_is_not_holding_if_nothing_was_learned(tmp_path: Path, make: ModuleType) -> None:
    run = load_run(make.write(tmp_path / "run", make.whole_run(top=0.1)))
    assert run.defence.hostile_excluded == run.defence.hostile_received
    assert did_it_hold(run, []).mark is Mark.NO


def test_a_defence_no_better_than_none_is_not_called_holding(tmp_path: Path, make: ModuleType) -> None:
    run = load_run(make.write(tmp_path / "run", make.whole_run()))
    twin = load_run(make.write(tmp_path / "undefended", make.whole_run(rule="mean", top=0.91)))
    assert did_it_hold(run, beside(run, [twin], [])).mark is Mark.PARTLY


def test_without_an_attack_the_defence_counts_as_not_tested(tmp_path: Path, make: ModuleType) -> None:
    answer = did_it_hold(load_run(make.write(tmp_path / "run", make.whole_run(attack=False))), [])
    assert (answer.mark, answer.verdict) == (Mark.UNKNOWN, "Not tested")
    assert "No attacker is known" in answer.text


def test_epsilon_comes_with_delta_unit_accountant_and_relation(demo: Path, twins: tuple[Beside, ...]) -> None:
    answer = what_leaked(load_run(demo), twins)
    assert answer.figure == "ε = 3.00" and (answer.mark, answer.verdict) == (Mark.YES, "No leak found")
    for word in ("Each record", "δ = 1e-5", "site north", "RDP accountant", "add or remove one record"):
        assert word in answer.text
    assert "AUC 0.52 (0.49 – 0.55); 0.61 without DP" in answer.text


def test_a_seeded_run_says_that_it_is_no_release(demo: Path) -> None:
    run = load_run(demo)
    assert "simulation: not a DP release" in what_leaked(run, []).text
    assert any(note.grave and note.text.startswith("Simulation: not a DP release") for note in notes(run))


def test_a_real_release_does_not_call_itself_a_simulation(tmp_path: Path, make: ModuleType) -> None:
    events = [
        replace(event, randomness="operating system generator") if hasattr(event, "randomness") else event
        for event in make.whole_run()
    ]
    run = load_run(make.write(tmp_path / "run", events))
    assert "is protected by" in what_leaked(run, []).text
    assert what_leaked(run, []).verdict == "No leak found, bounded"
    assert not any("not a DP release" in text for text in [what_leaked(run, []).text, *(n.text for n in notes(run))])


@pytest.mark.parametrize(
    ("dp", "auc", "mark"),
    [(True, 0.52, Mark.YES), (True, 0.55, Mark.PARTLY), (False, 0.52, Mark.PARTLY), (False, 0.61, Mark.NO)],
)
def test_a_leak_is_what_lies_above_guessing_with_its_whole_interval(
    tmp_path: Path, make: ModuleType, dp: bool, auc: float, mark: Mark
) -> None:
    events = [event for event in make.whole_run(dp=dp, auc=auc) if not hasattr(event, "gate")]
    assert what_leaked(load_run(make.write(tmp_path / "run", events)), []).mark is mark


def test_what_was_switched_off_is_told_in_words(demo: Path) -> None:
    texts = [note.text for note in notes(load_run(demo)) if note.grave]
    assert "Secure sums were off: the server saw single updates." in texts


def test_twins_are_named_by_what_they_leave_out(twins: tuple[Beside, ...]) -> None:
    assert [(twin.name, twin.differs) for twin in twins] == [
        ("without defence", ("aggregate.rule = mean",)),
        ("without DP", ("no privacy.delta", "no privacy.epsilon", "privacy.unit = none")),
    ]


def test_no_two_runs_beside_have_the_same_name(demo: Path) -> None:
    run = load_run(demo)
    assert [other.name for other in beside(run, [], [run, run])] == ["demo", "demo (2)"]


def test_a_site_without_a_recorded_budget_is_not_called_protected(tmp_path: Path, make: ModuleType) -> None:
    events = [event for event in make.whole_run() if getattr(event, "site", "") != "hill" or hasattr(event, "train")]
    events[-1] = replace(events[-1], epsilon={})
    run = load_run(make.write(tmp_path / "run", events))
    answer = what_leaked(run, [])
    assert run.uncovered == ("hill",)
    assert "1 site took part without a recorded budget: not covered" in answer.text
    assert answer.mark is not Mark.YES


def test_a_planned_budget_is_not_called_spent(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.planned("north"), make.closed(1, sites=("north",), hostile=())]
    answer = what_leaked(load_run(make.write(tmp_path / "run", events)), [])
    assert answer.unit.startswith("planned") and "what was spent is not recorded" in answer.text
    assert (answer.mark, answer.verdict) == (Mark.UNKNOWN, "Not fully recorded")


def test_a_rule_that_outvotes_is_not_blamed_for_excluding_nobody(tmp_path: Path, make: ModuleType) -> None:
    everyone = dict(accepted=list(make.SITES), rejected=[], weights={})
    events = [make.started(rule="median"), make.evaluated(0, 0.1), make.closed(1, **everyone), make.evaluated(1, 0.8)]
    answer = did_it_hold(load_run(make.write(tmp_path / "run", events)), [])
    assert answer.figure == "0 of 2" and "outvotes hostile updates rather than excluding them" in answer.text


def test_equal_budgets_are_not_pinned_on_one_site(tmp_path: Path, make: ModuleType) -> None:
    events = [
        make.started(),
        *(make.planned(site) for site in ("north", "south")),
        make.closed(1, ("north", "south"), ()),
    ]
    folder = make.write(tmp_path / "run", [*events, make.finished(1, epsilon={"north": 2.0, "south": 2.0})])
    assert "(the same at 2 sites; RDP accountant" in what_leaked(load_run(folder), []).text


def test_more_suspects_than_expected_are_told_where_chance_does_not_explain_them(
    tmp_path: Path, make: ModuleType
) -> None:
    def answered(odd: int) -> str:
        rounds = [make.closed(k, suspects=["a", "b", "c"] if k <= odd else []) for k in range(1, 11)]
        events = [make.started(), make.evaluated(0, 0.1), *rounds, make.evaluated(10, 0.8)]
        return did_it_hold(load_run(make.write(tmp_path / str(odd), events)), []).text

    assert "In 4 of 10 rounds more updates looked hostile (up to 3) than the rule was set for" in answered(4)
    assert "looked hostile" not in answered(2)


@pytest.mark.parametrize(("share", "mark"), [(0.92, Mark.NO), (0.04, Mark.PARTLY)])
def test_a_backdoor_that_opens_is_not_holding_however_well_the_model_does(
    tmp_path: Path, make: ModuleType, share: float, mark: Mark
) -> None:
    def tried(event: Event) -> Event:
        return (
            replace(event, metrics={**event.metrics, "backdoor_success": share})
            if isinstance(event, Evaluated)
            else event
        )

    run = load_run(make.write(tmp_path / "run", [tried(event) for event in make.whole_run()]))
    answer = did_it_hold(run, [])
    assert answer.mark is mark
    assert f"takes {share:.2f} of the records with the attackers' trigger" in answer.text
    assert ("how many a model takes that nobody attacks was not measured" in answer.text) is (mark is Mark.NO)


def test_a_model_that_has_not_learned_is_not_said_to_have_a_backdoor(tmp_path: Path, make: ModuleType) -> None:
    events = [make.started(), make.evaluated(0, 0.51), make.closed(1), make.evaluated(1, 0.5)]
    events[-1] = replace(events[-1], metrics={**events[-1].metrics, "backdoor_success": 0.6})
    answer = did_it_hold(load_run(make.write(tmp_path / "run", events)), [])
    assert (answer.mark, answer.verdict) == (Mark.NO, "No")
    assert "it may be guessing them, too" in answer.text
