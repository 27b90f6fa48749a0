"""Tests of hedgerow.task: what may stand in a split, and the defaults of a task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.task import Data, PooledTask, Site, Split

X = np.zeros((3, 2), np.float32)
Y = np.zeros(3, np.int64)


class Pool(PooledTask):
    def model(self) -> nn.Module:
        return nn.Linear(2, 2)

    def pool(self) -> Data:
        return Data(Split(X, Y), Split(X[:1], Y[:1]))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X[:2], Y),
        (X.astype(np.float64), Y),
        (X.astype(">f4"), Y),
        (X, Y.astype(np.int32)),
        (X, Y.astype(np.float32)),
        (X, Y.reshape(3, 1)),
        (X, np.int64(0)),
        (np.array(1.0, np.float32), Y),
        (X.tolist(), Y.tolist()),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)),
        (None, None),
    ],
)
def test_records_of_another_kind_are_refused_with_a_hint(x: object, y: object) -> None:
    with pytest.raises(Misconfigured) as caught:
        Split(x, y)  # type: ignore[arg-type]
    assert caught.value.code == "E126"
    assert caught.value.hint or "labels" in caught.value.message


@pytest.mark.parametrize("count", [0, 1, 3])
def test_records_of_any_number_and_shape_are_taken(count: int) -> None:
    for shape in ((), (2,), (1, 8, 8)):
        assert len(Split(np.zeros((count, *shape), np.float32), np.zeros(count, np.int64))) == count


def test_taken_rows_keep_their_labels() -> None:
    split = Split(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([7, 8, 9]))
    for rows in (np.array([2, 0]), np.array([True, False, True])[[2, 1, 0]]):
        taken = split.take(rows)
        assert len(taken) == 2
    assert split.take(np.array([2, 0])).x.tolist() == [[4, 5], [0, 1]]
    assert split.take(np.array([2, 0])).y.tolist() == [9, 7]
    assert len(split.take(np.arange(0))) == 0


def test_a_pool_keeps_its_test_records_at_the_server_and_says_how_to_split_the_rest() -> None:
    task = Pool()
    held_out = task.held_out()
    assert held_out is not None and len(held_out) == 1
    assert task.column is None and task.training_rows() is None
    with pytest.raises(Misconfigured) as caught:
        task.data(Site(name="a", index=0, count=1))
    assert (caught.value.code, "split" in caught.value.hint) == ("E111", True)


def test_the_default_loss_is_one_number_per_record_and_the_metric_is_accuracy() -> None:
    logits, y = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), torch.tensor([0, 1, 1])
    loss = Pool().loss(logits, y)
    assert loss.tolist() == pytest.approx([0.126928, 0.126928, 2.126928], abs=1e-6)
    assert Pool().metrics(logits, y) == {"accuracy": pytest.approx(2 / 3)}
    assert np.isnan(Pool().metrics(logits[:0], y[:0])["accuracy"])
