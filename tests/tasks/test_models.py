from collections.abc import Callable

import pytest
import torch

from hedgerow.errors import Misconfigured
from hedgerow.tasks.models import linear, mlp, small_cnn


def test_an_mlp_flattens_records_and_gives_a_logit_per_label() -> None:
    assert mlp(12, (5, 7), 3)(torch.zeros(4, 3, 4)).shape == (4, 3)


def test_an_mlp_is_its_layers_in_order() -> None:
    torch.manual_seed(3)
    model = mlp(4, (6,), 2)
    w1, b1, w2, b2 = model.parameters()
    x = torch.randn(5, 4)
    assert torch.allclose(model(x), torch.relu(x @ w1.T + b1) @ w2.T + b2, atol=1e-6)


def test_a_linear_model_is_one_matrix_and_one_offset() -> None:
    model = linear(4, 3)
    weight, bias = model.parameters()
    x = torch.randn(5, 4)
    assert torch.allclose(model(x), x @ weight.T + bias, atol=1e-6)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, (17, 30)), (1, 4)])
def test_a_small_cnn_takes_images_of_the_stated_size(channels: int, size: int | tuple[int, int]) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    assert small_cnn(channels, size, 5)(torch.zeros(2, channels, height, width)).shape == (2, 5)


def test_a_small_cnn_looks_at_one_record_at_a_time() -> None:
    torch.manual_seed(0)
    model = small_cnn(1, 8, 3)  # in training mode, in which batch normalisation would mix records
    x = torch.randn(6, 1, 8, 8)
    assert torch.allclose(model(x)[:2], model(x[:2]), atol=1e-5)


def test_initial_values_follow_torchs_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(iter(mlp(4, (6,), 2).parameters()))

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_impossible_sizes_are_refused() -> None:
    builds: tuple[Callable[[], torch.nn.Module], ...] = (
        lambda: mlp(0, (5,), 2),
        lambda: mlp(4, (0,), 2),
        lambda: linear(4, 0),
        lambda: small_cnn(0, 8, 2),
        lambda: small_cnn(1, (8, 3), 2),
    )
    for build in builds:
        with pytest.raises(Misconfigured, match="E103"):
            build()
