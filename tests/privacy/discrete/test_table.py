from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hedgerow.privacy import SimulatedRandomness
from hedgerow.privacy.discrete.table import SignedTable, signed_table, uniform_below

Fit = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], float]


def cells(table: SignedTable, precision: int) -> Counter[int]:
    """How many of all 2^precision numbers lead to each magnitude, by the table itself."""
    numbers = np.arange(1 << precision, dtype=np.uint64)
    cell = (numbers >> np.uint64(table.shift)).astype(np.int64)
    return Counter(np.where(numbers < table.threshold[cell], table.kept[cell], table.other[cell]).tolist())


@settings(max_examples=60, deadline=None)
@given(weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any))
def test_every_magnitude_gets_the_whole_part_of_its_share_and_the_rest_goes_to_the_rare_entry(
    weights: list[int],
) -> None:
    precision = 12
    counted = cells(signed_table(lambda: weights, precision=precision), precision)
    total = sum(weights)
    for k, weight in enumerate(weights):
        assert counted[k] == (weight << precision) // total
    assert sum(counted.values()) == 1 << precision
    assert counted[len(weights)] == (1 << precision) - sum((w << precision) // total for w in weights)


def test_what_a_coarse_table_cuts_off_is_given_back_exactly(fit: Fit) -> None:
    # At 7 bits a fifth of the draws take the rare way, and some magnitudes can be reached by no other.
    weights = [1000, 331, 77, 501, 13, 7, 3, 900, 41, 5]
    table = signed_table(lambda: weights, precision=7)
    assert cells(table, 7)[len(weights)] > 3
    drawn = table.draw(40_000, SimulatedRandomness(3))
    integers, probabilities = table.pmf()
    assert fit(drawn, integers, probabilities) > 1e-3
    assert set(np.abs(drawn).tolist()) == set(range(10))


def test_a_coarse_table_without_the_rare_entry_would_be_found_wrong(fit: Fit) -> None:
    weights = [1000, 331, 77, 501, 13, 7, 3, 900, 41, 5]
    floors = [(w << 7) // sum(weights) for w in weights]
    drawn = signed_table(lambda: floors).draw(40_000, SimulatedRandomness(3))
    assert fit(drawn, *signed_table(lambda: weights).pmf()) < 1e-6


def test_signs_are_even_and_independent_of_the_magnitude() -> None:
    drawn = signed_table(lambda: [0, 1, 1]).draw(100_000, SimulatedRandomness(4))
    for magnitude in (1, 2):
        half = int((drawn == magnitude).sum()), int((drawn == -magnitude).sum())
        assert abs(half[0] - half[1]) < 5 * sum(half) ** 0.5


def test_the_same_seed_draws_the_same_integers_and_more_draws_go_on() -> None:
    table = signed_table(lambda: [3, 2, 1])
    first = table.draw(20_000, SimulatedRandomness(9))
    source = SimulatedRandomness(9)
    # A block is a block of words: two calls read on where the first stopped.
    assert (np.concatenate([table.draw(1 << 14, source), table.draw(20_000 - (1 << 14), source)]) == first).all()


@pytest.mark.parametrize("limit", [1, 2, 3, 2**64, 2**64 + 1, 10**40])
def test_uniform_integers_stay_below_their_limit_and_fill_it(limit: int) -> None:
    source = SimulatedRandomness(5)
    drawn = [uniform_below(limit, source) for _ in range(400)]
    assert all(0 <= number < limit for number in drawn)
    quarters = Counter(4 * number // limit for number in drawn)
    if limit >= 4:
        assert min(quarters.values()) > 60 and len(quarters) == 4
    else:
        assert set(drawn) == set(range(limit))
