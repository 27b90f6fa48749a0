"""The gate of a red team: plain minimum and maximum, closed where anything is missing, precise about typos."""

import math

import pytest
from tests.simulations.redteam.fakes import fake_cases, fake_run

from hedgerow.errors import Misconfigured
from hedgerow.report.redteamrows import Case, worst_cases
from hedgerow.simulations.redteam.gate import Gate

REACHED = {"krum": {"none": [0.93, 0.94], "alie": [0.81, 0.85], "ipm": [0.90, 0.79]}}


@pytest.mark.parametrize(
    ("sentence", "passed", "measured"),
    [
        ("worst.accuracy >= 0.79", True, 0.79),
        ("worst.accuracy>=.8", False, 0.79),
        ("clean.cost <= 0.02", True, 0.02),
        ("clean.cost <= 0.015", False, 0.02),
    ],
)
def test_the_plain_worst_of_all_runs_decides(sentence: str, passed: bool, measured: float) -> None:
    outcome = Gate.parse(sentence).check(fake_cases(REACHED))
    assert outcome.passed is passed and outcome.measured == pytest.approx(measured)
    assert ("passed" if passed else "failed") in outcome.text and "2 seeds" in outcome.text


def test_one_seed_says_that_it_has_no_interval() -> None:
    outcome = Gate.parse("worst.accuracy >= 0.5").check(fake_cases({"krum": {"none": [0.9], "alie": [0.8]}}))
    assert outcome.text.endswith("0.800 by alie (f = 2, iid); one seed has no interval")


def test_the_highest_backdoor_success_decides_and_without_a_backdoor_the_gate_fails() -> None:
    case = Case(split="iid", f=2, defence="krum")
    runs = [fake_run("krum", "badnets", 0.9, backdoor=0.02), fake_run("krum", "dba", 0.9, backdoor=0.06)]
    gate = Gate.parse("backdoor.success <= 0.05")
    outcome = gate.check(worst_cases([case], runs))
    assert (outcome.passed, outcome.measured) == (False, 0.06) and "by dba" in outcome.text
    assert gate.check(worst_cases([case], runs[:1])).passed
    missing = gate.check(fake_cases(REACHED))
    assert (missing.passed, missing.measured) == (False, None) and "no backdoor attack" in missing.text


@pytest.mark.parametrize("sentence", ["worst.accuracy >= 0", "clean.cost <= 1", "backdoor.success <= 1"])
def test_it_fails_closed(sentence: str) -> None:
    gate, case = Gate.parse(sentence), Case(split="iid", f=2, defence="krum")
    clean = [fake_run("mean", "none", 0.9, f=0), fake_run("krum", "none", 0.9)]
    good = fake_run("krum", "badnets", 0.9, backdoor=0.0)
    assert gate.check(worst_cases([case], [*clean, good])).passed
    for bad, why in (
        (fake_run("krum", "alie", None, status="waiting"), "not done"),
        (fake_run("krum", "alie", None), "no usable model"),
        (fake_run("krum", "alie", None, status="failed", code="E501"), "no usable model"),
        (fake_run("krum", "alie", None, status="failed", code="E900"), "failed (E900)"),
        (fake_run("krum", "alie", None, metric=""), "nobody measured"),
        (fake_run("krum", "alie", 0.9, metric="auc"), "nobody measured"),
    ):
        outcome = gate.check(worst_cases([case], [*clean, good, bad]))
        assert not outcome.passed and outcome.measured is None and why in outcome.text
    unfit = gate.check(worst_cases([Case(split="iid", f=4, defence="krum", unfit="it needs 11 updates")], []))
    assert not unfit.passed and "it needs 11 updates" in unfit.text
    assert not gate.check([]).passed


