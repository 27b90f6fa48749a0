"""Sites trained at once get the updates that each would get alone, by layers and by torch.func."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from hedgerow.privacy.randomness import SimulatedNoise
from hedgerow.splitmix import stream_start

Make = Callable[..., Any]

SIZES = (13, 7, 5, 1, 11)
MODELS = ("linear", "relu", "no-bias", "convolution", "residual", "words", "frozen")
OPTIMIZERS: dict[str, dict[str, object]] = {
    "sgd": {},
    "momentum": {"local__momentum": 0.9, "local__epochs": 2},
    "decay": {"local__weight_decay": 0.1},
    "fedprox": {"local__proximal": 0.5, "local__momentum": 0.3, "local__weight_decay": 0.1, "local__epochs": 3},
    "clip": {"local__clip": 0.5, "local__momentum": 0.9, "local__proximal": 0.3, "local__weight_decay": 0.1},
    "adam": {"local__optimizer": "adam", "local__lr": 0.01, "local__epochs": 2},
    "adam-all": {
        "local__optimizer": "adam",
        "local__lr": 0.01,
        "local__clip": 0.5,
        "local__weight_decay": 0.1,
        "local__proximal": 0.3,
    },
}


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", ["relu", "residual"])
def test_every_optimiser_gives_what_one_by_one_gives(cohort: Make, path: str, optimizer: str, model: str) -> None:
    sites = cohort(model, SIZES, **OPTIMIZERS[optimizer])
    assert sites.far(sites.train(path)[0], sites.train("one-by-one")[0]) < 1e-5


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("model", MODELS)
def test_every_family_of_models_gives_what_one_by_one_gives(cohort: Make, path: str, model: str) -> None:
    sites = cohort(model, SIZES, local__momentum=0.5)
    if path == "vmap" and model == "words":
        pytest.skip("token numbers are stored as floats, and the path is tried with layers")
    assert sites.far(sites.train(path)[0], sites.train("one-by-one")[0]) < 1e-5


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "fedprox", "adam-all"])
@pytest.mark.parametrize("model", ["relu", "convolution"])
def test_private_training_is_that_of_opacus_on_the_same_masks_and_noise(
    cohort: Make, path: str, optimizer: str, model: str
) -> None:
    sites = cohort(model, SIZES, **OPTIMIZERS[optimizer])
    chunk = sites.chunk(clip=0.3)
    expected = sites.updates(sites.choice("one-by-one").path, chunk)
    assert sites.far(sites.updates(sites.choice(path).path, chunk), expected) < 1e-5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("clip", [1e-3, 1.0, 1e4], ids=["all-clipped", "some-clipped", "none-clipped"])
def test_records_are_clipped_as_opacus_clips_them(cohort: Make, model: str, clip: float) -> None:
    """Without noise, so that the clipped sums themselves are compared."""
    sites = cohort(model, SIZES, local__lr=max(0.1, 0.1 / clip))
    chunk = sites.chunk(clip=clip, noise=0.0)
    expected = sites.updates(sites.choice("one-by-one").path, chunk)
    for path in ("layers", "vmap"):
        if (path, model) != ("vmap", "words"):
            choice = cohort(model, SIZES).choice(path)
            assert choice.path.name == path
            assert sites.far(sites.updates(choice.path, chunk), expected) < 1e-5


@pytest.mark.parametrize("path", ["layers", "vmap"])
def test_one_step_s_update_is_at_most_lr_times_clip_a_record(cohort: Make, path: str) -> None:
    sites = cohort("relu", (1, 1, 1), local__lr=1.0)
    updates = sites.updates(sites.choice(path).path, sites.chunk(clip=0.01, noise=0.0))
    assert (np.linalg.norm(updates, axis=1) <= 0.01 * (1 + 1e-5)).all()


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_record_without_a_finite_gradient_adds_exactly_nothing_under_privacy(
    cohort: Make, path: str, bad: float
) -> None:
    sites = cohort("convolution", SIZES)
    chosen, alone = sites.choice(path).path, sites.choice("one-by-one").path
    chunk = sites.chunk(clip=0.5, noise=0.0)
    clean = sites.updates(chosen, chunk)
    sites.task.parts[1][0][3] = bad
    chunk = sites.chunk(clip=0.5, noise=0.0)
    hurt = sites.updates(chosen, chunk)
    assert np.isfinite(hurt).all()
    assert sites.far(hurt, sites.updates(alone, chunk)) < 1e-5
    others = [0, 2, 3, 4]
    assert (hurt[others] == clean[others]).all() and (hurt[1] != clean[1]).any()


@pytest.mark.parametrize("path", ["layers", "vmap"])
def test_a_record_that_is_not_finite_spoils_its_own_site_only(cohort: Make, path: str) -> None:
    """Row 0 of all records is what a padded place would read first."""
    sites = cohort("relu", (22, 20, 23, 41))
    clean, _ = sites.train("one-by-one")
    sites.task.parts[0][0][0] = np.nan
    rows, failed = sites.train(path)
    assert not failed and np.isnan(rows[0]).any()
    np.testing.assert_allclose(rows[1:], clean[1:], rtol=1e-4, atol=1e-6)


def test_an_empty_poisson_batch_is_noise_alone(cohort: Make) -> None:
    """Of 50 steps with one expected record some are empty; a site's update is then what its noise says."""
    sites = cohort("linear", (40, 40), local__batch=1, local__lr=1.0)
    chunk = sites.chunk(clip=1e-6)
    lengths = np.diff(chunk.schedule().steps)
    assert (lengths == 0).any()
    (updates, _) = sites.updates(sites.choice("layers").path, chunk)
    plan, noise = chunk.plans[0], SimulatedNoise(stream_start(5, 4, 0, 1))
    total = np.zeros(len(sites.model))
    for _ in range(plan.steps_per_round):
        drawn = torch.empty(len(sites.model))
        noise.fill(drawn)
        total += drawn.numpy()
    expected = -total * plan.noise_multiplier * plan.clip / plan.expected_batch
    assert np.linalg.norm(updates - expected) < plan.clip * plan.steps_per_round


