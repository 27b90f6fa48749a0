"""Dense networks by compiled code (extra `fast`): each client's whole training while its parameters lie in cache."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hedgerow.job import Local
from hedgerow.simulations.cohort.data import CohortData
from hedgerow.simulations.cohort.kernel import Dense, Step, train_dense, train_dense_private
from hedgerow.simulations.cohort.layers import Linear
from hedgerow.simulations.cohort.network import Network, Unstackable
from hedgerow.simulations.cohort.paths import Chunk
from hedgerow.simulations.cohort.pointwise import Flatten, ReLU, Sigmoid, Tanh
from hedgerow.simulations.cohort.schedule import Schedule
from hedgerow.simulations.cohort.stacked import Private
from hedgerow.update import Layout, Vector

__all__ = ["Compiled", "dense_network"]

NOISE = 1 << 20  # numbers of noise that are drawn ahead for one call
ACTIVATIONS = {ReLU: "relu", Tanh: "tanh", Sigmoid: "sigmoid"}


class Compiled:
    """The kernel, a client after another; a client's bytes do not depend on its chunk."""

    name = "kernel"
    private = "ghost norms"

    def __init__(self, dense: Dense, data: CohortData, settings: Local) -> None:
        if data.scale is not None:
            raise Unstackable("the sites' features are shifted")
        x = data.x.numpy()
        self._x = np.ascontiguousarray(x.reshape(len(x), -1))
        self._y = data.y.numpy()
        self._dense = dense
        self._step = Step(
            kind="adam" if settings.optimizer == "adam" else "sgd",
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            proximal=settings.proximal,
            clip=settings.clip or None,
        )

    def train(self, model: Vector, chunk: Chunk, out: NDArray[np.float32]) -> None:
        schedule, private = chunk.schedule(), chunk.private()
        if private is None:
            train_dense(
                self._dense,
                self._step,
                x=self._x,
                y=self._y,
                model=model,
                schedule_rows=schedule.rows,
                schedule_steps=schedule.steps,
                schedule_clients=schedule.clients,
                out=out,
            )
            return
        first, clients = 0, len(schedule.clients) - 1
        while first < clients:  # as many clients as their noise fits in the cache
            last = first + 1
            most = schedule.clients[first] + NOISE // max(len(model), 1)
            while last < clients and schedule.clients[last + 1] <= most:
                last += 1
            self._privately(model, schedule, private, first, last, out[first:last])
            first = last

    def _privately(
        self, model: Vector, schedule: Schedule, private: Private, first: int, last: int, out: NDArray[np.float32]
    ) -> None:
        begin, end = schedule.clients[first], schedule.clients[last]
        noise = torch.empty((end - begin, len(model)))
        for client in range(first, last):
            own = noise[schedule.clients[client] - begin : schedule.clients[client + 1] - begin]
            for row in own:
                private.noise[client].fill(row)
            own *= private.multipliers[client] * private.clip
        train_dense_private(
            self._dense,
            self._step,
            x=self._x,
            y=self._y,
            model=model,
            schedule_rows=schedule.rows,
            schedule_steps=schedule.steps[begin : end + 1],
            schedule_clients=schedule.clients[first : last + 1] - begin,
            clip=private.clip,
            denominators=private.denominators[first:last],
            noise=noise.numpy(),
            out=out,
        )


def dense_network(network: Network, layout: Layout) -> Dense:
    """A network of linear layers with one activation between them, as the kernel takes it.

    Raises:
        Unstackable: it has other steps, branches, frozen layers or parameters in another order.
    """
    nodes = network.nodes
    if any(node.inputs != (number,) for number, node in enumerate(nodes)):
        raise Unstackable("it is no plain sequence of layers")
    steps = nodes[1:] if nodes and isinstance(nodes[0].op, Flatten) else nodes
    linear, between = steps[::2], steps[1::2]
    kinds = {type(node.op) for node in between}
    if not all(isinstance(node.op, Linear) and node.trained for node in linear) or len(linear) != len(between) + 1:
        raise Unstackable("it has other steps than linear layers with activations between them")
    if len(kinds) > 1 or not kinds <= set(ACTIVATIONS):
        raise Unstackable("its activations differ or are not known")
    names = tuple(name for node in linear for name in node.parameters)
    if names != layout.names:
        raise Unstackable("its parameters stand in another order than its layers")
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    weights = [shapes[node.parameters[0]] for node in linear]
    return Dense(
        widths=(weights[0][1], *(shape[0] for shape in weights)),
        activation=ACTIVATIONS[kinds.pop()] if kinds else "",
        biases=tuple(len(node.parameters) == 2 for node in linear),
    )
