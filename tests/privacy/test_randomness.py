import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from hedgerow.privacy import OsRandomness, Randomness, SimulatedRandomness
from hedgerow.privacy.randomness import Bits

SIGMAS = 7.0  # the operating system's draws differ in every run: a false alarm has probability below 1e-11


def _unrelated(rows: NDArray[np.float32]) -> None:
    off_diagonal = np.corrcoef(rows) - np.eye(len(rows))
    assert abs(off_diagonal).max() * math.sqrt(rows.shape[1]) < SIGMAS


def test_the_same_seed_and_path_give_the_same_stream() -> None:
    a, b = SimulatedRandomness(7, 3, 1), SimulatedRandomness(7, 3, 1)
    assert (a.poisson_mask(99, 0.3) == b.poisson_mask(99, 0.3)).all()
    assert torch.equal(a.gaussian((4, 5), 2.0), b.gaussian((4, 5), 2.0))
    assert (a.shuffled(40) == b.shuffled(40)).all()


def test_another_path_or_seed_is_an_unrelated_stream() -> None:
    streams = [SimulatedRandomness(*name) for name in ((7,), (7, 0), (7, 1), (7, 1, 0), (8,))]
    noise = np.stack([stream.gaussian((4000,), 1.0).numpy() for stream in streams])
    _unrelated(noise)


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


@pytest.mark.parametrize("word", [3, 13, 23, 33])
def test_a_box_muller_pair_is_split_over_two_samples(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both halves in one sample would be a single draw in disguise, and its distribution would not show it. The words
    # are two radii and two angles a place: a sample is made of four pairs, its own two and those of the place before.
    words = np.random.default_rng(1).integers(0, 1 << 64, 40, dtype=np.uint64)
    monkeypatch.setattr("hedgerow.privacy.randomness._words", lambda count: words[:count])
    before = OsRandomness().gaussian((10,), 1.0, torch.float64)
    words[word] ^= np.uint64(1 << 62)
    after = OsRandomness().gaussian((10,), 1.0, torch.float64)
    assert (before != after).nonzero().flatten().tolist() == [3, 4]


def test_released_noise_is_gaussian_in_every_twentieth_of_its_range() -> None:
    n = 200_000
    quantiles = stats.norm.cdf(OsRandomness().gaussian((n,), 1.0, torch.float64).numpy())
    observed = np.bincount((quantiles * 20).astype(int), minlength=20)
    assert stats.chisquare(observed).pvalue > 1e-11


def test_every_draw_takes_a_fresh_key_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)]) * size

    monkeypatch.setattr("hedgerow.privacy.randomness.os.urandom", counted)
    source = OsRandomness()
    words = [source.words(50), source.words(50)]
    noise = [source.gaussian((50,), 1.0), source.gaussian((50,), 1.0)]
    masks = [source.poisson_mask(50, 0.5), source.poisson_mask(50, 0.5)]
    assert asked == [32] * 6
    assert (words[0] != words[1]).all() and (noise[0] != noise[1]).all() and (masks[0] != masks[1]).any()


def test_the_operating_system_is_the_only_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hedgerow.privacy.randomness.os.urandom", bytes)
    assert torch.equal(OsRandomness().gaussian((50,), 1.0), OsRandomness().gaussian((50,), 1.0))


def test_threads_draw_different_noise() -> None:
    source = OsRandomness()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: source.gaussian((3000,), 1.0).numpy(), range(16)))
    _unrelated(np.stack(drawn))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_does_not_repeat_its_parents_noise() -> None:
    source = OsRandomness()
    source.words(100)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(there, source.words(4000).tobytes())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        theirs = np.frombuffer(pipe.read(), np.uint64)
    os.waitpid(child, 0)
    ours = source.words(4000)
    assert theirs.shape == ours.shape and not np.isin(theirs, ours).any()


def test_restarts_with_the_same_seeds_everywhere_draw_different_words() -> None:
    script = (
        "import random, numpy; random.seed(0); numpy.random.seed(0);"
        "from hedgerow.privacy.randomness import OsRandomness; print(OsRandomness().words(8).tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 2


def test_seeding_numpy_and_torch_does_not_move_a_single_word_of_either_kind() -> None:
    before = SimulatedRandomness(7).words(20)
    np.random.seed(1)
    torch.manual_seed(1)
    assert (SimulatedRandomness(7).words(20) == before).all()
    state, torch_state = np.random.get_state(legacy=False)["state"]["key"], torch.get_rng_state()
    OsRandomness().gaussian((100,), 1.0)
    SimulatedRandomness(7).words(100)
    assert (np.random.get_state(legacy=False)["state"]["key"] == state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("source", [OsRandomness(), SimulatedRandomness(5)])
def test_every_bit_of_a_word_is_fair_and_none_follows_another(source: Bits) -> None:
    words = source.words(20_000)
    bits = np.unpackbits(words.view(np.uint8)).reshape(20_000, 64) * 2.0 - 1.0
    assert words.dtype == np.uint64
    assert abs(bits.mean(axis=0)).max() * math.sqrt(20_000) < SIGMAS
    correlations = bits.T @ bits / 20_000 - np.eye(64)
    assert abs(correlations).max() * math.sqrt(20_000) < SIGMAS
    assert abs((bits[1:] * bits[:-1]).mean(axis=0)).max() * math.sqrt(20_000) < SIGMAS


def test_words_masks_and_orders_come_from_one_stream_that_only_goes_forward() -> None:
    a, b = SimulatedRandomness(7), SimulatedRandomness(7)
    whole = a.words(100)
    assert (np.concatenate([b.words(30), b.words(70)]) == whole).all()
    assert not np.isin(b.words(100), whole).any()
    c = SimulatedRandomness(7)
    c.poisson_mask(30, 0.5)
    assert (c.words(70) == whole[30:]).all()


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
