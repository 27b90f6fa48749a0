"""A device with a memory of its own that needs no GPU: what lies on it is a CPU tensor in a wrapper.

torch calls the device `meta`, the one kind beside the CPU that every build can record gradients on. The CPU computes
every operation, and one whose tensors lie in two memories is an error, as on a real device.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from hedgerow.simulations.cohort.device import Device

__all__ = ["IMAGINED", "Imagined", "Traffic", "imagined"]

PLACE = torch.device("meta")
IMAGINED = Device(place=PLACE, name="cuda:0 (imagined)", free=1 << 30)
MOVES = ("_to_copy", "copy_")

Spoil = Callable[[str, Any], None]  # changes an operation's result in place, or raises


class Imagined(torch.Tensor):
    """A tensor on the imagined device; `numbers` are what lies there."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "Imagined":
        made: Imagined = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=PLACE,
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stubs take it for a function of an object
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, kwargs or {}, lambda name, result: None)


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Makes tensors on the device, counts what is moved `to` and `from` it and the operations that it computed."""

    def __init__(self, spoil: Spoil) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.to, self.back, self.operations = 0, 0, 0
        self._spoil = spoil

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = _computed(func, args, kwargs or {}, self._spoil)
        there = isinstance(result, Imagined)
        if _name(func) in MOVES and there != isinstance(args[1 if _name(func) == "copy_" else 0], Imagined):
            self.to, self.back = self.to + there, self.back + (not there)
        self.operations += there
        return result


@contextmanager
def imagined(spoil: Spoil = lambda name, result: None) -> Iterator[Traffic]:
    """The device is there."""
    with Traffic(spoil) as traffic:
        yield traffic


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], spoil: Spoil) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    moving, place = _name(func) in MOVES, kwargs.get("device")
    if place is not None:
        there = torch.device(place) == PLACE
    else:
        there = any(isinstance(value, Imagined) for value in (tensors[:1] if moving else tensors))
    if there and not moving:
        strangers = [value for value in tensors if not isinstance(value, Imagined) and value.dim()]
        assert not strangers, f"{func} was given tensors of two devices"
    named = {name: _inner(value) for name, value in kwargs.items()}
    if place is not None:
        named["device"] = torch.device("cpu")
    result = func(*tree_map(_inner, args), **named)
    if not there:
        return result
    spoil(_name(func), result)
    wrapped = tree_map(lambda value: Imagined(value) if isinstance(value, torch.Tensor) else value, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)  # type: ignore[no-untyped-call]  # torch's own


def _inner(value: Any) -> Any:
    return value.numbers if isinstance(value, Imagined) else value
