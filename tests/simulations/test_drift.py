"""The window of a round moves through a site's records, by label, and misses none."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from hedgerow.simulations.drift import window


def windows(ordered: np.ndarray, share: float, rounds: int) -> list[np.ndarray]:
    return [window(ordered, share=share, round=number, rounds=rounds) for number in range(1, rounds + 1)]


ORDERS = st.integers(0, 60).flatmap(lambda n: st.permutations(range(n))).map(lambda order: np.array(order, np.int64))


@given(ordered=ORDERS, rounds=st.integers(1, 30), extra=st.floats(0, 1))
def test_every_record_is_trained_on_over_the_rounds(ordered: np.ndarray, rounds: int, extra: float) -> None:
    share = min(1.0, 1 / rounds + extra)
    seen = np.concatenate(windows(ordered, share, rounds))
    assert np.array_equal(np.unique(seen), np.sort(ordered))


@given(ordered=ORDERS, rounds=st.integers(1, 30), percent=st.integers(1, 100))
@example(ordered=np.arange(25), rounds=3, percent=28)
def test_each_round_has_as_many_records_each_once_and_ascending(ordered: np.ndarray, rounds: int, percent: int) -> None:
    size = -(-percent * len(ordered) // 100)  # rounded up
    for rows in windows(ordered, percent / 100, rounds):
        assert len(rows) == size and np.all(np.diff(rows) > 0) and np.all(np.isin(rows, ordered))


@given(ordered=ORDERS, rounds=st.integers(1, 9))
def test_a_window_of_everything_is_no_drift(ordered: np.ndarray, rounds: int) -> None:
    assert all(np.array_equal(rows, np.sort(ordered)) for rows in windows(ordered, 1.0, rounds))


def test_a_window_of_one_round_s_part_takes_the_records_in_turn() -> None:
    ordered = np.array([5, 1, 4, 0, 3, 2])
    assert [rows.tolist() for rows in windows(ordered, 1 / 3, 3)] == [[1, 5], [0, 4], [2, 3]]


def test_the_tiniest_share_is_one_record() -> None:
    assert [len(rows) for rows in windows(np.arange(5), 1e-12, 3)] == [1, 1, 1]
