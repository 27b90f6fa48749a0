"""Tests of hedgerow.modes: a model's mode for as long as a block needs it."""

import pytest
from torch import nn

from hedgerow.modes import in_mode


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_every_module_is_in_the_mode_and_afterwards_in_its_own_also_where_something_failed(
    training: bool, before: bool
) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5))).train(before)
    model[0].train(not before)  # a user may freeze a single layer
    own = modes(model)
    with pytest.raises(RuntimeError), in_mode(model, training=training):
        assert modes(model) == [training] * 4
        raise RuntimeError
    assert modes(model) == own
