import pytest
import torch
from torch import nn

from hedgerow.errors import Misconfigured
from hedgerow.privacy import check_private, make_private_model


def mlp(*extra: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), *extra, nn.Linear(8, 3))


def records(count: int = 12) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1)) * 3


class MinusTheBatch(nn.Module):
    """Mixes records in code: no layer betrays it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.layer(x - x.mean(dim=0))
        return mixed


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mlp(nn.BatchNorm1d(8)), "2 (BatchNorm1d)"),
        (mlp(nn.BatchNorm1d(8).requires_grad_(False)), "2 (BatchNorm1d)"),
        (mlp(nn.BatchNorm1d(8, affine=False)), "2 (BatchNorm1d)"),
        (mlp(nn.LSTM(8, 8)), "2 (LSTM)"),
        (mlp(nn.Sequential(nn.BatchNorm1d(8))), "2.0 (BatchNorm1d)"),
        (nn.BatchNorm1d(6), "the model itself (BatchNorm1d)"),
    ],
)
def test_layers_that_mix_records_are_refused_by_name(model: nn.Module, words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_private(model)
    assert caught.value.code == "E130" and words in caught.value.message and "GroupNorm" in caught.value.hint


def test_a_forward_function_that_mixes_records_is_refused_though_its_layers_do_not() -> None:
    check_private(MinusTheBatch())
    with pytest.raises(Misconfigured, match="E130.*forward"):
        check_private(MinusTheBatch(), records())
    check_private(nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)), records())


def test_trying_the_forward_function_leaves_every_mode_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5))
    model[0].eval()
    check_private(model, torch.ones(3, 6))
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_repaired_model_has_group_norm_in_place_of_batch_norm_and_is_another() -> None:
    broken = mlp(nn.BatchNorm1d(8), nn.Sequential(nn.BatchNorm1d(8)))
    model = make_private_model(broken)
    assert isinstance(model, nn.Sequential) and isinstance(model[2], nn.GroupNorm)
    assert isinstance(model.get_submodule("3.0"), nn.GroupNorm) and isinstance(broken[2], nn.BatchNorm1d)
    check_private(model, records())
    assert float(model[2](model[0](records())).detach().std()) > 0.5  # one group a feature would leave only zeros


def test_a_layer_can_be_repaired_by_itself() -> None:
    norm = make_private_model(nn.BatchNorm1d(6, eps=0.25))
    assert isinstance(norm, nn.GroupNorm) and (norm.num_groups, norm.num_channels, norm.eps) == (1, 6, 0.25)
