"""A model as one flat vector: the `Layout` is agreed once per job, and flattening is a copy in a fixed order.

Floating-point tensors of the state dict enter the vector in its order, as float32; integer buffers (BatchNorm's batch
counters) do not, so they never enter distances, sums or noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hedgerow.errors import Rejected

if TYPE_CHECKING:
    import torch

__all__ = ["Layout", "Vector", "vector_sha256"]

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names and shapes of the floating-point tensors, in order.

    >>> layout = Layout(names=("w", "b"), shapes=((2, 3), (2,)))
    >>> layout.size
    8
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """How many numbers the vector has, d."""
        return sum(math.prod(shape) for shape in self.shapes)

    @classmethod
    def of(cls, model: torch.nn.Module) -> Layout:
        tensors = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        return cls(names=tuple(tensors), shapes=tuple(tuple(value.shape) for value in tensors.values()))

    def flatten(self, model: torch.nn.Module) -> Vector:
        """The model's floating-point tensors as one (d,) float32 vector, a copy."""
        return self.read(model.state_dict())

    def load(self, vector: Vector, model: torch.nn.Module) -> None:
        """Write a (d,) vector into the model's tensors.

        Raises:
            Rejected: E301 if the vector has another size.
        """
        self.write(vector, model.state_dict())

    def read(self, state: Mapping[str, torch.Tensor]) -> Vector:
        """As `flatten`, from a state dict that the caller keeps: building one costs more than reading it."""
        parts = [state[name].detach().cpu().float().numpy().reshape(-1) for name in self.names]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def write(self, vector: Vector, state: Mapping[str, torch.Tensor]) -> None:
        """As `load`, into a state dict that the caller keeps; its tensors are the model's own."""
        import torch

        with torch.no_grad():
            for name, part in self.split(vector).items():
                state[name].copy_(torch.from_numpy(part if part.flags.writeable else part.copy()))

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Views of the vector's parts under their names, each in its shape.

        Raises:
            Rejected: E301 if the vector has another size.
        """
        if vector.shape != (self.size,):
            raise Rejected("E301", f"the vector has shape {vector.shape}, the model {self.size} numbers")
        parts: dict[str, Vector] = {}
        start = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            stop = start + math.prod(shape)
            parts[name] = vector[start:stop].reshape(shape)
            start = stop
        return parts

    def join(self, arrays: Mapping[str, np.ndarray]) -> Vector:
        """One (d,) vector from named arrays, which must be exactly these.

        Raises:
            Rejected: E301 another name or shape, E302 another dtype than float32.
        """
        if tuple(arrays) != self.names:
            raise Rejected("E301", "the arrays' names or their order differ from the model's")
        for array, shape in zip(arrays.values(), self.shapes, strict=True):
            if array.shape != shape:
                raise Rejected("E301", "an array's shape differs from the model's")
            if array.dtype != np.float32:
                raise Rejected("E302", "an array is not float32")  # a dtype can hold words of the site's
        parts = [array.reshape(-1) for array in arrays.values()]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def vector_sha256(vector: Vector) -> str:
    """The name of a model: SHA-256 over its little-endian float32 bytes."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").data).hexdigest()
