"""Whatever a user brings ends on a way that gives what one by one gives, and the reason is told."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hedgerow.errors import Misconfigured
from hedgerow.simulations.cohort import layers
from hedgerow.simulations.cohort.network import Network
from hedgerow.simulations.cohort.reading import read_network

Make = Callable[..., Any]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

EQUAL, LARGE, SMALL = (20, 20, 20, 20), (20, 23, 26, 41), (5, 7, 3, 9)
FEDERATIONS = [EQUAL, LARGE, SMALL]
NAMES = ["equal", "large", "small"]


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


class Centred(nn.Module):
    """Its forward function mixes a batch's records."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        out: torch.Tensor = self.leave(flat - flat.mean(0))
        return out


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(36, 3), nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        out: torch.Tensor = self.one(flat) if flat.sum() > 0 else self.two(flat)
        return out


class Averaging(nn.Module):
    """A float buffer that follows the data, and so belongs to the update."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(36))
        self.leave = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        self.seen = 0.9 * self.seen + 0.1 * flat.mean(0).detach()
        out: torch.Tensor = self.leave(flat - self.seen)
        return out


class InPlace(nn.Module):
    """An activation that overwrites what a residual connection reads again."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(36, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.enter(x.flatten(1))
        positive = F.relu(hidden, inplace=True)
        out: torch.Tensor = self.leave(positive + hidden)
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(36, 36), nn.Linear(36, 36)
        self.two.weight = self.one.weight
        self.leave = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.leave(torch.tanh(self.two(torch.tanh(self.one(x.flatten(1))))))
        return out


def batch_norm(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6, **options), nn.Linear(6, 3))


def hooked() -> nn.Module:
    model = linear()
    model.get_submodule("1").register_forward_hook(lambda module, inputs, output: output * 2)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "centred": Centred,
    "branching": Branching,
    "averaging": Averaging,
    "in place": InPlace,
    "tied": Tied,
    "batch norm": batch_norm(),
    "batch norm, no statistics": batch_norm(track_running_stats=False),
    "batch norm, cumulative": batch_norm(momentum=None),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3)),
    "hooked": hooked,
}


@pytest.mark.parametrize("sizes", FEDERATIONS, ids=NAMES)
@pytest.mark.parametrize("model", MODELS)
def test_any_module_ends_on_a_right_path(cohort: Make, model: str, sizes: tuple[int, ...]) -> None:
    sites = cohort(MODELS[model], sizes, local__batch=5)
    trainer = sites.trainer()
    for place in range(len(sizes)):  # alone and in another order: nothing may be carried from site to site
        rows, failed = trainer.train(sites.model, range(len(sizes)), round=2)
        expected, codes = sites.train("one-by-one", [place], round=2)
        assert (place in failed) == bool(codes), trainer.chosen
        assert codes or sites.far(rows[place : place + 1], expected) < 1e-4, trainer.chosen


