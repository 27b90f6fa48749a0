import numpy as np
import pytest

from hedgerow.aggregation.arrays import order_statistics
from hedgerow.aggregation.arrays.order_statistics import middle_ranks, sum_of_ranks, threads_pay


@pytest.mark.parametrize("among_threads", [False, True])
@pytest.mark.parametrize("n", [*range(1, 21), 31, 32, 39, 40, 41, 63, 64, 65, 90])
def test_every_pair_of_ranks_is_that_of_a_full_sort(
    n: int, among_threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_statistics, "busy", lambda: among_threads)
    rows = np.random.default_rng(n).integers(0, max(n // 2, 2), (n, 40)).astype(np.float64)
    before, ordered = rows.copy(), np.sort(rows, axis=0)
    for low, high in {(0, n), ((n - 1) // 2, n // 2 + 1), (n // 5, n - n // 5), (0, 1), (n - 1, n)}:
        assert np.array_equal(np.array(middle_ranks(rows, low, high)), ordered[low:high])
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("n", range(1, 11))
def test_the_network_sorts_all_zeros_and_ones_so_it_sorts_everything(n: int) -> None:
    rows = np.array([[(word >> bit) & 1 for word in range(2**n)] for bit in range(n)], dtype=np.float64)
    assert np.array_equal(np.array(middle_ranks(rows, 0, n)), np.sort(rows, axis=0))


@pytest.mark.parametrize("columns", [1, 2, 63, 64, 65, 1310, 9000])
@pytest.mark.parametrize("n", [5, 20, 50, 200])
def test_ranks_are_summed_in_float64_from_the_smallest_however_they_were_found(
    n: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (np.random.default_rng(n).standard_normal((n, columns)) * 1e3).astype(np.float32)
    one_by_one = np.zeros(columns)
    for rank in np.sort(rows, axis=0)[1 : n - 1]:
        one_by_one += rank
    for among_threads in (False, True):
        monkeypatch.setattr(order_statistics, "busy", lambda among_threads=among_threads: among_threads)
        assert np.array_equal(sum_of_ranks(middle_ranks(rows, 1, n - 1)), one_by_one)


def test_one_thread_never_counts_as_several() -> None:
    assert not any(threads_pay(n, 1) for n in range(200))
    assert all(threads_pay(n, threads) <= threads_pay(n + 1, threads + 1) for n in range(200) for threads in range(64))
