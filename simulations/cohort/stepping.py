"""The optimisers of many clients at once, fused with the gradient's last product where they allow it.

The rules are those of `torch.optim.SGD` and `torch.optim.Adam`, after the FedProx pull and the clip of
`hedgerow.training`; all clients that still train are at the same step number.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from torch import Tensor

from hedgerow.job import Local

__all__ = ["Stepper"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch's defaults for Adam

_memory = threading.local()  # a thread's tables on the CPU, used again from chunk to chunk: fresh pages cost much there


class Stepper:
    """Parameters of k clients (k, *shape), and where their gradients go.

    A step is `begin(active)`, then `targets[i] = beta · targets[i] + alpha · gradient` by whoever has the gradient (or
    `scale` where there is none), then `finish(number)`. Plain SGD writes straight into the parameters, SGD with
    momentum into the velocity; everything else needs the gradient by itself.
    """

    def __init__(self, model: Sequence[Tensor], count: int, settings: Local, *, private: bool) -> None:
        self._settings = settings
        self._model = [value.unsqueeze(0) for value in model]
        self._private = private
        self._alone = settings.optimizer == "adam" or (settings.clip > 0 and not private)
        pulled = bool(settings.weight_decay or settings.proximal)
        self._plain = not (self._alone or pulled or settings.momentum)
        self.parameters = self._tables("parameters", count)
        for table, value in zip(self.parameters, self._model, strict=True):
            table.copy_(value.expand_as(table))
        self._velocities = [] if self._plain else self._tables("velocities", count, zero=True)
        self._squares = self._tables("squares", count, zero=True) if settings.optimizer == "adam" else []
        self._gradients = self._tables("gradients", count) if self._alone else []
        self._active: list[list[Tensor]] = []
        self.alpha = -settings.lr if self._plain else 1.0
        self.beta = 1.0 if self._plain else 0.0 if self._alone else settings.momentum
        self.targets: Sequence[Tensor] = ()

    def begin(self, active: int) -> None:
        """The first `active` clients take the next step."""
        tables = (self.parameters, self._velocities, self._squares, self._gradients)
        self._active = [[table[:active] for table in group] for group in tables]
        self.targets = self._active[0] if self._plain else self._active[3] if self._alone else self._active[1]

    def scale(self) -> None:
        """Where a step has no records: `targets[i] = beta · targets[i]`."""
        for target in self.targets:
            if self.beta == 0.0:
                target.zero_()
            elif self.beta != 1.0:
                target.mul_(self.beta)

    def finish(self, number: int) -> None:
        """Move the parameters by what the targets hold; `number` counts the steps from 1."""
        if self._plain:
            return
        settings = self._settings
        parameters, velocities, squares, gradients = self._active
        pull = settings.proximal
        if not self._alone:
            decay = settings.weight_decay + pull
            for parameter, velocity, model in zip(parameters, velocities, self._model, strict=True):
                if decay:
                    velocity.add_(parameter, alpha=decay)
                if pull:
                    velocity.sub_(model, alpha=pull)
                parameter.add_(velocity, alpha=-settings.lr)
            return
        if pull:
            for parameter, gradient, model in zip(parameters, gradients, self._model, strict=True):
                gradient.add_(parameter - model, alpha=pull)
        if settings.clip and not self._private:
            _clip(gradients, settings.clip)
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if settings.weight_decay:
                gradient.add_(parameter, alpha=settings.weight_decay)
            if settings.optimizer == "sgd":
                velocities[index].mul_(settings.momentum).add_(gradient)
                parameter.add_(velocities[index], alpha=-settings.lr)
                continue
            velocities[index].lerp_(gradient, 1 - BETA1)
            squares[index].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            spread = squares[index].sqrt().div_((1 - BETA2**number) ** 0.5).add_(EPSILON)
            parameter.addcdiv_(velocities[index], spread, value=-settings.lr / (1 - BETA1**number))

    def _tables(self, kind: str, count: int, *, zero: bool = False) -> list[Tensor]:
        tables: list[Tensor] = []
        if self._model and self._model[0].device.type != "cpu":  # torch keeps a device's memory from chunk to chunk
            tables = [value.new_empty((count, *value.shape[1:])) for value in self._model]
            return [table.zero_() for table in tables] if zero else tables
        kept: dict[tuple[str, int], Tensor] = _memory.__dict__.setdefault("tables", {})
        for index, value in enumerate(self._model):
            table = kept.get((kind, index))
            if table is None or len(table) < count or table.shape[1:] != value.shape[1:] or table.dtype != value.dtype:
                kept[kind, index] = table = value.new_empty((count, *value.shape[1:]))
            tables.append(table[:count].zero_() if zero else table[:count])
        return tables


def _clip(gradients: Sequence[Tensor], limit: float) -> None:
    """As `torch.nn.utils.clip_grad_norm_`, for each client over all parameters together."""
    squares = sum(gradient.flatten(1).square().sum(dim=1) for gradient in gradients)
    assert isinstance(squares, Tensor)
    factors = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