def balanced(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    counts = F.one_hot(y, 3).sum(0).float().clamp(min=1)
    return F.cross_entropy(logits, y, reduction="none") / counts[y]


def centred(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    losses = F.cross_entropy(logits, y, reduction="none")
    return (losses - losses.mean()).square()


LOSSES: dict[str, Loss] = {
    "one mean": lambda logits, y: F.cross_entropy(logits, y),
    "weighed by the batch": balanced,
    "against the batch's mean": centred,
    "smoothed": lambda logits, y: F.cross_entropy(logits, y, reduction="none", label_smoothing=0.1),
    "a column": lambda logits, y: F.cross_entropy(logits, y, reduction="none")[:, None],
    "focal": lambda logits, y: (
        (1 - torch.softmax(logits, 1).gather(1, y[:, None])[:, 0]) ** 2 * F.cross_entropy(logits, y, reduction="none")
    ),
}


@pytest.mark.parametrize("sizes", FEDERATIONS, ids=NAMES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("wanted", ["", "vmap"])
def test_any_loss_ends_on_a_right_path(
    cohort: Make, monkeypatch: pytest.MonkeyPatch, loss: str, wanted: str, sizes: tuple[int, ...]
) -> None:
    sites = cohort(linear, sizes)
    monkeypatch.setattr(type(sites.task), "loss", lambda self, logits, y: LOSSES[loss](logits, y))
    trainer = sites.trainer(wanted)
    rows, failed = trainer.train(sites.model, range(4), round=1)
    expected, codes = sites.train("one-by-one")
    assert failed == codes
    assert sites.far(rows, expected) < 1e-5, trainer.chosen


class Lonely(nn.Module):
    """It treats a batch of one record in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1)
        out: torch.Tensor = self.leave(flat if len(flat) > 1 else 3 * flat)
        return out


@pytest.mark.parametrize("sizes", [(20, 14, 4, 13), (20, 8, 13, 9), (9, 8, 7, 6), (23, 5, 9, 13)])
@pytest.mark.parametrize("batch", [2, 4])
@pytest.mark.parametrize("model", [Centred, Lonely, linear], ids=["centred", "lonely", "loss"])
def test_a_batch_that_is_smaller_than_its_neighbour_s_is_among_those_that_are_tried(
    cohort: Make, monkeypatch: pytest.MonkeyPatch, model: Callable[[], nn.Module], batch: int, sizes: tuple[int, ...]
) -> None:
    """Also where the smallest site fills its batches exactly, so that as it is nothing would be padded."""
    sites = cohort(model, sizes, local__batch=batch)
    if model is linear:
        weighed = lambda self, logits, y: F.cross_entropy(logits, y, reduction="none") * len(y)  # noqa: E731
        monkeypatch.setattr(type(sites.task), "loss", weighed)
    trainer = sites.trainer()
    rows, failed = trainer.train(sites.model, range(4), round=1)
    expected, codes = sites.train("one-by-one")
    assert failed == codes
    assert sites.far(rows, expected) < 1e-5, trainer.chosen


def test_a_loss_of_the_task_object_itself_is_seen(cohort: Make) -> None:
    sites = cohort(linear, SMALL)
    sites.task.loss = LOSSES["focal"]
    rows, _ = sites.trainer().train(sites.model, range(4), round=1)
    assert sites.far(rows, sites.train("one-by-one")[0]) < 1e-5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("lr", [1.0, 1e-2, 1e-4, 1e-6, 1e-8])
def test_a_wrong_gradient_is_found_by_the_trial_however_small_the_steps(
    cohort: Make, monkeypatch: pytest.MonkeyPatch, lr: float, optimizer: str
) -> None:
    right = layers.Linear.backward

    def wrong(self: layers.Linear, *given: Any) -> tuple[torch.Tensor, ...]:
        return tuple(-part for part in right(self, *given))

    monkeypatch.setattr(layers.Linear, "backward", wrong)
    choice = cohort("relu", SMALL, local__lr=lr, local__optimizer=optimizer).choice("layers")
    assert choice.path.name == "one-by-one"
    assert "layers: it gave other updates than one by one" in choice.reason


def test_a_wrong_gradient_is_found_though_a_tried_site_has_a_record_that_is_not_finite(
    cohort: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layers.Linear.backward
    monkeypatch.setattr(layers.Linear, "backward", lambda self, *given: tuple(-part for part in right(self, *given)))
    for spoiled in range(4):
        sites = cohort("relu", SMALL)
        sites.task.parts[spoiled][0][0] = np.nan
        assert sites.choice("layers").path.name == "one-by-one"


def test_a_wrong_norm_is_found_by_the_trial(cohort: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    right = layers.Linear.squares
    monkeypatch.setattr(layers.Linear, "squares", lambda self, *given: right(self, *given) * 1.01)
    private = {"privacy__unit": "record", "privacy__epsilon": 8.0, "privacy__delta": 1e-3, "privacy__clip": 0.1}
    assert cohort("relu", SMALL, **private).choice("layers").path.name == "one-by-one"


def test_the_fastest_right_path_is_taken_and_says_how_far_it_was(cohort: Make, gated: Any) -> None:
    choice = cohort("relu", SMALL).choice("layers")
    assert choice.path.name == "layers" and choice.difference is not None and choice.difference < 1e-5
    other = cohort(gated, SMALL).choice()
    assert other.path.name == "vmap" and "layers: its forward function calls mul" in other.reason
    asked = cohort("relu", SMALL).choice("one-by-one")
    assert (asked.path.name, asked.difference, asked.reason) == ("one-by-one", None, "it was asked for")


def test_a_module_is_traced_once_though_two_paths_ask(
    cohort: Make, gated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def spy(module: nn.Module) -> Network:
        read.append(module)
        return read_network(module)

    monkeypatch.setattr("hedgerow.simulations.cohort.choosing.read_network", spy)
    monkeypatch.setattr("hedgerow.simulations.cohort.choosing.WORTH_LOADING", 0)
    monkeypatch.setattr("hedgerow.simulations.cohort.kernel.available", lambda: True)
    for model, path in (("residual", "layers"), (gated, "vmap")):
        read.clear()
        choice = cohort(model, SMALL).choice()
        assert (choice.path.name, len(read)) == (path, 1), choice.reason
        assert choice.reason.startswith("kernel: it")


def test_an_unknown_path_is_refused(cohort: Make) -> None:
    with pytest.raises(Misconfigured) as caught:
        cohort("relu", SMALL).choice("fast")
    assert caught.value.code == "E103"


def test_a_module_that_draws_is_trained_one_by_one_in_one_thread(cohort: Make) -> None:
    sites = cohort(MODELS["dropout"], SMALL)
    trainer = sites.trainer(workers=4)
    assert trainer.workers == 1 and "draws random numbers" in trainer.chosen.reason


def test_the_trial_leaves_torch_s_generator_and_the_data_as_they_were(cohort: Make) -> None:
    sites = cohort(MODELS["dropout"], SMALL)
    records = [x.copy() for x, _ in sites.task.parts]
    torch.manual_seed(9)
    before = torch.get_rng_state()
    sites.task.build = linear  # building a module draws; what is looked at is the trial
    model = linear()
    torch.set_rng_state(before)
    sites.task.build = lambda: model
    sites.choice()
    assert torch.equal(torch.get_rng_state(), before)
    assert all((now == old).all() for (now, _), old in zip(sites.task.parts, records, strict=True))


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), SystemExit(3)])
def test_a_user_s_error_fails_its_sites_and_nothing_else(
    cohort: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Site 1 has one label that the loss does not bear; site 1 is sometimes among those that are tried."""
    inner = F.cross_entropy

    def strict(self: Any, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if bool((y == 2).any()):
            raise error
        return inner(logits, y, reduction="none")

    for sizes in ((5, 7, 6, 9), (5, 4, 6, 9)):
        sites = cohort(linear, sizes)
        for place, (_, y) in enumerate(sites.task.parts):
            y[:] = 2 if place == 1 else y % 2
        clean, _ = sites.train("one-by-one")
        monkeypatch.setattr(type(sites.task), "loss", strict)
        rows, failed = sites.trainer().train(sites.model, range(4), round=1)
        monkeypatch.undo()
        assert failed == {1: "E308"} and not rows[1].any()
        others = [0, 2, 3]
        assert sites.far(rows[others], clean[others]) < 1e-5


def test_a_model_that_raises_fails_every_site_with_a_code(cohort: Make) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.leave = nn.Linear(36, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    trainer = cohort(Broken, SMALL).trainer()
    rows, failed = trainer.train(np.zeros(111, np.float32), range(4), round=1)
    assert failed == dict.fromkeys(range(4), "E308") and not rows.any()
