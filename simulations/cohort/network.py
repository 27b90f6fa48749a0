"""A network as steps that train many clients at once: forward, and back with a visit to every trained step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from hedgerow.simulations.cohort.layers import Op, Saved

__all__ = ["Network", "Node", "Unstackable"]


class Unstackable(Exception):
    """Why a module cannot be read as steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step: the values that it reads, by number, and the names of its parameters. The model's input is value 0."""

    op: Op
    inputs: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    trained: bool = False
    above: bool = False  # whether a trained parameter stands before it, so that its inputs need a gradient


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """The steps in order; step i makes value i + 1, the last one is the output.

    `trained` names the parameters that training moves, in the order of the module, which is the noise's.
    """

    nodes: tuple[Node, ...]
    trained: tuple[str, ...]

    def forward(self, x: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, list[Saved]]:
        """Records (A, B, …) → outputs (A, B, classes), and what `backward` needs."""
        values, saved = [x], []
        for node in self.nodes:
            value, kept = node.op.forward(
                [values[number] for number in node.inputs], [parameters[name] for name in node.parameters]
            )
            values.append(value)
            saved.append(kept)
        return values[-1], saved

    def backward(
        self,
        delta: Tensor,
        saved: list[Saved],
        parameters: Mapping[str, Tensor],
        *,
        visit: Callable[[int, Tensor], None],
    ) -> None:
        """Walk back from the output's gradient (A, B, classes); `visit(i, δ)` is called for each trained step i, after
        the gradients of what stands before it were taken, so that it may change the step's parameters."""
        pending: dict[int, Tensor] = {len(self.nodes): delta}
        for number in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[number]
            arrived = pending.pop(number + 1, None)
            if arrived is None:
                continue  # nobody reads this value
            if node.above:
                back = node.op.backward(arrived, saved[number], [parameters[name] for name in node.parameters])
                for source, gradient in zip(node.inputs, back, strict=True):
                    if source == 0 or not (self.nodes[source - 1].trained or self.nodes[source - 1].above):
                        continue
                    pending[source] = pending[source] + gradient if source in pending else gradient
            if node.trained:
                visit(number, arrived)
