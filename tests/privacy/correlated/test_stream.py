import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hedgerow.errors import HedgerowError
from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.correlated import Kind, NoiseStream, Plan, plan

KINDS: tuple[Kind, ...] = ("blt", "banded", "independent")
ROUNDS = 40


def planned(kind: Kind, epsilon: float = 2.0) -> Plan:
    return plan(
        rounds=ROUNDS,
        min_separation=7,
        max_participations=4,
        epsilon=epsilon,
        delta=1e-5,
        kind=kind,
        bands=5 if kind == "banded" else None,
    )


def stream(kind: Kind, dimension: int = 20_000, dtype: Any = np.float64, clip: float = 0.5) -> NoiseStream:
    return NoiseStream(planned(kind), dimension, lambda t: SimulatedRandomness(7, t), clip=clip, dtype=dtype)


def lower(column: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(column)
    return sum((np.diag(np.full(n - k, value), -k) for k, value in enumerate(column)), np.zeros((n, n)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_streaming_is_the_dense_solve(kind: Kind, dtype: Any, tolerance: float) -> None:
    noises = stream(kind, dtype=dtype)
    std = noises.plan.noise_scale * 0.5
    z = np.stack(
        [SimulatedRandomness(7, t).gaussian((20_000,), std, torch.float64).numpy() for t in range(1, ROUNDS + 1)]
    )
    expected = np.linalg.solve(lower(noises.plan.coefficients), z)
    drawn = np.stack([noises.next() for _ in range(ROUNDS)])
    assert drawn.dtype == dtype
    np.testing.assert_allclose(drawn, expected, atol=tolerance * std)


@pytest.mark.parametrize("kind", KINDS)
def test_b_times_c_is_the_workload(kind: Kind) -> None:
    chosen = planned(kind)
    c, a = lower(chosen.coefficients), chosen.workload.matrix()
    b = lower(chosen.workload.decoder(np.linalg.solve(c, np.eye(ROUNDS)[0])))
    np.testing.assert_allclose(b @ c, a, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_released_sums_has_the_promised_covariance(kind: Kind) -> None:
    """χ²: whitened by B Bᵀ, what is measured is white with variance 1."""
    noises, d = stream(kind), 20_000
    sums = np.cumsum([noises.next() for _ in range(ROUNDS)], axis=0)
    b = np.tril(np.ones((ROUNDS, ROUNDS))) @ np.linalg.inv(lower(noises.plan.coefficients))
    white = np.linalg.solve(np.linalg.cholesky(b @ b.T), sums) / (noises.plan.noise_scale * 0.5)
    statistic = float((white**2).sum())
    assert abs(statistic - ROUNDS * d) < 5 * math.sqrt(2 * ROUNDS * d)  # noise 1 % off would be 9 away
    assert abs(np.corrcoef(white) - np.eye(ROUNDS)).max() < 5 / math.sqrt(d)
    measured = math.sqrt((sums**2).mean()) / 0.5
    assert measured == pytest.approx(noises.plan.error.rms, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 1, 6, ROUNDS])
def test_a_resumed_run_goes_on_with_the_same_bytes(kind: Kind, at: int) -> None:
    whole = stream(kind, 50)
    for _ in range(at):
        whole.next()
    saved = {name: np.array(array) for name, array in whole.state().items()}
    resumed = stream(kind, 50)
    resumed.restore(saved)
    for _ in range(ROUNDS - at):
        assert resumed.next().tobytes() == whole.next().tobytes()


def test_a_state_is_a_copy() -> None:
    noises = stream("blt", 5)
    saved = noises.state()["kept"]
    noises.next()
    assert not saved.any() and noises.state()["kept"].any()


def test_what_is_returned_is_not_what_is_kept() -> None:
    a, b = stream("banded", 5), stream("banded", 5)
    for _ in range(9):
        first, second = a.next(), b.next()
        assert (first == second).all()
        first[:] = 1e9


def test_the_kept_vectors_do_not_grow() -> None:
    noises = stream("banded", 3)
    shapes = [noises.state()["kept"].shape for _ in range(ROUNDS) if noises.next() is not None]
    assert set(shapes) == {(4, 3)}
    assert stream("blt", 3).state()["kept"].shape == (4, 3) and stream("independent", 3).state()["kept"].shape == (0, 3)


def test_released_noise_is_never_repeated() -> None:
    a, b = (NoiseStream(planned("blt"), 100, lambda t: OsRandomness(), clip=1.0) for _ in range(2))
    drawn = [one.next() for one in (a, b, a, b)]
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.9 and not (drawn[2] == drawn[3]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_beyond_the_plan(kind: Kind) -> None:
    noises = stream(kind, 2)
    for _ in range(ROUNDS):
        noises.next()
    with pytest.raises(HedgerowError) as caught:
        noises.next()
    assert caught.value.code == "E201"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"digest": np.zeros(40, np.uint8)}, "E113"),
        ({"digest": None}, "E113"),
        ({"kept": np.zeros((4, 6))}, "E113"),
        ({"kept": np.zeros((3, 5))}, "E113"),
        ({"kept": np.zeros((4, 5), np.float32)}, "E113"),
        ({"kept": np.full((4, 5), np.nan)}, "E401"),
        ({"released": np.array(-1)}, "E401"),
        ({"released": np.array(ROUNDS + 1)}, "E401"),
        ({"released": np.array([1])}, "E401"),
        ({"released": np.array(0)}, "E201"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change: dict[str, Any], code: str) -> None:
    noises, untouched = stream("blt", 5), stream("blt", 5)
    noises.next(), untouched.next()
    state = {name: array for name, array in {**noises.state(), **change}.items() if array is not None}
    with pytest.raises(HedgerowError) as caught:
        noises.restore(state)
    assert caught.value.code == code
    assert noises.next().tobytes() == untouched.next().tobytes()


def test_a_state_of_another_plan_or_clip_is_refused() -> None:
    for other in (stream("banded", 5), stream("blt", 5, clip=0.6)):
        with pytest.raises(HedgerowError) as caught:
            stream("blt", 5).restore(other.state())
        assert caught.value.code == "E113"


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"dimension": 0}, "dimension"),
        ({"clip": 0.0}, "clip"),
        ({"clip": float("nan")}, "clip"),
        ({"clip": float("inf")}, "clip"),
        ({"dtype": np.float16}, "dtype"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], place: str) -> None:
    with pytest.raises(HedgerowError) as caught:
        stream("blt", **settings)
    assert (caught.value.code, caught.value.place) == ("E103", place)
