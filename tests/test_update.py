"""Tests of hedgerow.update: a model as one vector, and back."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hedgerow.errors import Rejected
from hedgerow.update import Layout, Vector, vector_sha256

QUICK = settings(deadline=None, max_examples=50)
LAYOUT = Layout(names=("w", "b", "s"), shapes=((2, 3), (2,), ()))


class Odd(nn.Module):
    """A scalar parameter, a non-contiguous one, an empty one, and buffers of both kinds."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=dtype))
        self.turned = nn.Parameter(torch.arange(6, dtype=dtype).reshape(2, 3).T)
        self.empty = nn.Parameter(torch.empty(0, 4, dtype=dtype))
        self.norm = nn.BatchNorm1d(3, dtype=dtype)
        self.register_buffer("table", torch.arange(4))
        self.register_buffer("mask", torch.tensor([True, False]))


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

shapes = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=5)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    found = draw(shapes)
    return Layout(names=tuple(f"p{index}" for index in range(len(found))), shapes=tuple(found))


def numbers(size: int) -> Vector:
    return np.random.default_rng(size).normal(size=size).astype(np.float32)


@settings(deadline=None)
@given(layouts())
def test_join_undoes_split(layout: Layout) -> None:
    vector = numbers(layout.size)
    assert layout.size == sum(math.prod(shape) for shape in layout.shapes)
    parts = layout.split(vector)
    assert tuple(part.shape for part in parts.values()) == layout.shapes
    assert layout.join(parts).tobytes() == vector.tobytes()


@QUICK
@given(st.sampled_from(DTYPES), st.integers(0, 2**16))
def test_flatten_undoes_load_and_load_undoes_flatten(dtype: torch.dtype, seed: int) -> None:
    """Exactly, for numbers that the model's own dtype has."""
    one, other = Odd(dtype), Odd(dtype)
    layout = Layout.of(one)
    numbers = torch.randn(layout.size, generator=torch.Generator().manual_seed(seed))
    vector = numbers.to(dtype).float().numpy()
    layout.load(vector, one)
    assert layout.flatten(one).tobytes() == vector.tobytes()
    layout.load(layout.flatten(one), other)
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(left, right), name
        assert left.dtype == (dtype if left.is_floating_point() else left.dtype)


def test_integer_buffers_stay_out_and_are_left_alone() -> None:
    model = Odd(torch.float32)
    model.norm(torch.randn(4, 3))
    layout = Layout.of(model)
    assert not {"table", "mask", "norm.num_batches_tracked"} & set(layout.names)
    assert {"scale", "turned", "empty", "norm.running_mean", "norm.running_var"} < set(layout.names)
    layout.load(np.zeros(layout.size, np.float32), model)
    state = model.state_dict()
    assert int(state["norm.num_batches_tracked"]) == 1
    assert state["table"].tolist() == [0, 1, 2, 3]
    assert state["norm.running_mean"].tolist() == [0, 0, 0]


def test_the_order_is_the_state_dicts_and_rows_are_read_as_they_look() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        model.bias.copy_(torch.tensor([5.0, 6.0]))
    assert Layout.of(model) == Layout(names=("weight", "bias"), shapes=((2, 2), (2,)))
    assert Layout.of(model).flatten(model).tolist() == [1, 2, 3, 4, 5, 6]
    turned = Odd(torch.float32)
    part = Layout.of(turned).split(Layout.of(turned).flatten(turned))["turned"]
    assert np.array_equal(part, [[0, 3], [1, 4], [2, 5]])


def test_flatten_is_a_copy_and_load_keeps_none() -> None:
    model = nn.Linear(2, 1, bias=False)
    layout = Layout.of(model)
    vector = layout.flatten(model)
    before = vector.copy()
    layout.load(np.array([7, 8], np.float32), model)
    assert vector.tolist() == before.tolist()
    given = np.array([1, 2], np.float32)
    layout.load(given, model)
    given[:] = 9
    assert layout.flatten(model).tolist() == [1, 2]


def test_tied_weights_are_written_to_both_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    layout = Layout.of(model)
    vector = np.tile(np.arange(4, dtype=np.float32), 2)
    layout.load(vector, model)
    assert layout.flatten(model).tolist() == vector.tolist()


def test_a_model_without_parameters_is_an_empty_vector() -> None:
    layout = Layout.of(nn.ReLU())
    assert layout.flatten(nn.ReLU()).shape == (0,)
    assert layout.join({}).dtype == np.float32


def arrays() -> dict[str, np.ndarray]:
    return dict(LAYOUT.split(numbers(LAYOUT.size)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda a: {name: a[name] for name in ("b", "w", "s")}, "E301"),
        (lambda a: {name: a[name] for name in ("w", "b")}, "E301"),
        (lambda a: a | {"extra": a["b"]}, "E301"),
        (lambda a: {"W": a["w"], "b": a["b"], "s": a["s"]}, "E301"),
        (lambda a: {}, "E301"),
        (lambda a: a | {"w": a["w"].T}, "E301"),
        (lambda a: a | {"w": a["w"].reshape(-1)}, "E301"),
        (lambda a: a | {"s": a["s"].reshape(1)}, "E301"),
        (lambda a: a | {"b": a["b"][:1]}, "E301"),
        (lambda a: a | {"w": a["w"].astype(np.float64)}, "E302"),
        (lambda a: a | {"w": a["w"].astype(np.float16)}, "E302"),
        (lambda a: a | {"w": a["w"].astype(">f4")}, "E302"),
        (lambda a: a | {"b": np.array([1, 2])}, "E302"),
        (lambda a: a | {"b": np.array(["a", "b"], object)}, "E302"),
    ],
)
def test_arrays_that_are_not_the_models_are_rejected_by_code(change: object, code: str) -> None:
    assert callable(change)
    with pytest.raises(Rejected) as caught:
        LAYOUT.join(change(arrays()))
    assert caught.value.code == code


def test_arrays_in_any_memory_order_join_as_they_read() -> None:
    given = arrays()
    turned = given | {"w": np.asfortranarray(given["w"])}
    assert LAYOUT.join(turned).tolist() == LAYOUT.join(given).tolist()


@pytest.mark.parametrize("vector", [numbers(8), numbers(10), numbers(0), numbers(9).reshape(3, 3)])
def test_a_vector_of_another_size_is_rejected_and_writes_nothing(vector: Vector) -> None:
    model = nn.ParameterDict({"w": torch.ones(2, 3), "b": torch.ones(2), "s": torch.tensor(1.0)})
    with pytest.raises(Rejected) as caught:
        Layout.of(model).load(vector, model)
    assert caught.value.code == "E301"
    assert Layout.of(model).flatten(model).tolist() == [1.0] * 9


def test_a_models_name_is_the_hash_of_its_little_endian_bytes() -> None:
    vector = np.array([1.0, -0.0, 2.5], np.float32)
    expected = hashlib.sha256(bytes.fromhex("0000803f0000008000002040")).hexdigest()
    assert vector_sha256(vector) == expected
    assert vector_sha256(np.stack([vector, vector], axis=1)[:, 0]) == expected
    assert vector_sha256(np.array([1.0, 0.0, 2.5], np.float32)) != expected
