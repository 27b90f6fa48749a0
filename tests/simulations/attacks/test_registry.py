"""Names: those of scenarios, those of the registry and those of the documentation are the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hedgerow.errors import Misconfigured
from hedgerow.scenario import ATTACKS, BUILT_IN, Scenario
from hedgerow.simulations.attacks import KINDS, Adversary, Attack, Attacker, Scene, kind_of, register_attack
from hedgerow.simulations.attacks.registry import _KINDS

DOCUMENT = Path(__file__).parents[3] / "docs/attacks.md"


@pytest.fixture
def own_names() -> Iterator[None]:
    """Whatever is registered is forgotten."""
    before, names = dict(_KINDS), list(ATTACKS)
    yield
    _KINDS.clear()
    _KINDS.update(before)
    ATTACKS[:] = names


def test_a_scenario_knows_exactly_the_attacks_there_are() -> None:
    assert set(BUILT_IN) == set(KINDS) and ATTACKS == ["none", *BUILT_IN]


def test_names_are_known_without_loading_what_is_heavy() -> None:
    code = (
        "import sys; from hedgerow.scenario import Scenario; Scenario(sites=3, attackers=1, attack='alie:2');"
        "assert 'hedgerow.simulations' not in sys.modules; import hedgerow.simulations.attacks;"
        "print([name for name in ('torch', 'flwr', 'opacus', 'scipy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_attack_states_its_adversary_its_source_and_what_it_does(name: str) -> None:
    kind = kind_of(name)
    assert kind.sees in ("own", "honest", "rule")
    assert kind.summary.endswith(".") and len(kind.summary) > 10 and kind.source
    assert kind.change is not None or kind.poison is not None
    assert all(one.number.admits(one.default) and one.meaning for one in kind.parameters)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_documentation_has_a_row_for_every_attack(name: str) -> None:
    kind = kind_of(name)
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells[2] == kind.sees
    for parameter in kind.parameters:
        assert parameter.number.name in cells[3] and f"{parameter.default:g}" in cells[3]
    assert cells[4] == kind.source


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_attack_on_updates_gives_finite_rows_of_the_same_dtype(
    name: str, scene_of: Callable[..., Scene], dtype: type
) -> None:
    kind = kind_of(name)
    scene = scene_of()
    attack = Attack.parse(name)
    attackers = {site: Attacker(attack=attack, rank=rank, attackers=2, sites=11) for rank, site in enumerate((4, 7))}
    adversary = Adversary(attackers, seed=3, rounds=5, rule=lambda rows: np.median(rows, axis=0))
    own: np.ndarray = scene.own.astype(dtype)
    honest: np.ndarray = scene.honest.astype(dtype)
    before = own.tobytes(), honest.tobytes()
    last = honest[0] / 3

    def answers(seed_honest: np.ndarray = honest, round: int = 2) -> np.ndarray:
        return adversary.answers(round=round, sites=(4, 7), own=own, honest=seed_honest, last=last)

    rows = answers()
    assert rows.shape == own.shape and rows.dtype == dtype and np.isfinite(rows).all()
    assert (own.tobytes(), honest.tobytes()) == before
    if kind.change is None:
        np.testing.assert_array_equal(rows, own)
    elif kind.sees == "own":
        np.testing.assert_array_equal(rows, answers(honest * 2))
    assert answers().tobytes() == rows.tobytes()


def test_an_attack_of_one_s_own_is_one_function_and_a_decorator(own_names: None) -> None:
    @register_attack("my-attack", sees="honest", strength=3.0)
    def mine(scene: Scene) -> np.ndarray:
        """Answer with the sum."""
        found: np.ndarray = scene.strength * scene.honest.sum(axis=0)
        return found

    scenario = Scenario(sites=6, attackers=2, attack="my-attack")
    attack = Attack.of(scenario)
    assert attack == Attack(name="my-attack", strength=3.0) and kind_of("my-attack").summary == "Answer with the sum."
    adversary = Adversary({1: Attacker(attack=attack), 2: Attacker(attack=attack)}, seed=0, rounds=1)
    rows = adversary.answers(round=1, sites=(1, 2), own=np.ones((2, 3)), honest=np.ones((4, 3)))
    np.testing.assert_array_equal(rows, np.full((2, 3), 12.0))


@pytest.mark.parametrize(("name", "code"), [("My Attack", "E103"), ("sign-flop", "E103"), ("ipm", "E105")])
def test_a_name_that_is_taken_odd_or_alike_is_refused(name: str, code: str, own_names: None) -> None:
    with pytest.raises(Misconfigured) as caught:
        register_attack(name, sees="own")(lambda scene: scene.own)
    assert caught.value.code == code


def test_what_is_no_table_of_rows_is_refused(own_names: None) -> None:
    @register_attack("odd-shape", sees="own")
    def odd(scene: Scene) -> np.ndarray:
        """Answer with something else."""
        return np.zeros(2)

    attacker = Attacker(attack=Attack.parse("odd-shape"))
    with pytest.raises(Misconfigured) as caught:
        Adversary({0: attacker}, seed=0, rounds=1).answers(
            round=1, sites=(0,), own=np.ones((1, 3)), honest=np.ones((0, 3))
        )
    assert caught.value.code == "E126"
