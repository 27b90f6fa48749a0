import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.discrete.rounding import longest_before_rounding, round_within


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, 300), bound=st.floats(1.0, 1e6), share=st.floats(0.0, 1.0), seed=st.integers(0, 10**6))
def test_the_rounded_vector_keeps_the_bound_in_whole_numbers(size: int, bound: float, share: float, seed: int) -> None:
    longest = longest_before_rounding(bound, size)
    if longest <= 0:
        return
    x = np.random.default_rng(seed).normal(size=size)
    x *= share * longest / np.linalg.norm(x)
    rounded = round_within(x, bound, SimulatedRandomness(seed))
    assert sum(int(v) ** 2 for v in rounded) <= bound**2
    assert (np.abs(rounded - x) < 1).all()


def test_rounding_has_the_vectors_mean() -> None:
    x = np.array([0.1, -0.1, 2.5, -7.75, 3.0])
    source = SimulatedRandomness(1)
    drawn = np.stack([round_within(x, 100.0, source) for _ in range(20_000)])
    error = np.abs(drawn.mean(axis=0) - x) / np.sqrt(np.maximum(drawn.var(axis=0), 1e-12) / len(drawn))
    assert error.max() < 5
    assert (drawn[:, 4] == 3).all()


def test_the_longest_vector_is_rounded_in_a_few_tries_without_falling_back() -> None:
    size, bound = 10_000, 500.0
    x = np.full(size, longest_before_rounding(bound, size) / math.sqrt(size))
    source = SimulatedRandomness(2)
    rounded = np.stack([round_within(x, bound, source) for _ in range(20)])
    assert abs(rounded.mean() - x[0]) < 5 * 0.5 / math.sqrt(rounded.size)


def test_a_vector_that_would_always_grow_is_rounded_towards_zero() -> None:
    x = np.array([0.0, 9.999999999, 0.0])  # up with probability 1 - 1e-9, and 10 is above the bound
    assert round_within(x, 9.9999999999, OsRandomness()).tolist() == [0, 9, 0]


def test_a_vector_longer_than_the_bound_is_an_error() -> None:
    with pytest.raises(ValueError, match="length"):
        round_within(np.full(4, 10.0), 19.0, OsRandomness())


@pytest.mark.parametrize(("bound", "size"), [(500.0, 10_000), (60.0, 10_000), (1e6, 10), (3.0, 1)])
def test_the_longest_vector_solves_the_papers_inequality(bound: float, size: int) -> None:
    longest, root = longest_before_rounding(bound, size), math.sqrt(size)
    grown = longest**2 + size / 4 + (longest + root / 2)  # sqrt(2 log(1 / β)) = 1
    assert min((longest + root) ** 2, grown) == pytest.approx(bound**2, rel=1e-9)


def test_a_grid_too_coarse_for_the_dimension_leaves_no_room() -> None:
    assert longest_before_rounding(10.0, 10_000) <= 0
    assert 0 < longest_before_rounding(100.0, 10_000) < 100
