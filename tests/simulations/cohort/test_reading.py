"""What is read as steps, what is not and why, and that gradients find every trained step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hedgerow.simulations.cohort.network import Unstackable
from hedgerow.simulations.cohort.reading import read_network

Forward = Callable[[Any, torch.Tensor], torch.Tensor]


def made(forward: Forward, **layers: nn.Module) -> nn.Module:
    """A module with these layers and this forward function."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self, x)

    return Made().train()


def hooked() -> nn.Module:
    layer = nn.Linear(6, 3)
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return nn.Sequential(layer)


def shared() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    return model


def part_frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].bias.requires_grad_(False)
    return model


def branching(self: Any, x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = self.a(x) if x.sum() > 0 else -self.a(x)
    return out


UNREAD: dict[str, tuple[nn.Module, str]] = {
    "batch-norm": (nn.Sequential(nn.BatchNorm1d(6)), "buffers"),
    "batch-norm-without-statistics": (
        nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)),
        "BatchNorm1d is no layer that is stacked",
    ),
    "dropout": (nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3)), "Dropout is no layer"),
    "hooks": (hooked(), "hooks"),
    "shared": (shared(), "share parameters"),
    "frozen in part": (part_frozen(), "frozen in part"),
    "padding index": (nn.Sequential(nn.Embedding(5, 3, padding_idx=0)), "padding index"),
    "max norm": (nn.Sequential(nn.Embedding(5, 3, max_norm=1.0)), "rescales"),
    "groups": (nn.Sequential(nn.Conv2d(2, 2, 1, groups=2)), "groups"),
    "circular": (nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")), "padding"),
    "branches": (made(branching, a=nn.Linear(6, 3)), "cannot be traced"),
    "mixes": (made(lambda self, x: self.a(x - x.mean(0)), a=nn.Linear(6, 3)), "calls mean"),
    "mixes by a flat mean": (made(lambda self, x: self.a(x) - x.mean(), a=nn.Linear(6, 3)), "calls"),
    "own weight": (made(lambda self, x: F.linear(x, self.a.weight), a=nn.Linear(6, 3)), "parameter by itself"),
    "twice": (made(lambda self, x: self.a(torch.relu(self.a(x))), a=nn.Linear(6, 6)), "used twice"),
    "unused": (made(lambda self, x: self.a(x), a=nn.Linear(6, 3), b=nn.Linear(6, 3)), "does not use"),
    "random": (made(lambda self, x: self.a(x + torch.rand(6)), a=nn.Linear(6, 3)), "forward function"),
    "output in the middle": (
        made(lambda self, x: [self.a(x), self.b(x)][0], a=nn.Linear(6, 3), b=nn.Linear(6, 3)),
        "not the last",
    ),
    "tuple": (made(lambda self, x: (self.a(x), x), a=nn.Linear(6, 3)), "not one tensor"),  # type: ignore[arg-type,return-value]
    "reshapes records": (made(lambda self, x: self.a(x.view(-1, 6)), a=nn.Linear(6, 3)), "calls view"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_what_cannot_be_stacked_says_why(case: str) -> None:
    model, words = UNREAD[case]
    with pytest.raises(Unstackable, match=words):
        read_network(model.train())


def viewed(self: Any, x: torch.Tensor) -> torch.Tensor:
    first = self.a(x.view(x.size(0), -1))
    second = F.gelu(first)
    out: torch.Tensor = self.b(torch.relu(second) + first)
    return out


READ: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "viewed": (made(viewed, a=nn.Linear(6, 5), b=nn.Linear(5, 3)), (2, 3)),
    "shape": (made(lambda self, x: self.a(x.reshape(x.shape[0], -1)), a=nn.Linear(6, 3)), (2, 3)),
    "places": (made(lambda self, x: self.a(x).mean(dim=1), a=nn.Linear(3, 3)), (4, 3)),
    "pools": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3),
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Dropout(0.0),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        (1, 6, 6),
    ),
    "activations": (
        nn.Sequential(
            nn.Linear(6, 6), nn.ELU(), nn.LeakyReLU(), nn.Softplus(), nn.Hardtanh(), nn.Sigmoid(), nn.Linear(6, 3)
        ),
        (6,),
    ),
    "frozen between": (
        nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6).requires_grad_(False), nn.Tanh(), nn.Linear(6, 3)),
        (6,),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_the_steps_give_the_module_s_outputs_and_visit_each_trained_layer_once(case: str) -> None:
    torch.manual_seed(0)
    model, shape = READ[case]
    network = read_network(model.train())
    x = torch.randn(2, 3, *shape)
    parameters = {name: value.detach().expand(2, *value.shape) for name, value in model.named_parameters()}
    y, saved = network.forward(x, parameters)
    torch.testing.assert_close(y.flatten(0, 1), model(x.flatten(0, 1)).detach())
    assert network.trained == tuple(name for name, value in model.named_parameters() if value.requires_grad)
    visited: list[int] = []
    network.backward(torch.ones_like(y), saved, parameters, visit=lambda number, _: visited.append(number))
    assert visited == [number for number, node in reversed(list(enumerate(network.nodes))) if node.trained]


def test_a_layer_alone_is_a_network_too() -> None:
    assert len(read_network(nn.Linear(6, 3)).nodes) == 1
