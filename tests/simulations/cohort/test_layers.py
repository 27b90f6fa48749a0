"""Each layer against torch's autograd, client by client and record by record."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hedgerow.simulations.cohort.layers import Affine, Convolution, Embedding, Linear
from hedgerow.simulations.cohort.norms import GroupNorm, LayerNorm

CLIENTS, RECORDS = 3, 4

# The layer, the step that stands for it, and the shape of a record.
CASES: dict[str, tuple[Callable[[], nn.Module], Affine, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 3), Linear(True), (5,)),
    "linear-no-bias": (lambda: nn.Linear(5, 3, bias=False), Linear(False), (5,)),
    "linear-places": (lambda: nn.Linear(5, 3), Linear(True), (6, 5)),
    "linear-few-places": (lambda: nn.Linear(20, 20), Linear(True), (2, 20)),
    "linear-grid": (lambda: nn.Linear(4, 3, bias=False), Linear(False), (2, 3, 4)),
    "convolution": (
        lambda: nn.Conv2d(2, 3, 3, padding=1),
        Convolution((3, 3), (1, 1), (1, 1), (1, 1), True),
        (2, 5, 6),
    ),
    "convolution-few-places": (
        lambda: nn.Conv2d(8, 9, 3, bias=False),
        Convolution((3, 3), (1, 1), (0, 0), (1, 1), False),
        (8, 4, 4),
    ),
    "convolution-odd": (
        lambda: nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
        Convolution((3, 2), (2, 1), (2, 1), (2, 3), True),
        (1, 9, 8),
    ),
    "group-norm": (lambda: nn.GroupNorm(2, 4), GroupNorm(2, 1e-5), (4, 3, 3)),
    "group-norm-flat": (lambda: nn.GroupNorm(2, 6), GroupNorm(2, 1e-5), (6,)),
    "layer-norm": (lambda: nn.LayerNorm(6), LayerNorm((6,), 1e-5), (6,)),
    "layer-norm-places": (lambda: nn.LayerNorm(6), LayerNorm((6,), 1e-5), (4, 6)),
    "layer-norm-image": (lambda: nn.LayerNorm((3, 4)), LayerNorm((3, 4), 1e-5), (2, 3, 4)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_layer_is_torch_s_own_for_every_client_and_record(case: str, beta: float) -> None:
    torch.manual_seed(0)
    build, op, shape = CASES[case]
    layers = [build().double() for _ in range(CLIENTS)]
    for layer in layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter)
    x = torch.randn(CLIENTS, RECORDS, *shape, dtype=torch.float64, requires_grad=True)
    stacked = [torch.stack(parts).detach() for parts in zip(*(layer.parameters() for layer in layers), strict=True)]
    expected = torch.stack([layer(x[client]) for client, layer in enumerate(layers)])
    delta = torch.randn_like(expected)

    y, saved = op.forward([x.detach()], stacked)
    torch.testing.assert_close(y, expected)
    (back,) = op.backward(delta, saved, stacked)
    torch.testing.assert_close(back, torch.autograd.grad(expected, x, delta, retain_graph=True)[0])

    squares = op.squares(delta, saved)
    outs = [torch.randn_like(parameter) for parameter in stacked]
    before = [out.clone() for out in outs]
    op.accumulate(delta, saved, outs, beta=beta, alpha=-0.3)
    for client, layer in enumerate(layers):
        parameters = list(layer.parameters())
        whole = [torch.zeros_like(parameter) for parameter in parameters]
        for record in range(RECORDS):
            own = torch.autograd.grad(expected[client, record], parameters, delta[client, record], retain_graph=True)
            norm = torch.stack([part.square().sum() for part in own]).sum()
            torch.testing.assert_close(squares[client, record], norm)
            whole = [total + part for total, part in zip(whole, own, strict=True)]
        for out, old, total in zip(outs, before, whole, strict=True):
            torch.testing.assert_close(out[client], beta * old[client] - 0.3 * total)


@pytest.mark.parametrize("case", [name for name in CASES if name != "embedding"])
def test_a_record_that_is_left_out_adds_nothing_though_it_is_not_finite(case: str) -> None:
    torch.manual_seed(0)
    build, op, shape = CASES[case]
    parameters = [torch.stack([parameter.detach()] * CLIENTS) for parameter in build().parameters()]
    x = torch.randn(CLIENTS, RECORDS, *shape)
    x[1, 2] = torch.nan
    kept = torch.ones(CLIENTS, RECORDS, dtype=torch.bool)
    kept[1, 2] = False
    y, saved = op.forward([x], parameters)
    delta = torch.where(kept.view(CLIENTS, RECORDS, *[1] * (y.dim() - 2)), torch.randn_like(y), 0.0)
    outs = [torch.zeros_like(parameter) for parameter in parameters]
    op.accumulate(delta, op.without(saved, kept), outs, beta=0.0, alpha=1.0)
    assert all(bool(out.isfinite().all()) for out in outs)


def test_an_embedding_adds_up_a_token_s_places_before_it_is_measured() -> None:
    table = torch.randn(CLIENTS, 5, 3, dtype=torch.float64)
    tokens = torch.tensor([[[0, 0, 2], [4, 1, 1]]] * CLIENTS)
    op = Embedding()
    y, saved = op.forward([tokens], [table])
    torch.testing.assert_close(y[1], table[1][tokens[1]])
    delta = torch.randn_like(y)
    gradients = torch.zeros(CLIENTS, 2, 5, 3, dtype=torch.float64)
    for client in range(CLIENTS):
        for record in range(2):
            gradients[client, record].index_add_(0, tokens[client, record], delta[client, record])
    torch.testing.assert_close(op.squares(delta, saved), gradients.square().sum(dim=(2, 3)))
    out = torch.ones_like(table)
    op.accumulate(delta, saved, [out], beta=0.5, alpha=2.0)
    torch.testing.assert_close(out, 0.5 + 2.0 * gradients.sum(dim=1))


@pytest.mark.parametrize("places", [2, 8, 40])
def test_a_small_norm_that_is_left_of_large_parts_is_not_lost(places: int) -> None:
    """Clipping relies on it: a norm that is told too small lets a record weigh more than the clip."""
    torch.manual_seed(0)
    rows, columns = torch.randn(1, 1, places, 64), torch.randn(1, 1, places, 64)
    half = places // 2
    rows[:, :, half:] = -rows[:, :, :half]
    columns[:, :, half:] = columns[:, :, :half] * (1 + 1e-4 * torch.randn(1, 1, half, 64))
    exact = torch.einsum("abtm,abtn->abmn", rows.double(), columns.double()).square().sum().sqrt()
    found = Linear(False).squares(rows, columns).sqrt()
    assert float(found) == pytest.approx(float(exact), rel=1e-2)


def test_a_token_s_places_that_nearly_cancel_are_measured_right() -> None:
    torch.manual_seed(0)
    delta = torch.randn(1, 1, 6, 8)
    delta[:, :, 3:] = -delta[:, :, :3] * (1 + 1e-4)
    found = Embedding().squares(delta, torch.zeros(1, 1, 6, dtype=torch.long)).sqrt()
    assert float(found) == pytest.approx(float(delta.double().sum(dim=2).norm()), rel=1e-2)
