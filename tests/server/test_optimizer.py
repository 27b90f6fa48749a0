"""The server optimisers against Algorithm 2 of Reddi et al. (ICLR 2021), written down in a few lines each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgerow.job import Server
from hedgerow.server.optimizer import first_state, server_step
from hedgerow.update import Vector

OPTIMIZERS = ("avg", "avgm", "adagrad", "adam", "yogi")
updates = st.lists(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3), min_size=1, max_size=6)


def reference(settings: Server, model: np.ndarray, steps: list[np.ndarray]) -> np.ndarray:
    """The same in float64, from the paper."""
    m, v = np.zeros_like(model), np.full_like(model, settings.tau**2)
    b1, b2, rate = settings.momentum, settings.beta2, settings.learning_rate
    for delta in steps:
        if settings.optimizer in ("avg", "avgm"):
            m = delta + (b1 * m if settings.optimizer == "avgm" else 0)
            model = model + rate * m
            continue
        m = b1 * m + (1 - b1) * delta
        v = {
            "adagrad": v + delta**2,
            "adam": b2 * v + (1 - b2) * delta**2,
            "yogi": v - (1 - b2) * delta**2 * np.sign(v - delta**2),
        }[settings.optimizer]
        model = model + rate * m / (np.sqrt(v) + settings.tau)
    return model


def run(settings: Server, model: Vector, steps: list[np.ndarray]) -> Vector:
    memory = first_state(settings, len(model))
    for delta in steps:
        model, memory = server_step(settings, model, delta.astype(np.float32), memory)
    return model


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(steps=updates, rate=st.sampled_from([None, 0.1, 0.7]), momentum=st.sampled_from([0.0, 0.5, 0.9]))
def test_every_optimiser_does_what_its_paper_says(
    optimizer: str, steps: list[list[float]], rate: float | None, momentum: float
) -> None:
    settings = Server(optimizer=optimizer, lr=rate, momentum=momentum, tau=0.01)
    rows = [np.array(step) for step in steps]
    model = np.array([0.5, -1, 2], np.float32)
    after = run(settings, model, rows)
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, reference(settings, model.astype(np.float64), rows), rtol=2e-3, atol=2e-4)


def test_averaging_with_rate_one_adds_the_update_exactly() -> None:
    model, update = np.array([1, 2], np.float32), np.array([0.25, -8], np.float32)
    after, memory = server_step(Server(), model, update, {})
    assert after.tobytes() == (model + update).tobytes() and memory == {}


def test_momentum_zero_is_averaging() -> None:
    rows = [np.array([1.0, 2.0]), np.array([-3.0, 0.5])]
    model = np.zeros(2, np.float32)
    assert np.array_equal(run(Server(optimizer="avgm", momentum=0.0), model, rows), run(Server(), model, rows))


def test_the_rate_scales_the_step_of_averaging() -> None:
    model = np.zeros(3, np.float32)
    step = [np.array([1.0, -2.0, 4.0])]
    assert np.array_equal(run(Server(lr=0.5), model, step), run(Server(), model, step) / 2)


def test_adaptive_steps_do_not_depend_on_the_scale_of_the_updates() -> None:
    for optimizer in ("adagrad", "adam"):
        settings = Server(optimizer=optimizer, tau=1e-8)
        small = run(settings, np.zeros(1, np.float32), [np.array([0.01])] * 3)
        large = run(settings, np.zeros(1, np.float32), [np.array([10.0])] * 3)
        np.testing.assert_allclose(small, large, rtol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nothing_is_changed_in_place(optimizer: str) -> None:
    settings = Server(optimizer=optimizer)
    model, update = np.ones(4, np.float32), np.full(4, 2, np.float32)
    memory = first_state(settings, 4)
    for array in (model, update, *memory.values()):
        array.flags.writeable = False
    after, new = server_step(settings, model, update, memory)
    assert not any(np.shares_memory(after, array) for array in (model, update))
    assert new.keys() == memory.keys()
    assert all(value.dtype == np.float32 and value.shape == (4,) for value in new.values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_update_of_nothing_leaves_a_resting_model_where_it_is(optimizer: str) -> None:
    model = np.array([1, -2], np.float32)
    assert np.array_equal(run(Server(optimizer=optimizer), model, [np.zeros(2)]), model)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_going_on_from_stored_memory_gives_the_same_bytes(optimizer: str) -> None:
    settings = Server(optimizer=optimizer)
    rng = np.random.default_rng(1)
    steps = [rng.standard_normal(5).astype(np.float32) for _ in range(4)]
    model, memory = np.zeros(5, np.float32), first_state(settings, 5)
    for step in steps:
        model, memory = server_step(settings, model, step, memory)
        memory = {name: np.frombuffer(value.tobytes(), np.float32) for name, value in memory.items()}
    assert model.tobytes() == run(settings, np.zeros(5, np.float32), steps).tobytes()
