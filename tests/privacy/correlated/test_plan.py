import dataclasses
import math
import subprocess
import sys

import pytest

from hedgerow.errors import Misconfigured
from hedgerow.privacy import calibrate
from hedgerow.privacy.correlated import Kind, Participation, Plan, gaussian_delta, plan, sensitivity


def planned(kind: Kind = "blt", **changes: object) -> Plan:
    settings: dict[str, object] = {
        **{"rounds": 500, "min_separation": 50, "max_participations": 10, "epsilon": 4.0, "delta": 1e-5},
        **changes,
    }
    return plan(kind=kind, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["blt", "banded", "independent"])
def test_the_whole_run_is_one_gaussian_release_within_the_budget(kind: Kind) -> None:
    chosen = planned(kind)
    assert 0.999e-5 < gaussian_delta(chosen.noise_multiplier, 4.0) <= 1e-5
    pattern = Participation(rounds=500, min_separation=50, max_participations=10)
    assert chosen.sensitivity == sensitivity(chosen.coefficients, pattern)
    assert chosen.noise_scale == chosen.sensitivity * chosen.noise_multiplier


def test_independent_noise_is_its_own_yardstick() -> None:
    chosen = planned("independent")
    assert chosen.gain == pytest.approx(1.0)
    assert chosen.error.last == pytest.approx(chosen.noise_multiplier * math.sqrt(10 * 500))
    assert chosen.error.rms == pytest.approx(chosen.noise_multiplier * math.sqrt(10 * 250.5))


@pytest.mark.parametrize(
    ("kind", "rounds", "separation", "times", "at_least"),
    [
        ("blt", 1000, 1, 1, 7.3),
        ("blt", 500, 50, 10, 4.3),
        ("blt", 200, 10, 20, 2.4),
        ("banded", 1000, 1, 1, 3.5),
        ("banded", 500, 50, 10, 3.2),
        ("banded", 200, 10, 20, 2.2),
    ],
)
def test_the_error_is_below_that_of_independent_noise(
    kind: Kind, rounds: int, separation: int, times: int, at_least: float
) -> None:
    chosen = planned(kind, rounds=rounds, min_separation=separation, max_participations=times)
    assert chosen.gain > at_least
    assert chosen.error.max < chosen.independent_error.max / at_least


@pytest.mark.parametrize("kind", ["blt", "banded"])
def test_nothing_is_gained_and_nothing_lost_where_nothing_can_be(kind: Kind) -> None:
    assert planned(kind, rounds=1).gain == pytest.approx(1.0, rel=1e-4)


def test_the_comparison_with_poisson_samples_names_their_rate() -> None:
    chosen = planned(poisson_rate=0.02)
    assert planned().poisson_error is None
    assert chosen.poisson_rate == 0.02 and chosen.poisson_error is not None
    noise = calibrate(epsilon=4.0, delta=1e-5, q=0.02, steps=500)
    assert chosen.poisson_error.last == pytest.approx(noise * math.sqrt(500))


def test_the_last_model_alone_can_be_what_counts() -> None:
    assert planned(objective="last").error.last < planned().error.last
    assert planned(objective="last").error.rms > planned().error.rms


def test_more_privacy_is_more_noise_of_the_same_kind() -> None:
    strict, loose = planned(epsilon=1.0), planned(epsilon=8.0)
    assert strict.mechanism == loose.mechanism
    assert strict.error.rms / loose.error.rms == pytest.approx(strict.noise_multiplier / loose.noise_multiplier)
    assert strict.digest != loose.digest
    assert planned(epsilon=1.0).digest == strict.digest


def test_a_plan_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        planned().noise_multiplier = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"rounds": 0}, "E103", "rounds"),
        ({"min_separation": 0}, "E103", "min_separation"),
        ({"max_participations": 0}, "E103", "max_participations"),
        ({"epsilon": 0.0}, "E103", "epsilon"),
        ({"delta": 1.0}, "E103", "delta"),
        ({"kind": "tree"}, "E104", "kind"),
        ({"objective": "max"}, "E104", "objective"),
        ({"buffers": 99}, "E103", "buffers"),
        ({"kind": "banded", "bands": 51}, "E105", "bands"),
        ({"kind": "banded", "bands": 0}, "E103", "bands"),
        ({"momentum": -0.1}, "E103", "momentum"),
        ({"rates": (1.0,)}, "E103", "rates"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], code: str, place: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        planned(**changes)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.place) == (code, place)


def test_planning_loads_neither_torch_nor_scipy() -> None:
    code = """
import sys
from hedgerow.privacy.correlated import plan
plan(rounds=20, min_separation=5, max_participations=2, epsilon=1.0, delta=1e-5)
sys.exit(any(name in sys.modules for name in ("torch", "scipy", "opacus", "flwr")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
