"""Tests of hedgerow.scenario: its grammars, who attacks whom, and nothing of it in the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import ATTACKS, GRAMMARS, Scenario


@settings(deadline=None)
@given(st.integers(1, 20), st.sampled_from(ATTACKS), st.integers(0, 20))
def test_an_attack_needs_attackers_among_the_sites_and_attackers_need_an_attack(
    sites: int, attack: str, attackers: int
) -> None:
    if attackers <= sites and (attackers > 0) == (attack != "none"):
        scenario = Scenario(sites=sites, attack=attack, attackers=attackers)
        assert Scenario.from_flat(scenario.flat()) == scenario
    else:
        with pytest.raises(Misconfigured) as caught:
            Scenario(sites=sites, attack=attack, attackers=attackers)
        assert caught.value.code == "E105"


@pytest.mark.parametrize(("key", "value"), [("seed", 2**63), ("seed", -1), ("sites", 0), ("strength", 0.0)])
def test_numbers_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(Misconfigured) as caught:
        Scenario.from_flat({key: value})
    assert caught.value.code == "E103"


def test_a_project_without_a_scenario_has_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert Scenario.load(tmp_path) == Scenario()


def test_a_contradiction_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.hedgerow.scenario]\nsites = 3\nattack = 'gaussian'\n")
    with pytest.raises(Misconfigured) as caught:
        Scenario.load(tmp_path)
    assert (caught.value.code, caught.value.place) == ("E105", "pyproject.toml:3")


def test_a_scenario_and_a_job_share_no_key() -> None:
    assert not set(Scenario.keys()) & set(Job.keys())


FORMS = {
    "split": ("iid", "dirichlet:0.5", "labels:2", "quantity:1", "column"),
    "shift": ("none", "affine:0", "affine:0.3"),
    "drift": ("none", "labels:0.25", "labels:1"),
    "availability": ("always", "random:0.3", "random:1", "diurnal:0.1,0.4", "diurnal:0.2,0.2", "trace:a/b.csv"),
    "join": ("all", "uniform:0", "uniform:3600"),
    "latency": ("none", "constant:0", "constant:0.1", "lognormal:0.1,0.5"),
    "bandwidth": ("none", "constant:1e6", "lognormal:1e6,1"),
    "speed": ("instant", "constant:200", "lognormal:200,0"),
}


@pytest.mark.parametrize(("key", "form"), [(key, form) for key, forms in FORMS.items() for form in forms])
def test_every_documented_form_is_a_scenario_and_survives_being_written_down(key: str, form: str) -> None:
    scenario = Scenario.from_flat({key: form})
    assert scenario.choice(key).kind == form.partition(":")[0]
    assert Scenario.from_flat(scenario.flat()) == scenario


def test_the_forms_above_are_all_there_are() -> None:
    assert {key: {form.partition(":")[0] for form in forms} for key, forms in FORMS.items()} == {
        key: {form.kind for form in grammar.forms} for key, grammar in GRAMMARS.items()
    }


def test_each_grammar_s_examples_are_in_it() -> None:
    examples = [(grammar, form) for grammar in GRAMMARS.values() for form in grammar.forms if form.example]
    assert len(examples) >= 12
    for grammar, form in examples:
        assert grammar.parse(form.example).kind == form.kind


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("availability", "sometimes", "always, random:P, diurnal:LOW,HIGH or trace:FILE.csv"),
        ("availability", "randon:0.5", "did you mean 'random'?"),
        ("availability", "diurnal:0.4,0.1", "write diurnal:0.1,0.4"),
        ("availability", "diurnal:0,0", "diurnal:0.1,0.4"),
        ("join", "late", "all or uniform:SECONDS"),
        ("latency", "lognormal:0,1", "lognormal:0.1,0.5"),
        ("latency", "uniform:1", "none, constant:SECONDS or lognormal:MEDIAN,SIGMA"),
        ("bandwidth", "constant:0", "constant:1000"),
        ("speed", "none", "instant, constant:RECORDS_PER_SECOND or lognormal:MEDIAN,SIGMA"),
        ("speed", "lognormal:100,6", "lognormal:1000,1"),
        ("shift", "affine:11", "affine:0.3"),
        ("drift", "labels:0", "labels:0.4"),
        ("split", "dirichlt:1", "did you mean 'dirichlet'?"),
        ("dropout", -0.1, ""),
        ("dropout", 1.1, ""),
    ],
)
def test_a_value_outside_its_grammar_is_refused_with_its_line(
    key: str, value: str | float, hint: str, tmp_path: Path
) -> None:
    text = f"'{value}'" if isinstance(value, str) else value
    (tmp_path / "pyproject.toml").write_text(f"[tool.hedgerow.scenario]\nsites = 3\n{key} = {text}\n")
    with pytest.raises(Misconfigured) as caught:
        Scenario.load(tmp_path)
    assert (caught.value.code, caught.value.place) == ("E103", "pyproject.toml:3") and hint in caught.value.hint
