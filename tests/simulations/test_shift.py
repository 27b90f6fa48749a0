"""Each site's features are scaled and offset in its own way, and always in the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.simulations.shift import shifted, site_shift


def drawn(strength: float, shape: tuple[int, ...] = (3,), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return site_shift(strength, shape, np.random.default_rng(seed))


@given(st.floats(0, 3), st.integers(0, 2**32), st.sampled_from([(), (4,), (1, 5, 5)]))
def test_a_shift_is_one_scale_and_one_offset_for_every_feature(
    strength: float, seed: int, shape: tuple[int, ...]
) -> None:
    scale, offset = drawn(strength, shape, seed)
    assert scale.shape == offset.shape == shape and scale.dtype == offset.dtype == np.float32
    assert np.all(scale > 0) and np.all(np.isfinite(scale))
    again = drawn(strength, shape, seed)
    assert np.array_equal(scale, again[0]) and np.array_equal(offset, again[1])


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_the_strength_is_the_standard_deviation_of_log_scales_and_of_offsets(strength: float) -> None:
    scale, offset = drawn(strength, (20_000,))
    for values in (np.log(scale.astype(np.float64)), offset):
        assert abs(values.mean()) < 5 * strength / np.sqrt(20_000)
        assert abs(values.std() / strength - 1) < 5 / np.sqrt(40_000)
    assert abs(np.corrcoef(np.log(scale), offset)[0, 1]) < 5 / np.sqrt(20_000)


def test_records_are_scaled_then_offset_in_single_precision_and_left_as_they_were() -> None:
    x = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    before, (scale, offset) = x.copy(), drawn(0.5)
    moved = shifted(x, (scale, offset))
    assert moved.dtype == np.float32 and np.array_equal(x, before)
    for row in range(7):
        for feature in range(3):
            assert moved[row, feature] == np.float32(x[row, feature] * scale[feature]) + offset[feature]
