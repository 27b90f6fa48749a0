"""A cohort's batches are those that each client would draw alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.privacy import SimulatedRandomness, torch_seeded
from hedgerow.simulations.cohort.schedule import Schedule, padded, poisson_steps, shuffled_epochs
from hedgerow.splitmix import stream_start

SIZES = st.lists(st.integers(0, 13), min_size=1, max_size=5)


def shares_of(sizes: list[int]) -> list[np.ndarray]:
    rows = np.random.default_rng(0).permutation(sum(sizes))
    return [np.sort(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]


def starts_of(count: int) -> np.ndarray:
    return np.array([stream_start(3, 4, site, 2) for site in range(count)], np.uint64)


def batches(schedule: Schedule, client: int) -> list[list[int]]:
    steps = range(schedule.clients[client], schedule.clients[client + 1])
    return [schedule.rows[schedule.steps[t] : schedule.steps[t + 1]].tolist() for t in steps]


@given(sizes=SIZES, batch=st.integers(1, 5), epochs=st.integers(1, 3))
def test_shuffled_batches_are_those_of_the_client_alone(sizes: list[int], batch: int, epochs: int) -> None:
    shares = shares_of(sizes)
    schedule = shuffled_epochs(shares, starts=starts_of(len(sizes)), batch=batch, epochs=epochs)
    for client, share in enumerate(shares):
        alone = SimulatedRandomness(3, 4, client, 2)
        expected = []
        with torch_seeded(alone):
            for _ in range(epochs):
                order = share[alone.shuffled(len(share))]
                expected += [order[start : start + batch].tolist() for start in range(0, len(order), batch)]
        assert batches(schedule, client) == expected


@given(sizes=SIZES, rate=st.sampled_from([0.0, 0.3, 1.0]), data=st.data())
def test_poisson_batches_are_those_of_the_client_alone(sizes: list[int], rate: float, data: st.DataObject) -> None:
    shares = shares_of(sizes)
    steps = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(sizes), max_size=len(sizes))), np.int64)
    rates = np.full(len(sizes), rate)
    schedule = poisson_steps(shares, starts=starts_of(len(sizes)), rates=rates, steps=steps)
    for client, share in enumerate(shares):
        alone = SimulatedRandomness(3, 4, client, 2)
        with torch_seeded(alone):
            expected = [share[alone.poisson_mask(len(share), rate)].tolist() for _ in range(steps[client])]
        assert batches(schedule, client) == expected


def test_the_rectangles_hold_every_batch_and_nothing_else() -> None:
    sizes = [11, 7, 7, 2, 0]
    schedule = shuffled_epochs(shares_of(sizes), starts=starts_of(5), batch=3, epochs=2)
    boxes = padded(schedule)
    assert boxes.active == (4, 4, 3, 3, 3, 3, 1, 1)
    for client in range(5):
        mine = batches(schedule, client)
        for step in range(len(boxes.active)):
            taken = boxes.rows[step, client][boxes.taken[step, client]].tolist()
            assert taken == (mine[step] if step < len(mine) else [])
            assert boxes.counts[step, client] == len(taken) <= boxes.widths[step]


def test_rectangles_need_the_longest_client_first() -> None:
    schedule = shuffled_epochs(shares_of([2, 9]), starts=starts_of(2), batch=3, epochs=1)
    with pytest.raises(ValueError, match="longest first"):
        padded(schedule)


def test_a_client_that_never_trains_has_no_steps() -> None:
    schedule = poisson_steps(shares_of([4]), starts=starts_of(1), rates=np.ones(1), steps=np.zeros(1, np.int64))
    assert schedule.lengths.tolist() == [0] and padded(schedule).active == ()
