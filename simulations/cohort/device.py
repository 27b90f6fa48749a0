"""Where stacked sites are trained: on the CPU, or on a CUDA device with a memory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import torch

from hedgerow.errors import Misconfigured
from hedgerow.settings import nearest

__all__ = ["CPU", "DEVICES", "Device", "device_of", "exact_products", "kind_told"]

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Where tensors lie, what reports call it, and how many of its bytes are `free` (not counted for the CPU)."""

    place: torch.device
    name: str
    free: int = 0

    @property
    def apart(self) -> bool:
        """Whether it has a memory of its own, which records must be moved to."""
        return self.place.type != "cpu"

    def holding(self, size: int) -> Self:
        """The same device with so many bytes less."""
        return replace(self, free=self.free - size)


CPU = Device(place=torch.device("cpu"), name="cpu")


def device_of(wanted: str) -> Device:
    """The device that `wanted` stands for; `cuda` is the current one of PyTorch.

    `auto` is the CPU, always: a GPU sums in another order, and the bytes of a run must not depend on what a machine
    has.

    Raises:
        Misconfigured: E103 for an unknown name, E107 if PyTorch finds no CUDA device.

    >>> device_of("auto").name
    'cpu'
    """
    if wanted not in DEVICES:
        raise Misconfigured("E103", f"unknown device '{wanted}'", place="device", hint=nearest(wanted, DEVICES))
    if wanted != "cuda":
        return CPU
    if not torch.cuda.is_available():
        raise Misconfigured(
            "E107",
            "PyTorch finds no CUDA device",
            place="device",
            hint="leave the device out, or install a PyTorch that is built for CUDA on a machine with such a GPU",
        )
    number = torch.cuda.current_device()
    free, _ = torch.cuda.mem_get_info(number)
    return Device(
        place=torch.device("cuda", number), name=f"cuda:{number} ({torch.cuda.get_device_name(number)})", free=free
    )


def kind_told(told: str) -> str:
    """The kind of device that the event `engine-chosen` tells, as `device_of` takes it.

    >>> kind_told("cuda:0 (some GPU)"), kind_told("cpu (not cuda:0: the records do not fit)")
    ('cuda', 'cpu')
    """
    return "cuda" if told.startswith("cuda") else "cpu"


@contextmanager
def exact_products(device: Device) -> Iterator[None]:
    """Products in whole float32 on a device that would round their factors to TF32's 10 bits (convolutions do).

    The settings are the process's; they are put back afterwards.
    """
    if not device.apart:
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    named = hasattr(cudnn, "conv")  # torch 2.9 and later refuse the older names once the newer were used
    name, exact = ("fp32_precision", "ieee") if named else ("allow_tf32", False)
    settings = [matmul, *(getattr(cudnn, kind) for kind in ("conv", "rnn"))] if named else [matmul, cudnn]
    before = [getattr(setting, name) for setting in settings]
    for setting in settings:
        setattr(setting, name, exact)
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setattr(setting, name, value)
