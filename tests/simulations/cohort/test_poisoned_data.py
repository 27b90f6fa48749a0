"""Hostile sites' records in the cohort: beside the true ones, in the rounds in which they act, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hedgerow.scenario import Scenario
from hedgerow.simulations import split
from hedgerow.simulations.cohort.data import CohortData, Poison
from hedgerow.simulations.cohort.stacked import Records
from hedgerow.simulations.sites import prepare
from hedgerow.task import Data, PooledTask, Split

N = 60


class Pool(PooledTask):
    name = "pool"
    labels = ("a", "b")

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(3, 2)

    def pool(self) -> Data:
        x = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
        y = np.arange(N) % 2
        return Data(Split(x, y), Split(x[:0], y[:0]))


def worse(records: Split) -> Split:
    return Split(-records.x, 1 - records.y)


LIES = Poison(records=lambda records: Split(records.x, 1 - records.y), acts=lambda round: True, labels_alone=True)
RESTS = Poison(records=worse, acts=lambda round: round % 2 == 0)


def data_of(poisons: dict[int, Poison], **scenario: object) -> CohortData:
    settings = Scenario(**{"sites": 4, "split": "iid", **scenario})  # type: ignore[arg-type]
    task, _, sites = prepare(split(Pool(), settings), settings)
    return CohortData.of(task, sites, rounds=6, poisons=poisons)


def seen(data: CohortData, place: int, round: int) -> tuple[np.ndarray, np.ndarray]:
    _, _, sites = prepare(Pool(), Scenario(sites=4, split="iid"))
    rows = torch.from_numpy(data.rows(sites[place], place, round))
    return data.x[rows].numpy(), data.y[rows].numpy()


def test_labels_alone_are_written_over_and_no_record_is_copied() -> None:
    honest, hostile = data_of({}), data_of({1: LIES})
    assert len(hostile.x) == len(hostile.y) == N and not hostile.copies
    for place in range(4):
        expected = seen(honest, place, 1)[1]
        np.testing.assert_array_equal(seen(hostile, place, 1)[1], 1 - expected if place == 1 else expected)


def test_poison_that_rests_is_there_in_its_rounds_and_the_true_records_in_the_others() -> None:
    honest, hostile = data_of({}), data_of({1: RESTS, 3: RESTS})
    for place in range(4):
        x, y = seen(honest, place, 1)
        for round in (1, 2, 3, 4):
            bad = place in (1, 3) and round % 2 == 0
            np.testing.assert_array_equal(seen(hostile, place, round)[0], -x if bad else x)
            np.testing.assert_array_equal(seen(hostile, place, round)[1], 1 - y if bad else y)


def test_a_window_of_drifting_data_is_the_same_window_of_the_poisoned_ones() -> None:
    honest, hostile = (data_of(poisons, drift="labels:0.4") for poisons in ({}, {2: RESTS}))
    windows = set()
    for round in (2, 4, 6):
        x, y = seen(honest, 2, round)
        assert len(y) < N // 4
        np.testing.assert_array_equal(seen(hostile, 2, round)[0], -x)
        np.testing.assert_array_equal(seen(hostile, 2, round)[1], 1 - y)
        windows.add(x.tobytes())
    assert len(windows) > 1


def test_poison_that_adapts_is_made_anew_everywhere_it_is_held_from_the_true_records() -> None:
    honest, hostile = data_of({}), data_of({1: replace(RESTS, adapts=True)})
    copy = Records(x=hostile.x.clone(), y=hostile.y.clone())
    hostile.elsewhere.append(copy)
    x, y = seen(honest, 1, 2)
    np.testing.assert_array_equal(seen(hostile, 1, 2)[0], x)  # until it is made
    for factor in (2, 3):
        hostile.poison_again(1, lambda records: Split(records.x * np.float32(factor), 1 - records.y))
        np.testing.assert_array_equal(seen(hostile, 1, 2)[0], factor * x)
        np.testing.assert_array_equal(seen(hostile, 1, 2)[1], 1 - y)
        np.testing.assert_array_equal(seen(hostile, 1, 1)[0], x)
        assert torch.equal(copy.x, hostile.x) and torch.equal(copy.y, hostile.y)
    np.testing.assert_array_equal(seen(hostile, 0, 2)[0], seen(honest, 0, 2)[0])
