import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.privacy.randomness import SEED_DRAWS, SimulatedRandomness, torch_seeded
from hedgerow.splitmix import splitmix, stream_start, uniforms


def reference(start: int, count: int) -> list[int]:
    """The generator as its paper writes it, on Python's integers."""
    outputs, whole = [], 2**64
    for _ in range(count):
        start = (start + 0x9E3779B97F4A7C15) % whole
        z = (start ^ (start >> 30)) * 0xBF58476D1CE4E5B9 % whole
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % whole
        outputs.append(z ^ (z >> 31))
    return outputs


@given(
    starts=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), first=st.integers(0, 20), n=st.integers(0, 9)
)
def test_outputs_are_those_of_the_published_generator(starts: list[int], first: int, n: int) -> None:
    drawn = splitmix(np.array(starts, np.uint64), first, n)
    assert drawn.tolist() == [reference(start, first + n)[first:] for start in starts]


def test_streams_of_one_seed_start_far_apart() -> None:
    starts = {stream_start(0, 4, site, number) for site in range(100) for number in range(100)}
    assert len(starts) == 10_000
    low_bits = np.array(sorted(starts), np.uint64) & np.uint64(255)
    counts = np.bincount(low_bits.astype(np.int64), minlength=256)
    assert ((counts - 10_000 / 256) ** 2).sum() / (10_000 / 256) < 400  # chi-square with 255 degrees of freedom


@pytest.mark.parametrize("site", [0, 3, 9999])
def test_many_streams_drawn_at_once_are_those_drawn_one_by_one(site: int) -> None:
    starts = np.array([stream_start(5, 4, index, 2) for index in (site, site + 1)], np.uint64)
    one = SimulatedRandomness(5, 4, site, 2)
    with torch_seeded(one):
        mask, order = one.poisson_mask(20, 0.3), one.shuffled(7)
    assert ((uniforms(starts, SEED_DRAWS, 20) < 0.3)[0] == mask).all()
    assert (np.argsort(splitmix(starts, SEED_DRAWS + 20, 7), axis=1)[0] == order).all()


def test_noise_does_not_move_the_masks() -> None:
    quiet, noisy = SimulatedRandomness(1, 2), SimulatedRandomness(1, 2)
    noisy.gaussian((100,), 1.0)
    assert (quiet.shuffled(30) == noisy.shuffled(30)).all()
