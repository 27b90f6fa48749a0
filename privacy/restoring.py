"""A model whose tensors are left as they were found where something failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hedgerow.errors import Misconfigured

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["unchanged_on_error"]


@contextmanager
def unchanged_on_error(model: "nn.Module") -> Iterator[None]:
    """Put every parameter and buffer back if the block fails, or if it changed a buffer: buffers get no noise."""
    import torch

    tables = [(module, dict(module._buffers)) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    with torch.no_grad():
        before = [tensor.clone() for tensor in tensors]
    names = dict(model.named_buffers())
    copies = {name: buffer.clone() for name, buffer in names.items()}
    try:
        yield
        now = dict(model.named_buffers())
        changed = [name for name in sorted({*names, *now}) if not _same(now.get(name), copies.get(name))]
        if changed:
            raise Misconfigured(
                "E130",
                f"training changed the buffers {', '.join(changed)}, which would leave the site without noise",
                place="model",
                hint="keep statistics of the data out of buffers",
            )
    except BaseException:
        with torch.no_grad():
            for module, table in tables:
                module._buffers.clear()
                module._buffers.update(table)
            for tensor, copy in zip(tensors, before, strict=True):
                tensor.copy_(copy)
        raise


def _same(a: "torch.Tensor | None", b: "torch.Tensor | None") -> bool:
    import torch

    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, 0.0, 0.0, equal_nan=True)))
