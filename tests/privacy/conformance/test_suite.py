"""Each planted bug is found, and mechanisms without one are left alone."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.errors import Misconfigured, Rejected
from hedgerow.privacy import OsRandomness
from hedgerow.privacy.conformance import Batches, Claim, conformance, gaussian_noise, integer_noise
from hedgerow.privacy.discrete import discrete_gaussian_table, skellam_table

Floats = NDArray[np.float64]
CLAIM = gaussian_noise(1.0)


def failing(released: Floats, claim: Claim = CLAIM, **more: Any) -> set[str]:
    return {check.name for check in conformance(released, claim=claim, **more) if not check.passed}


def times_found(plant: Callable[[np.random.Generator], set[str]], name: str, tries: int = 20) -> int:
    return sum(name in plant(np.random.default_rng(seed)) for seed in range(tries))


def test_half_the_noise_is_found_in_a_single_release() -> None:
    assert times_found(lambda rng: failing(rng.normal(0, 0.5, (1, 200))), "noise size") == 20


def test_twice_the_noise_is_found_as_well() -> None:
    assert times_found(lambda rng: failing(rng.normal(0, 2, (1, 200))), "noise size") == 20


def test_five_percent_too_little_is_found_in_nine_thousand_numbers() -> None:
    assert times_found(lambda rng: failing(rng.normal(0, 0.95, (1, 9000))), "noise size") == 20


def test_one_client_that_adds_less_is_found_among_many() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        noise = rng.normal(size=(50, 2000))
        noise[17] *= 0.8
        return failing(noise)

    assert times_found(plant, "noise size by release") == 20


@pytest.mark.parametrize("width", [40, 400])
def test_coordinates_without_noise_are_found(width: int) -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        noise = rng.normal(size=(8, 4000))
        noise[:, 1000 : 1000 + width] = 0.0
        return failing(noise)

    assert times_found(plant, "noise size by coordinates") == 20


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.laplace(0, math.sqrt(0.5), n),
        lambda rng, n: rng.uniform(-math.sqrt(3), math.sqrt(3), n),
        lambda rng, n: rng.normal(0.15, 1, n),
    ],
)
def test_another_distribution_of_the_same_size_is_found(draw: Callable[[np.random.Generator, int], Floats]) -> None:
    assert times_found(lambda rng: failing(draw(rng, 20_000)[None]), "noise shape") == 20


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_reused_noise_is_found_whatever_its_sign(scale: float) -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        noise = rng.normal(size=(30, 500))
        noise[21] = scale * noise[4]
        return failing(noise)

    assert times_found(plant, "reuse between releases") == 20


def test_partly_reused_noise_of_another_size_is_found() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        noise = rng.normal(size=(10, 3000))
        noise[7] = 0.25 * noise[7] - 3.0 * noise[2]
        return failing(noise)

    assert times_found(plant, "reuse between releases") == 20


def test_a_restart_that_seeds_anew_repeats_itself_and_is_found() -> None:
    before = np.random.default_rng(0).normal(size=(3, 1000))
    after = np.random.default_rng(0).normal(size=(3, 1000))
    assert "reuse between releases" in failing(np.concatenate([before, after]))
    assert not failing(before)


def test_a_stream_that_starts_over_inside_a_release_is_found() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        return failing(np.tile(rng.normal(size=(1, 1000)), 3))

    assert times_found(plant, "reuse inside a release") == 20


def test_noise_reused_at_other_coordinates_is_found() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        stream = rng.normal(size=2300)
        return failing(np.stack([stream[:2000], stream[300:]]))

    assert times_found(plant, "reuse inside a release") == 20


def test_neighbours_that_share_a_draw_are_found() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        draws = rng.normal(size=5001)
        return failing((draws[1:] + draws[:-1])[None] / math.sqrt(2))

    assert times_found(plant, "reuse inside a release") == 20


def test_dividing_by_those_who_came_is_found() -> None:
    def plant(rng: np.random.Generator) -> set[str]:
        came = rng.binomial(100, 0.3, 40)
        return failing(rng.normal(size=(40, 500)) * (30 / came)[:, None], participants=came)

    assert times_found(plant, "constant denominator") == 20


def test_fixed_batches_billed_as_sampled_are_found_and_so_is_another_rate() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 100))
    fixed = Batches(sizes=np.full(25, 30), records=200, rate=0.15)
    assert failing(noise, batches=fixed) == {"batch sizes"}
    more = Batches(sizes=np.random.default_rng(1).binomial(200, 0.3, 25), records=200, rate=0.15)
    assert "sampling rate" in failing(noise, batches=more)
    clustered = Batches(sizes=np.tile([0, 60], 20), records=200, rate=0.15)
    assert failing(noise, batches=clustered) == {"batch sizes"}


def test_a_vector_longer_than_the_clip_is_found_and_a_nan_too() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 100))
    assert failing(noise, lengths=[0.5, 1.0 + 1e-7], clip=1.0) == set()
    assert failing(noise, lengths=[0.5, 1.00001], clip=1.0) == {"clip"}
    assert failing(noise, lengths=[0.5, math.nan], clip=1.0) == {"clip"}


def test_no_noise_at_all_fails_whatever_its_size() -> None:
    for size in (8, 50, 5000):
        assert "noise size" in failing(np.zeros((3, size)))


@pytest.mark.parametrize("shape", [(1, 100), (4, 100)])
def test_correct_gaussian_noise_is_accused_no_more_often_than_promised(shape: tuple[int, int]) -> None:
    rng, runs, level = np.random.default_rng(2), 1000, 0.05
    came = rng.binomial(100, 0.3, shape[0]) if shape[0] > 1 else None
    alarms = 0
    for _ in range(runs):
        batches = Batches(sizes=rng.binomial(200, 0.15, 30), records=200, rate=0.15)
        alarms += bool(failing(rng.normal(size=shape), level=level, participants=came, batches=batches))
    assert alarms <= stats.binom.isf(1e-4, runs, level)
    assert alarms > 0  # the checks are not asleep


def test_at_the_default_level_two_thousand_correct_mechanisms_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(bool(failing(rng.normal(size=(3, 200)))) for _ in range(2000))
    assert alarms <= stats.binom.isf(1e-4, 2000, 1e-3)


@pytest.mark.parametrize("variance", [1.0, 30.0])
@pytest.mark.parametrize("table", [skellam_table, discrete_gaussian_table])
def test_correct_integer_noise_is_left_alone_and_wrong_noise_is_not(table: Any, variance: float) -> None:
    law = table(variance)
    claim = integer_noise(*law.pmf())
    source = OsRandomness()
    alarms = sum(bool(failing(law.draw(1200, source).reshape(4, 300), claim, level=0.01)) for _ in range(300))
    assert alarms <= stats.binom.isf(1e-7, 300, 0.01)
    wide = table(1.2 * variance).draw(20_000, source).reshape(4, 5000)
    assert "noise size" in failing(wide, claim)


def test_noise_that_is_not_whole_is_no_integer_noise() -> None:
    claim = integer_noise(*skellam_table(100.0).pmf())
    assert "noise shape" in failing(np.random.default_rng(1).normal(0, 10, (1, 500)), claim)


def test_released_noise_passes_its_own_test_over_calls_and_sources() -> None:
    rows = [OsRandomness().gaussian((4000,), 3.0).numpy() for _ in range(12)]
    assert not failing(np.stack(rows).astype(np.float64), gaussian_noise(3.0), level=1e-8)


def test_findings_say_what_was_measured() -> None:
    noise = np.random.default_rng(4).normal(0, 0.5, (1, 500))
    first = conformance(noise, claim=CLAIM)[0]
    assert first.name == "noise size" and not first.passed and first.p < 1e-10
    assert first.statistic == pytest.approx(math.sqrt((noise**2).mean()))
    assert f"{first.statistic:.4f}" in first.meaning


@pytest.mark.parametrize("released", [np.zeros(5), np.zeros((0, 4)), np.zeros((2, 0))])
def test_what_is_not_a_matrix_of_numbers_is_refused(released: Floats) -> None:
    with pytest.raises(Rejected, match="shape"):
        conformance(released, claim=CLAIM)


def test_a_release_with_a_nan_is_refused() -> None:
    with pytest.raises(Rejected, match="NaN"):
        conformance([[1.0, math.nan]], claim=CLAIM)


@pytest.mark.parametrize("participants", [[5, 5], [1, 2, 3], [0, 3]])
def test_counts_that_say_nothing_about_the_denominator_are_refused(participants: list[int]) -> None:
    with pytest.raises(Misconfigured, match="participants"):
        conformance(np.ones((2, 50)), claim=CLAIM, participants=participants)


@pytest.mark.parametrize(
    "batches",
    [
        Batches(sizes=np.array([], np.int64), records=10, rate=0.5),
        Batches(sizes=np.array([11]), records=10, rate=0.5),
        Batches(sizes=np.array([3]), records=10, rate=1.0),
    ],
)
def test_impossible_batches_are_refused(batches: Batches) -> None:
    with pytest.raises(Misconfigured):
        conformance(np.ones((2, 50)), claim=CLAIM, batches=batches)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_a_claim_needs_noise(std: float) -> None:
    with pytest.raises(ValueError, match="std"):
        gaussian_noise(std)
    with pytest.raises(ValueError, match="variance"):
        integer_noise(np.array([0]), np.array([1.0]))
