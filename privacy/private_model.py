"""Which models record-level privacy can train: those in which one record's output depends on no other record.

Clipping bounds what a record does through its own gradient. Where layers mix the records of a batch, a record also
moves the gradients of the others, and no clip bounds that.
"""

import copy
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured
from hedgerow.modes import in_mode
from hedgerow.privacy.restoring import unchanged_on_error

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["check_private", "make_private_model"]

TRIED = 4  # records on which a forward function is tried


def check_private(model: "nn.Module", x: "torch.Tensor | None" = None) -> None:
    """Refuse a model in which one record's output depends on other records.

    Layers are known by their kind. With records `x` to try, the forward function is tried too: in evaluation mode, a
    record alone must give what it gives among others. Code that mixes records in training mode only, or for some
    records only, is not seen.
    Raises: Misconfigured E130 naming the layers and what to do.
    """
    from opacus.validators import ModuleValidator  # type: ignore[import-untyped]  # Opacus ships no types
    from torch.nn.modules.batchnorm import _BatchNorm

    found: list[str] = []
    for name, layer in model.named_modules():
        validator = ModuleValidator.VALIDATORS.get(type(layer))
        # Opacus passes over frozen layers, yet a frozen BatchNorm in training still mixes the batch.
        if isinstance(layer, _BatchNorm) or (validator is not None and validator(layer)):
            found.append(f"{name or 'the model itself'} ({type(layer).__name__})")
    if found:
        raise Misconfigured(
            "E130",
            f"record-level privacy cannot train {', '.join(found)}",
            place="model",
            hint="use GroupNorm or LayerNorm and Opacus's recurrent and attention layers, "
            "or wrap the model in hedgerow.privacy.make_private_model(...), which replaces what it can",
        )
    if x is not None and len(x) > 1 and _mixes(model, x[:TRIED]):
        raise Misconfigured(
            "E130",
            "the model's forward function gives a record another output among others than alone",
            place="model",
            hint="compute nothing over the first dimension, which counts records",
        )


def make_private_model(model: "nn.Module") -> "nn.Module":
    """Return a copy of `model` that record-level privacy can train: BatchNorm becomes GroupNorm, and so on.

    The repair is Opacus's `ModuleValidator.fix`, except for BatchNorm1d: there Opacus makes groups of single
    features if they are few, and a feature normalised by itself is constant; here all form one group. Replaced
    layers start afresh: repair a model before it is trained, and use the repaired model at every site.
    Raises: Misconfigured E130 if something is left that cannot be repaired.
    """
    from opacus.validators import ModuleValidator
    from torch import nn

    fixed = copy.deepcopy(model)
    for name, layer in list(fixed.named_modules()):
        if isinstance(layer, nn.BatchNorm1d):
            parent, _, child = name.rpartition(".")
            norm = nn.GroupNorm(1, layer.num_features, eps=layer.eps, affine=layer.affine)
            if not name:
                return norm
            setattr(fixed.get_submodule(parent), child, norm)
    repaired: nn.Module = ModuleValidator.fix(fixed)
    check_private(repaired)
    return repaired


def _mixes(model: "nn.Module", x: "torch.Tensor") -> bool:
    """Whether the first record's output changes when the others leave."""
    import torch

    with in_mode(model, training=False), unchanged_on_error(model), torch.no_grad():
        among, alone = model(x), model(x[:1])
    if not isinstance(among, torch.Tensor) or len(among) != len(x) or len(alone) != 1:
        return True
    return not torch.allclose(among[:1].float(), alone.float(), rtol=1e-3, atol=1e-4, equal_nan=True)