def test_a_client_s_stream_is_found_once_for_its_batches_and_its_noise(
    cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def spy(*path: int) -> int:
        found.append(path)
        return stream_start(*path)

    monkeypatch.setattr("hedgerow.simulations.cohort.paths.stream_start", spy)
    sites = cohort("relu", SIZES)
    chosen = sites.choice("layers").path
    found.clear()
    sites.updates(chosen, sites.chunk(clip=0.3))
    assert len(found) == len(set(found)) == len(SIZES)


def test_the_noise_is_gaussian_of_the_planned_deviation_and_differs_by_site_and_round(cohort: Make) -> None:
    from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

    sites = cohort("relu", (4, 4, 4, 4), local__lr=1.0)
    path = sites.choice("layers").path
    first = sites.chunk(clip=1e-4)
    plan = first.plans[0]
    assert plan.steps_per_round == 1
    one = sites.updates(path, first).astype(np.float64)
    two = sites.updates(path, sites.chunk(clip=1e-4, round=2)).astype(np.float64)
    scale = plan.noise_multiplier * plan.clip / plan.expected_batch
    difference = ((one - two) / (scale * np.sqrt(2))).ravel()  # all four records take part in both
    assert stats.kstest(difference, "norm").pvalue > 1e-4
    low, high = stats.chi2.ppf([1e-5, 1 - 1e-5], len(difference))
    assert low < (difference**2).sum() < high
    centred = (one - two) / scale
    correlations = np.corrcoef(centred)[np.triu_indices(4, 1)]
    assert (np.abs(correlations) < 5 / np.sqrt(one.shape[1])).all()


def test_the_masks_are_binomial_at_exactly_the_planned_rate(cohort: Make) -> None:
    from scipy import stats

    sites = cohort("linear", (50,) * 40, local__epochs=4, local__batch=7)
    chunk = sites.chunk(clip=1.0)
    counts = np.diff(chunk.schedule().steps)
    steps = sum(plan.steps_per_round for plan in chunk.plans)
    assert len(counts) == steps
    assert stats.binomtest(int(counts.sum()), 50 * steps, 7 / 50).pvalue > 1e-4
    spread = counts.var() / (50 * (7 / 50) * (1 - 7 / 50))
    assert abs(spread - 1) < 5 * np.sqrt(2 / steps)


@pytest.mark.parametrize("path", ["layers", "vmap"])
def test_a_site_that_ran_out_of_data_keeps_its_parameters(cohort: Make, path: str) -> None:
    """Momentum would carry it on otherwise."""
    sites = cohort("relu", (3, 40), local__momentum=0.9)
    rows, _ = sites.train(path)
    alone, _ = sites.train("one-by-one")
    np.testing.assert_allclose(rows, alone, rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 4, 7, 13]), min_size=2, max_size=6),
    batch=st.sampled_from([1, 3, 4, 50]),
    epochs=st.integers(1, 2),
    path=st.sampled_from(["layers", "vmap"]),
)
def test_ragged_sites_with_any_batch_give_what_one_by_one_gives(
    cohort: Make, sizes: list[int], batch: int, epochs: int, path: str
) -> None:
    sites = cohort("relu", sizes, local__batch=batch, local__epochs=epochs, local__momentum=0.5)
    trainer = sites.trainer(path)
    assert trainer.chosen.path == path or not any(sizes)
    rows, failed = trainer.train(sites.model, range(len(sizes)), round=1)
    expected, codes = sites.train("one-by-one")
    assert failed == codes == {place: "E125" for place, size in enumerate(sizes) if not size}
    assert not rows[list(failed)].any()
    assert sites.far(rows, expected) < 1e-5


