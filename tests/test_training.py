"""Local training against plain loops of torch."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from hedgerow.job import Local
from hedgerow.privacy import SimulatedRandomness
from hedgerow.training import local_epochs

X = torch.from_numpy(np.random.default_rng(0).standard_normal((21, 3)).astype(np.float32))
Y = (X.sum(1) > 0).long()


def loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, y, reduction="none")


def net() -> torch.nn.Module:
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))


def vector(model: torch.nn.Module) -> np.ndarray:
    return torch.cat([value.detach().reshape(-1) for value in model.parameters()]).numpy()


def batches(settings: Local, seed: int = 1) -> Iterator[torch.Tensor]:
    """The order that the seed gives; dropout's 63 bits are drawn first."""
    randomness = SimulatedRandomness(seed)
    randomness.poisson_mask(63, 0.5)
    for _ in range(settings.epochs):
        order = torch.from_numpy(randomness.shuffled(len(Y)))
        yield from torch.split(order, settings.batch)


def train(settings: Local, seed: int = 1, model: torch.nn.Module | None = None) -> np.ndarray:
    model = net() if model is None else model
    local_epochs(model, X, Y, settings=settings, loss=loss, randomness=SimulatedRandomness(seed))
    return vector(model)


@pytest.mark.parametrize(
    "settings",
    [
        Local(batch=8, epochs=3, lr=0.1),
        Local(batch=8, epochs=2, lr=0.1, momentum=0.9),
        Local(batch=8, epochs=2, lr=0.1, momentum=0.5, weight_decay=0.1),
        Local(batch=100, epochs=2, lr=0.01, optimizer="adam"),
        Local(batch=5, epochs=1, lr=0.01, optimizer="adam", weight_decay=0.5),
    ],
)
def test_training_is_torch_s_own_loop(settings: Local) -> None:
    model = net()
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay)
        if settings.optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), settings.lr, weight_decay=settings.weight_decay)
    )
    for rows in batches(settings):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(X[rows]), Y[rows]))
        optimizer.step()
    np.testing.assert_allclose(train(settings), vector(model), rtol=1e-6, atol=1e-7)


def test_fedprox_adds_half_mu_times_the_squared_distance_to_the_loss() -> None:
    settings = Local(batch=8, epochs=3, lr=0.1, proximal=0.7)
    model = net()
    anchors = [value.detach().clone() for value in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), settings.lr)
    for rows in batches(settings):
        optimizer.zero_grad()
        distance = torch.stack([((p - a) ** 2).sum() for p, a in zip(model.parameters(), anchors, strict=True)]).sum()
        torch.autograd.backward(cross_entropy(model(X[rows]), Y[rows]) + 0.35 * distance)
        optimizer.step()
    np.testing.assert_allclose(train(settings), vector(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_clip_is_torch_s_own_on_the_batch_s_gradient_with_the_pull_and_without_the_decay(optimizer: str) -> None:
    settings = Local(
        batch=8, epochs=3, lr=0.1, proximal=0.7, weight_decay=0.2, clip=0.05, optimizer=optimizer, momentum=0.5
    )
    model = net()
    anchors = [value.detach().clone() for value in model.parameters()]
    stepping: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), settings.lr, 0.5, weight_decay=0.2)
        if optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), settings.lr, weight_decay=0.2)
    )
    for rows in batches(settings):
        stepping.zero_grad()
        distance = torch.stack([((p - a) ** 2).sum() for p, a in zip(model.parameters(), anchors, strict=True)]).sum()
        torch.autograd.backward(cross_entropy(model(X[rows]), Y[rows]) + 0.35 * distance)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        stepping.step()
    np.testing.assert_allclose(train(settings), vector(model), rtol=1e-5, atol=1e-6)


@given(clip=st.floats(1e-4, 10), lr=st.sampled_from([0.01, 0.1, 1.0]))
def test_a_clipped_step_is_never_longer_than_lr_times_clip(clip: float, lr: float) -> None:
    moved = train(Local(batch=100, lr=lr, clip=clip)) - vector(net())
    assert np.linalg.norm(moved) <= lr * clip * (1 + 1e-4) + 1e-6


def test_a_clip_that_no_gradient_reaches_changes_no_byte() -> None:
    settings = Local(batch=8, epochs=2, lr=0.1, momentum=0.9)
    assert train(replace(settings, clip=1e6)).tobytes() == train(settings).tobytes()


def test_the_stronger_the_pull_the_closer_to_the_start() -> None:
    start = vector(net())
    distances = [
        np.linalg.norm(train(Local(batch=8, epochs=5, lr=0.1, proximal=mu)) - start) for mu in (0.0, 0.1, 1.0, 5.0)
    ]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.5 * distances[0]


def test_the_same_randomness_gives_the_same_bytes_and_another_gives_others() -> None:
    settings = Local(batch=4, epochs=2)
    assert train(settings).tobytes() == train(settings).tobytes() != train(settings, seed=2).tobytes()


def test_every_record_is_in_every_epoch_once_and_the_last_batch_is_shorter() -> None:
    seen: list[torch.Tensor] = []

    class Watch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            out: torch.Tensor = self.inner(x)
            return out

    train(Local(batch=8, epochs=2), model=Watch())
    assert [len(batch) for batch in seen] == [8, 8, 5] * 2
    for epoch in (seen[:3], seen[3:]):
        rows = torch.cat(epoch)
        assert torch.equal(rows[rows[:, 0].argsort()], X[X[:, 0].argsort()])


def test_dropout_draws_from_the_site_s_randomness_and_leaves_torch_s_generator_alone() -> None:
    def drop() -> torch.nn.Module:
        torch.manual_seed(4)
        return torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(3, 2))

    results = []
    for ambient in (1, 2):
        model = drop()
        torch.manual_seed(ambient)
        before = torch.get_rng_state()
        results.append(train(Local(batch=8), model=model).tobytes())
        assert torch.equal(torch.get_rng_state(), before)
    assert results[0] == results[1] != train(Local(batch=8), seed=2, model=drop()).tobytes()


def test_frozen_parameters_stay_and_the_mode_is_put_back_also_after_an_error() -> None:
    model = net()
    first = next(model.parameters())
    first.requires_grad_(False)
    before = first.clone()
    model.eval()
    train(Local(batch=8, proximal=1.0), model=model)
    assert torch.equal(first, before) and not model.training

    def broken(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        local_epochs(model, X, Y, settings=Local(), loss=broken, randomness=SimulatedRandomness(1))
    assert not model.training
