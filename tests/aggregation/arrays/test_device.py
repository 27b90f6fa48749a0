from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hedgerow.aggregation import (
    NNM,
    Bulyan,
    ClipNorms,
    GeometricMedian,
    Krum,
    MeaMed,
    Mean,
    Median,
    MultiKrum,
    Rule,
    TrimmedMean,
    aggregate,
)
from hedgerow.aggregation.arrays import device, rows
from hedgerow.aggregation.arrays.device import OnDevice
from hedgerow.aggregation.given import Given
from hedgerow.errors import Misconfigured

RULES: list[Rule] = [
    Mean(f=2),
    Median(),
    TrimmedMean(f=2),
    MeaMed(f=2),
    Krum(f=2),
    MultiKrum(f=2),
    Bulyan(f=2),
    GeometricMedian(),
    ClipNorms() | Krum(f=2),
    ClipNorms() | TrimmedMean(f=2),
    ClipNorms() | NNM(f=2) | TrimmedMean(f=2),
]


@pytest.fixture
def worked_on_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the processor's memory take the way of those on a device, in many spans."""
    monkeypatch.setattr(rows, "_ELSEWHERE", ("cpu",))
    monkeypatch.setattr(device, "_SPAN_NUMBERS", 13 * 1000)


def some_rows(dtype: str) -> npt.NDArray[np.floating]:
    X = np.random.default_rng(0).standard_normal((13, 5003)).astype(dtype)
    X[5, 2] = np.inf
    X[2] *= 30
    return X


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_tensor_worked_on_where_it_is_gives_what_its_array_gives(
    rule: Rule, dtype: str, worked_on_where_it_is: None
) -> None:
    X = some_rows(dtype)
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    here, there = aggregate(X, rule), aggregate(tensor, rule)
    assert isinstance(rows.as_table(tensor), OnDevice)
    assert there.vector.dtype == tensor.dtype and not there.vector.requires_grad
    close = {"float32": 1e-6, "float64": 1e-10}[dtype]
    np.testing.assert_allclose(there.vector.numpy(), here.vector, rtol=0, atol=close)
    assert there.verdict.excluded == here.verdict.excluded and there.verdict.excluded[5] == "not finite"
    np.testing.assert_allclose(there.verdict.norms, here.verdict.norms, rtol=1e-6)
    for name in ("weights", "scores"):
        a, b = getattr(here.verdict, name), getattr(there.verdict, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)
    assert np.array_equal(tensor.detach().numpy(), X)


def test_medians_and_chosen_rows_are_the_same_bits(worked_on_where_it_is: None) -> None:
    X = some_rows("float32")
    for rule in (Median(), Krum(f=2)):
        assert np.array_equal(aggregate(torch.from_numpy(X), rule).vector.numpy(), aggregate(X, rule).vector)


def test_other_dtypes_are_refused_on_a_device_too(worked_on_where_it_is: None) -> None:
    for dtype in (torch.int64, torch.float16, torch.bool):
        with pytest.raises(Misconfigured, match="E102"):
            aggregate(torch.ones((3, 2), dtype=dtype), Median())
    with pytest.raises(Misconfigured, match="E126"):
        aggregate(torch.ones(3), Median())


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.Tensor]:
    """Rows on a device that is only imagined: operations on them check devices, and have no numbers."""
    monkeypatch.setattr(device, "_floats", lambda tensor: tensor)
    monkeypatch.setattr(device, "_array", lambda tensor: tensor)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.empty((7, 30), device="meta")


def test_no_step_mixes_devices_or_leaves_its_own(imagined: torch.Tensor) -> None:
    weights = np.full(7, 1 / 7)
    table = OnDevice(imagined)
    chosen = table.take(np.array([4, 2]))
    blocks = [block for _, block in (*table.spans(), *chosen.spans())]
    found = [
        device.products(imagined, 3),
        device.combined(weights, np.arange(7), imagined),
        device.combined(weights, np.array([1, 2]), imagined),
        device.stepped(imagined, np.ones((5, 7))),
        device.stepped(imagined, np.ones(7)),
        chosen.row(1),
        *blocks,
    ]
    for rule in (Median(), TrimmedMean(f=2)):
        judged = device.judged(rule, imagined, Given(f=2), judge=False)
        assert judged is not None
        found.append(judged.vector)
    for tensor in found:
        assert isinstance(tensor, torch.Tensor) and tensor.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_on_a_gpu_rules_give_what_they_give_here(rule: Rule) -> None:
    X = some_rows("float32")
    there = aggregate(torch.from_numpy(X).cuda(), rule)
    here = aggregate(X, rule)
    assert there.vector.is_cuda and there.verdict.excluded == here.verdict.excluded
    np.testing.assert_allclose(there.vector.cpu().numpy(), here.vector, rtol=1e-5, atol=1e-6)
