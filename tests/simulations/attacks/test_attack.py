"""An attack's words: read, refused, and written so that they are read again as the same."""

from __future__ import annotations

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.scenario import BUILT_IN, Scenario
from hedgerow.simulations.attacks import Attack, Attacker, attacker_indices, attackers_of


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("schedule", ["", "+on-off:4"])
def test_every_attack_is_written_as_it_is_read(name: str, schedule: str) -> None:
    attack = Attack.parse(name + schedule)
    assert Attack.parse(str(attack)) == attack and attack.every == (4 if schedule else 1)
    assert len((attack.strength, *attack.more)) == len(attack.kind.parameters)
    scenario = Scenario(sites=5, attackers=2, attack=str(attack))
    assert Attack.of(scenario) == attack and Scenario.from_flat(scenario.flat()) == scenario
    place = Attacker(attack=attack, rank=1, attackers=2, sites=5)
    assert Attacker.parse(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "sign_flip",
        "sign-flip:0",
        "sign-flip:1,2",
        "sign-flip:",
        "gaussian:-1",
        "gaussian:x",
        "gaussian:nan",
        "gaussian:inf",
        "label-flip:1.5",
        "label-flip-targeted:1,0.5",
        "badnets:0.5,1,2",
        "alie+on-off:0",
        "alie+off-on:3",
        "",
    ],
)
def test_an_unknown_attack_or_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Attack.parse(text)
    assert caught.value.code == "E103" and caught.value.hint


@pytest.mark.parametrize("text", ["alie@", "alie@1/2", "alie@2/2/5", "alie@0/6/5", "alie@a/b/c"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Attacker.parse(text)
    assert caught.value.code == "E103"


def test_the_strength_may_stand_by_itself_but_not_twice() -> None:
    assert Attack.of(Scenario()) is None
    attack = Attack.of(Scenario(attack="gaussian", attackers=1, strength=0.25))
    assert attack == Attack(name="gaussian", strength=0.25) == Attack.parse(str(attack))
    for attack_text, strength, code in (("gaussian:2", 1.0, "E105"), ("label-flip", 1.5, "E103")):
        with pytest.raises(Misconfigured) as caught:
            Attack.of(Scenario(attack=attack_text, attackers=1, strength=strength))
        assert caught.value.code == code


@pytest.mark.parametrize("text", ["sign-flop", "alie:x", "none:1", "Alie", "alie+on-off:0", "alie;2"])
def test_a_scenario_refuses_what_is_misspelt(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Scenario(sites=3, attackers=1, attack=text)
    assert caught.value.code == "E103"


def test_a_scenario_can_be_read_where_a_user_s_own_attack_is_not_known_but_not_run() -> None:
    scenario = Scenario(sites=3, attackers=1, attack="quite-my-own:2")
    with pytest.raises(Misconfigured) as caught:
        Attack.of(scenario)
    assert caught.value.code == "E103"


def test_the_attackers_are_drawn_by_the_seed_and_numbered_in_order() -> None:
    drawn = [attacker_indices(Scenario(sites=50, attack="gaussian", attackers=5, seed=seed)) for seed in range(6)]
    assert all(len(indices) == 5 and max(indices) < 50 for indices in drawn) and len(set(drawn)) > 1
    assert drawn[3] == attacker_indices(Scenario(sites=50, attack="sign-flip", attackers=5, seed=3))
    assert attacker_indices(Scenario()) == frozenset() and attackers_of(Scenario()) == {}
    places = attackers_of(Scenario(sites=50, attack="dba", attackers=5, seed=3))
    assert sorted(places) == sorted(drawn[3])
    assert [places[index].rank for index in sorted(places)] == [0, 1, 2, 3, 4]
    assert {(one.attackers, one.sites) for one in places.values()} == {(5, 50)}
