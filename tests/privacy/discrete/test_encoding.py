import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from hedgerow.errors import Rejected
from hedgerow.privacy import OsRandomness, SimulatedRandomness
from hedgerow.privacy.conformance import conformance, gaussian_noise, integer_noise
from hedgerow.privacy.discrete import (
    Grid,
    Law,
    decode,
    discrete_gaussian_table,
    encode,
    plan_grid,
    skellam_table,
)
from hedgerow.privacy.discrete.encoding import clipped, quantised
from hedgerow.privacy.discrete.table import SignedTable

GRID = plan_grid(dimension=50, clients=20, honest=15, clip=2.0, epsilon=8.0, delta=1e-5, steps=1)
QUIET = replace(GRID, share=0.0)
SEED = b"public"


@settings(max_examples=200, deadline=None)
@given(
    update=st.one_of(
        [
            arrays.arrays(
                dtype, 50, elements=arrays.from_dtype(np.dtype(dtype), allow_nan=special, allow_infinity=special)
            )
            for dtype in (np.float16, np.float32, np.float64)
            for special in (False, True)
        ]
    )
)
def test_whatever_a_site_holds_what_it_sends_decodes_within_the_clip(update: NDArray[Any]) -> None:
    before = update.copy()
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        whole, present = quantised(update, grid=GRID, rotation=SEED, bits=SimulatedRandomness(1))
        sent = encode(update, grid=QUIET, rotation=SEED, bits=SimulatedRandomness(1))
    assert present == bool(np.isfinite(update).all()) == sent.present
    assert sum(int(x) ** 2 for x in whole) <= GRID.l2**2
    assert np.linalg.norm(decode(sent.numbers, grid=GRID, rotation=SEED)) <= GRID.clip * (1 + 1e-12)
    assert present or not whole.any()
    assert np.array_equal(update, before, equal_nan=True)


@settings(max_examples=200, deadline=None)
@given(update=arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats()), clip=st.floats(1e-9, 1e9))
def test_the_clip_holds_for_every_float_and_keeps_short_vectors_as_they_are(
    update: NDArray[np.float64], clip: float
) -> None:
    vector, present = clipped(update, clip)
    assert np.isfinite(vector).all() and np.linalg.norm(vector) <= clip * (1 + 1e-12)
    if present and np.abs(update).max(initial=0.0) < clip / math.sqrt(max(1, len(update))):
        assert (vector == update).all()
    if present and np.any(update):
        largest = int(np.abs(update).argmax())
        assert np.sign(vector[largest]) in (0.0, np.sign(update[largest]))


def test_a_sum_decodes_to_the_sum_of_the_updates_up_to_rounding() -> None:
    rng = np.random.default_rng(1)
    updates = rng.normal(size=(20, 50)) * 0.2
    total = np.zeros(GRID.size, GRID.dtype)
    for site, update in enumerate(updates):
        total += encode(update, grid=QUIET, rotation=SEED, bits=SimulatedRandomness(1, site)).numbers
    error = decode(total, grid=GRID, rotation=SEED) - updates.sum(axis=0)
    assert np.linalg.norm(error) < 20 * math.sqrt(GRID.size) / GRID.scale / 2
    assert abs(error.mean()) < 5 * math.sqrt(20 / 4 / 50) / GRID.scale


@pytest.mark.parametrize("bits", [13, 16, 20])
def test_sums_may_wrap_on_the_way_and_still_come_out_right(bits: int) -> None:
    grid = replace(
        plan_grid(dimension=50, clients=20, honest=15, clip=2.0, epsilon=8.0, delta=1e-5, steps=1, bits=bits)
    )
    sites = [
        encode(np.full(50, 0.1), grid=grid, rotation=SEED, bits=SimulatedRandomness(2, site)) for site in range(20)
    ]
    wide = sum(site.numbers.astype(np.int64) for site in sites)
    assert isinstance(wide, np.ndarray)
    assert int(wide.max()) >= grid.modulus  # it does wrap
    narrow = (wide % grid.modulus).astype(grid.dtype)
    assert (decode(wide.astype(np.uint64), grid=grid, rotation=SEED) == decode(narrow, grid=grid, rotation=SEED)).all()
    assert np.linalg.norm(decode(narrow, grid=grid, rotation=SEED) - 2.0) < 8 * grid.std(20) * math.sqrt(50)


