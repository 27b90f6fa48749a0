"""Tests of hedgerow.scenario: who attacks whom, and nothing of it in the job."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.errors import Misconfigured
from hedgerow.job import Job
from hedgerow.scenario import ATTACKS, Scenario


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
