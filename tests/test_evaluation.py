"""Tests of hedgerow.evaluation: metrics without side effects, and Wilson's interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hedgerow.evaluation import BATCH, evaluate, evaluated
from hedgerow.task import Data, Site, Split, Task
from hedgerow.wilson import wilson


class Signs(Task):
    """Label 1 where the first feature is positive."""

    def model(self) -> nn.Module:
        return nn.Linear(2, 2)

    def data(self, site: Site) -> Data:
        raise AssertionError("evaluation asks for no site's data")


class Counting(Signs):
    def metrics(self, logits: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return {"accuracy": 93.0, "correct": np.float32(3)}  # type: ignore[dict-item]  # what a user may well return


def records(count: int) -> Split:
    x = np.random.default_rng(count).normal(size=(count, 2)).astype(np.float32)
    return Split(x, (x[:, 0] > 0).astype(np.int64))


@pytest.mark.parametrize(
    ("successes", "records", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(successes: int, records: int, low: float, high: float) -> None:
    """Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 1998, Table I, method 3."""
    assert wilson(successes / records, records) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0.01, 0.99))
def test_the_interval_holds_the_share_and_mirrors_it(records: int, share: float, confidence: float) -> None:
    low, high = wilson(share, records, confidence)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    mirrored = wilson(1 - share, records, confidence)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None)
@given(st.integers(1, 10**6), st.floats(0, 1))
def test_more_records_make_it_narrower(records: int, share: float) -> None:
    few, many = wilson(share, records), wilson(share, records * 4)
    assert many[1] - many[0] < few[1] - few[0]


@pytest.mark.parametrize("count", [1, 2, 100, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_batches_give_what_one_pass_gives(count: int) -> None:
    task, split = Signs(), records(count)
    model = task.model()
    event = evaluate(task, model, split, round=3)
    with torch.no_grad():
        logits = model(torch.from_numpy(split.x))
    y = torch.from_numpy(split.y)
    assert event.metrics["accuracy"] == pytest.approx(float((logits.argmax(1) == y).double().mean()))
    assert event.metrics["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, y)), abs=1e-6)
    assert (event.round, event.where, event.records) == (3, "server", count)
    assert next(iter(event.metrics)) == "accuracy"
    assert (event.low, event.high) == wilson(event.metrics["accuracy"], count)


def test_no_records_give_no_metrics() -> None:
    event = evaluate(Signs(), Signs().model(), records(0), round=0)
    assert (event.records, dict(event.metrics), event.low, event.high) == (0, {}, None, None)


def test_dropout_and_batchnorm_are_evaluated_and_left_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, two = (evaluate(Signs(), model, records(50), round=1) for _ in range(2))
    assert one == two
    assert [layer.training for layer in model] == [True, False, True, True]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    evaluate(Signs(), model, records(5), round=1)
    assert not any(layer.training for layer in model.modules())


def test_a_model_that_raises_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(3, 2))
    with pytest.raises(RuntimeError):
        evaluate(Signs(), model, records(4), round=1)
    assert all(layer.training for layer in model.modules())


def test_a_models_gradients_and_torchs_generator_are_left_alone() -> None:
    model = nn.Linear(2, 2)
    state = torch.random.get_rng_state()
    evaluate(Signs(), model, records(4), round=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_records_in_any_memory_order_and_read_only_are_taken() -> None:
    split = records(9)
    turned = Split(np.asfortranarray(split.x), split.y[::-1][::-1])
    turned.x.setflags(write=False)
    model = Signs().model()
    assert evaluate(Signs(), model, turned, round=1) == evaluate(Signs(), model, split, round=1)


def test_a_percentage_called_accuracy_gets_no_interval_and_breaks_nothing() -> None:
    event = evaluate(Counting(), Signs().model(), records(9), round=1)
    assert event.metrics["accuracy"] == 93.0
    assert (event.low, event.high) == (None, None)
    assert all(type(value) is float for value in event.metrics.values())


@pytest.mark.parametrize(
    ("metrics", "records"),
    [({"accuracy": math.nan}, 5), ({"accuracy": math.inf}, 5), ({"auc": 0.5}, 5), ({}, 5), ({"accuracy": 0.5}, 0)],
)
def test_what_is_no_share_of_records_gets_no_interval(metrics: dict[str, float], records: int) -> None:
    event = evaluated(round=1, where="sites", records=records, metrics=metrics)
    assert (event.low, event.high) == (None, None)