def test_frozen_parameters_do_not_move_also_under_privacy(cohort: Make) -> None:
    sites = cohort("frozen", SIZES)
    size = 36 * 9 + 9
    for path in ("layers", "vmap"):
        assert not sites.train(path)[0][:, :size].any()
        private = sites.updates(sites.choice(path).path, sites.chunk(clip=1.0))
        assert not private[:, :size].any() and private[:, size:].all(axis=0).any()


class Scaled(nn.Module):
    """A constant buffer, which is part of the model that the server sends."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((36,), 0.5))
        self.leave = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.leave(x.flatten(1) * self.scale)
        return out


@pytest.mark.parametrize("path", ["layers", "vmap"])
@pytest.mark.parametrize("model", ["frozen", Scaled])
def test_what_does_not_train_is_that_of_the_round_s_model(cohort: Make, path: str, model: Any) -> None:
    """An attack on a mean moves also what no honest site moves."""
    if (path, model) == ("layers", Scaled):
        pytest.skip("layers do not take buffers")
    sites = cohort(model, SIZES)
    fast, slow = sites.trainer(path), sites.trainer("one-by-one")
    assert fast.chosen.path == path
    moved = sites.model + np.float32(0.3)
    rows, expected = (trainer.train(moved, range(5), round=1)[0] for trainer in (fast, slow))
    assert sites.far(rows, expected) < 1e-5


class Unread(nn.Module):
    """Has a layer whose output nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.unread, self.leave = nn.Linear(36, 3), nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unread(x.flatten(1))
        out: torch.Tensor = self.leave(torch.tanh(x.flatten(1)))
        return out


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "decay", "clip", "adam", "adam-all"])
def test_a_layer_that_nobody_reads_gets_no_gradient(cohort: Make, optimizer: str) -> None:
    sites = cohort(Unread, SIZES, **OPTIMIZERS[optimizer])
    trainer, alone = sites.trainer(), sites.trainer("one-by-one")
    for round in (1, 2, 3):  # tables that are used again hold an earlier round's numbers
        rows, expected = (one.train(sites.model, range(5), round=round)[0] for one in (trainer, alone))
        assert sites.far(rows, expected) < 1e-5