@pytest.mark.parametrize("missing", ["mean", "krum"])
@pytest.mark.parametrize(
    "changes", [{"status": "waiting"}, {"status": "failed", "code": "E503"}, {"status": "finished"}], ids=str
)
def test_a_clean_cost_that_one_seed_lacks_fails_the_gate(missing: str, changes: dict[str, str]) -> None:
    runs = [fake_run("krum", "alie", 0.9, seed=seed) for seed in (0, 1)]
    for name, f in (("mean", 0), ("krum", 2)):
        runs += [fake_run(name, "none", 0.9, f=f, seed=0)]
        lacking = name == missing
        runs += [fake_run(name, "none", None if lacking else 0.9, f=f, seed=1, **(changes if lacking else {}))]
    outcome = Gate.parse("clean.cost <= 1").check(worst_cases([Case(split="iid", f=2, defence="krum")], runs))
    assert (outcome.passed, outcome.measured) == (False, None)


def test_a_backdoor_that_one_case_lacks_fails_the_gate() -> None:
    cases = [Case(split=split, f=2, defence="krum") for split in ("iid", "by-label")]
    runs = [fake_run("krum", "badnets", 0.9, backdoor=0.0), fake_run("krum", "alie", 0.9, split="by-label")]
    outcome = Gate.parse("backdoor.success <= 1").check(worst_cases(cases, runs))
    assert (outcome.passed, outcome.measured) == (False, None) and "in 1 of the cases" in outcome.text


def test_a_backdoor_run_that_does_not_tell_its_success_fails_the_gate() -> None:
    case, gate = Case(split="iid", f=2, defence="krum"), Gate.parse("backdoor.success <= 1")
    told = fake_run("krum", "badnets", 0.9, backdoor=0.0)
    for silent in (
        fake_run("krum", "badnets", 0.9, seed=1),
        fake_run("krum", "badnets", 0.9, seed=1, backdoor=math.nan),  # no held-out record outside the target class
    ):
        outcome = gate.check(worst_cases([case], [told, silent]))
        assert (outcome.passed, outcome.measured) == (False, None) and silent.name in outcome.text
    other = fake_run("krum", "dba", 0.9)
    assert gate.check(worst_cases([case], [told, other])).passed
    assert not gate.check(worst_cases([case], [told, other], backdoors=["dba"])).passed


def test_another_metric_than_accuracy_fails_the_accuracy_gate() -> None:
    runs = [fake_run("krum", "alie", 0.9, metric="auc")]
    outcome = Gate.parse("worst.accuracy >= 0.5").check(worst_cases([Case(split="iid", f=2, defence="krum")], runs))
    assert not outcome.passed and "'auc'" in outcome.text


@pytest.mark.parametrize(
    ("sentence", "message", "hint"),
    [
        ("worst.acuracy >= 0.8", "a gate cannot judge 'worst.acuracy'", "did you mean 'worst.accuracy'?"),
        ("accuracy >= 0.8", "a gate cannot judge 'accuracy'", "worst.accuracy"),
        ("zzz >= 0.8", "a gate cannot judge 'zzz'", "the measures are worst.accuracy, clean.cost, backdoor.success"),
        ("worst.accuracy => 0.8", "a gate has no '=>'", "write worst.accuracy >= 0.8"),
        ("worst.accuracy > 0.8", "a gate has no '>'", "write worst.accuracy >= 0.8"),
        ("worst.accuracy <= 0.8", "would pass what should fail", "write worst.accuracy >= 0.8"),
        ("clean.cost >= 0.1", "would pass what should fail", "write clean.cost <= 0.1"),
        ("worst.accuracy >= 80", "'80' is no share from 0 to 1", "0.80"),
        ("worst.accuracy >= 80 %", "'80 %' is no share from 0 to 1", "0.80"),
        ("worst.accuracy >= nan", "'nan' is no share", ""),
        ("worst.accuracy", "'worst.accuracy' is no gate", 'write for example "worst.accuracy >= 0.80"'),
        ("", "'' is no gate", ""),
    ],
)
def test_a_typo_is_named(sentence: str, message: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Gate.parse(sentence)
    assert (caught.value.code, caught.value.place) == ("E103", "gate")
    assert message in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize("sentence", ["worst.accuracy >= 0.8", "clean.cost <= 0.015", "backdoor.success <= 0.05"])
def test_a_gate_is_written_as_it_is_read(sentence: str) -> None:
    assert str(Gate.parse(sentence)) == sentence
