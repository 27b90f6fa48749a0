import numpy as np
import pytest

from hedgerow.aggregation.order_statistics import middle_ranks


@pytest.mark.parametrize("n", [*range(1, 21), 31, 32, 33, 63, 64, 65, 90])
def test_every_pair_of_ranks_is_that_of_a_full_sort(n: int) -> None:
    rows = np.random.default_rng(n).integers(0, max(n // 2, 2), (n, 40)).astype(np.float64)
    before, ordered = rows.copy(), np.sort(rows, axis=0)
    for low, high in {(0, n), ((n - 1) // 2, n // 2 + 1), (n // 5, n - n // 5), (0, 1), (n - 1, n)}:
        assert np.array_equal(np.array(middle_ranks(rows, low, high)), ordered[low:high])
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("n", range(1, 11))
def test_the_network_sorts_all_zeros_and_ones_so_it_sorts_everything(n: int) -> None:
    rows = np.array([[(word >> bit) & 1 for word in range(2**n)] for bit in range(n)], dtype=np.float64)
    assert np.array_equal(np.array(middle_ranks(rows, 0, n)), np.sort(rows, axis=0))
