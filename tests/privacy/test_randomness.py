import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness

SIGMAS = 7.0  # the operating system's draws differ in every run: a false alarm has probability below 1e-11


def test_the_same_seed_and_path_give_the_same_stream() -> None:
    a, b = SimulatedRandomness(7, 3, 1), SimulatedRandomness(7, 3, 1)
    assert (a.poisson_mask(99, 0.3) == b.poisson_mask(99, 0.3)).all()
    assert torch.equal(a.gaussian((4, 5), 2.0), b.gaussian((4, 5), 2.0))
    assert (a.shuffled(40) == b.shuffled(40)).all()


def test_another_path_or_seed_is_an_unrelated_stream() -> None:
    streams = [SimulatedRandomness(*name) for name in ((7,), (7, 0), (7, 1), (7, 1, 0), (8,))]
    noise = np.stack([stream.gaussian((4000,), 1.0).numpy() for stream in streams])
    off_diagonal = np.corrcoef(noise) - np.eye(len(streams))
    assert abs(off_diagonal).max() * math.sqrt(4000) < 5.0


def test_seeding_the_global_generators_does_not_repeat_released_noise() -> None:
    draws = []
    for _ in range(2):
        np.random.seed(0)
        torch.manual_seed(0)
        draws.append(OsRandomness().gaussian((100,), 1.0))
    assert not torch.equal(draws[0], draws[1])
    assert OsRandomness().poisson_mask(200, 0.5).tolist() != OsRandomness().poisson_mask(200, 0.5).tolist()


def test_the_two_kinds_share_no_type_and_say_what_they_are() -> None:
    assert not issubclass(SimulatedRandomness, OsRandomness) and not issubclass(OsRandomness, SimulatedRandomness)
    assert "not a DP release" in SimulatedRandomness(1).description
    assert OsRandomness().description == "operating system generator"


@pytest.mark.parametrize("source", [OsRandomness(), SimulatedRandomness(5)])
def test_gaussian_noise_is_gaussian_with_the_size_that_was_asked_for(source: Randomness) -> None:
    n, std = 200_001, 3.0
    noise = source.gaussian((n,), std, torch.float64).numpy() / std
    assert abs(noise.mean()) * math.sqrt(n) < SIGMAS
    assert abs((noise**2).sum() - n) / math.sqrt(2 * n) < SIGMAS
    distance = stats.kstest(noise, "norm").statistic
    assert distance * math.sqrt(n) < 3.6  # Kolmogorov: exceeded with probability below 1e-11


def test_neighbouring_samples_share_box_muller_pairs_but_are_unrelated() -> None:
    n = 100_000
    noise = OsRandomness().gaussian((n,), 1.0, torch.float64).numpy()
    for transform in (np.asarray, np.square):
        x = transform(noise)
        assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) * math.sqrt(n) < SIGMAS


def test_a_box_muller_pair_is_split_over_two_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both halves in one sample would be a single draw in disguise, and its distribution would not show it.
    bits = bytearray(np.random.default_rng(1).bytes(32 * 10))
    monkeypatch.setattr("hedgerow.privacy.randomness.os.urandom", lambda n: bytes(bits[:n]))
    before = OsRandomness().gaussian((10,), 1.0, torch.float64)
    bits[8 * 3 + 7] ^= 0x40  # the radius of the fourth pair
    after = OsRandomness().gaussian((10,), 1.0, torch.float64)
    assert (before != after).nonzero().flatten().tolist() == [3, 4]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 5), (20_000,)])
@pytest.mark.parametrize("source", [OsRandomness(), SimulatedRandomness(5)])
def test_any_shape_comes_back_as_finite_float32(source: Randomness, shape: tuple[int, ...]) -> None:
    noise = source.gaussian(shape, 1.0)
    assert noise.shape == shape and noise.dtype == torch.float32 and bool(noise.isfinite().all())


@pytest.mark.parametrize("source", [OsRandomness(), SimulatedRandomness(5)])
def test_participation_is_binomial(source: Randomness) -> None:
    records, rate, rounds = 300, 0.15, 400
    masks = np.stack([source.poisson_mask(records, rate) for _ in range(rounds)])
    total, draws = masks.sum(), masks.size
    assert abs(total - draws * rate) / math.sqrt(draws * rate * (1 - rate)) < SIGMAS
    counts = masks.sum(axis=1)
    spread = counts.var(ddof=1) / (records * rate * (1 - rate))  # a fixed batch size would give 0
    assert abs(spread - 1) * math.sqrt((rounds - 1) / 2) < SIGMAS


@pytest.mark.parametrize("source", [OsRandomness(), SimulatedRandomness(5)])
def test_rates_of_one_and_zero_take_everybody_and_nobody(source: Randomness) -> None:
    assert source.poisson_mask(1000, 1.0).all()
    assert not source.poisson_mask(1000, 0.0).any()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 200))
def test_a_shuffled_epoch_visits_every_record_once(n: int) -> None:
    for source in (OsRandomness(), SimulatedRandomness(5)):
        order = source.shuffled(n)
        assert order.dtype == np.int64 and sorted(order.tolist()) == list(range(n))