def test_a_long_update_is_shortened_to_the_input_clip_in_its_own_direction() -> None:
    # On this coarse grid rounding towards zero, the last resort, would lose a fifth of the length.
    grid = plan_grid(
        dimension=9000, clients=20, honest=15, groups=500, clip=2.0, epsilon=8.0, delta=1e-5, steps=1, bits=10
    )
    update = np.random.default_rng(3).normal(size=9000)
    quiet = replace(grid, share=0.0)
    sent = [
        decode(
            encode(update, grid=quiet, rotation=SEED, bits=SimulatedRandomness(5, i)).numbers, grid=grid, rotation=SEED
        )
        for i in range(20)
    ]
    along = np.mean(sent, axis=0) @ update / np.linalg.norm(update)
    assert grid.input_clip < 0.8 * grid.clip
    assert along == pytest.approx(grid.input_clip, rel=0.01)


def test_an_absent_update_adds_noise_like_any_other() -> None:
    grid = replace(GRID, dimension=9000)
    sent = encode(np.full(9000, np.nan), grid=grid, rotation=SEED, bits=OsRandomness())
    assert not sent.present
    noise = _centred(sent.numbers, grid)[None]
    claim = integer_noise(*skellam_table(grid.share).pmf())
    assert all(check.passed for check in conformance(noise, claim=claim, level=1e-8))


def test_the_noise_of_a_sum_is_what_the_plan_says_and_new_each_time() -> None:
    grid = replace(GRID, dimension=2048)
    source = OsRandomness()
    rounds = []
    for _ in range(5):
        total = np.zeros(grid.size, grid.dtype)
        for _site in range(15):
            total += encode(np.zeros(2048), grid=grid, rotation=SEED, bits=source).numbers
        rounds.append(decode(total, grid=grid, rotation=SEED))
    assert grid.std(15) == pytest.approx(grid.noise_multiplier * grid.clip)
    checks = conformance(np.stack(rounds), claim=gaussian_noise(grid.std(15)), level=1e-8)
    assert all(check.passed for check in checks), checks


def test_numbers_of_another_size_are_refused() -> None:
    with pytest.raises(Rejected, match="49 numbers"):
        encode(np.zeros(49), grid=GRID, rotation=SEED, bits=OsRandomness())
    with pytest.raises(Rejected, match="shape"):
        decode(np.zeros(GRID.size + 1, GRID.dtype), grid=GRID, rotation=SEED)


def test_the_discrete_gaussian_grid_encodes_as_well() -> None:
    grid = plan_grid(
        dimension=300, clients=20, honest=15, clip=2.0, epsilon=8.0, delta=1e-5, steps=1, law="discrete_gaussian"
    )
    noise = _centred(encode(np.zeros(300), grid=grid, rotation=SEED, bits=OsRandomness()).numbers, grid)
    assert abs(np.mean(noise**2) / grid.share - 1) < 7 * math.sqrt(2 / noise.size)


@pytest.mark.parametrize(("law", "table"), [("skellam", skellam_table), ("discrete_gaussian", discrete_gaussian_table)])
def test_the_noise_is_of_the_law_that_was_agreed(law: Law, table: Callable[[float], SignedTable]) -> None:
    coarse = replace(GRID, law=law, share=0.4, dimension=60_000)
    noise = _centred(encode(np.zeros(60_000), grid=coarse, rotation=SEED, bits=SimulatedRandomness(6)).numbers, coarse)
    for other in (skellam_table, discrete_gaussian_table):
        shape = next(
            c for c in conformance(noise[None], claim=integer_noise(*other(0.4).pmf())) if c.name == "noise shape"
        )
        assert shape.passed == (other is table)


def _centred(numbers: NDArray[np.unsignedinteger], grid: Grid) -> NDArray[np.int64]:
    half = grid.modulus >> 1
    return (numbers.astype(np.int64) + half) % grid.modulus - half
