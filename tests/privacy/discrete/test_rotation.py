import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgerow.privacy.discrete.rotation import flatness, rotate, rotated_size, unrotate


@settings(max_examples=60, deadline=None)
@given(dimension=st.integers(1, 3000), seed=st.binary(max_size=8))
def test_a_rotation_keeps_the_length_and_is_taken_back(dimension: int, seed: bytes) -> None:
    vector = np.random.default_rng(dimension).normal(size=dimension)
    before = vector.copy()
    rotated = rotate(vector, seed)
    assert rotated.shape == (rotated_size(dimension),)
    assert np.linalg.norm(rotated) == pytest.approx(np.linalg.norm(vector), rel=1e-12)
    assert np.allclose(unrotate(rotated, dimension, seed), vector, rtol=0, atol=1e-12)
    assert (vector == before).all()


@given(dimension=st.integers(1, 10**9))
def test_a_rotated_vector_is_at_most_an_eighth_longer(dimension: int) -> None:
    size = rotated_size(dimension)
    assert dimension <= size <= max(dimension * 9 / 8, 1 << (dimension - 1).bit_length() if dimension <= 16 else 0)


@pytest.mark.parametrize("dimension", [64, 1000, 2048, 2300, 4096 + 700])
def test_one_large_number_is_spread_as_evenly_as_promised(dimension: int) -> None:
    vector = np.zeros(dimension)
    vector[dimension // 2] = 1.0
    largest = np.abs(rotate(vector, b"seed")).max()
    assert largest <= math.sqrt(flatness(dimension) / rotated_size(dimension)) * (1 + 1e-12)


@pytest.mark.parametrize("dimension", [1024, 1100])
def test_coordinates_keep_within_their_bound_over_the_seeds(dimension: int) -> None:
    vector = np.ones(dimension) / math.sqrt(dimension)  # without signs, a Hadamard transform would make this one peak
    rotated = np.stack([rotate(vector, bytes([seed])) for seed in range(200)])
    for t in (2.0, 3.0, 4.0):
        limit = t * math.sqrt(flatness(dimension) / rotated_size(dimension))
        assert (np.abs(rotated) > limit).mean() <= 2 * math.exp(-(t**2) / 2)


def test_rotation_is_linear_so_a_sum_can_be_taken_back() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 77))
    assert np.allclose(unrotate(rotate(a, b"s") + rotate(b, b"s"), 77, b"s"), a + b, atol=1e-12)


def test_seeds_give_different_rotations_and_the_same_seed_the_same() -> None:
    x = np.arange(100.0)
    assert (rotate(x, b"1") == rotate(x, b"1")).all()
    assert not np.allclose(np.abs(rotate(x, b"1")), np.abs(rotate(x, b"2")))


def test_the_transform_is_hadamards() -> None:
    n = 64
    expected = np.array([[(-1) ** bin(i & j).count("1") for j in range(n)] for i in range(n)]) / math.sqrt(n)
    columns = np.stack([rotate(row, b"x") for row in np.eye(n)], axis=1)
    signs = columns[0] * math.sqrt(n)
    assert np.allclose(columns, expected * signs)
