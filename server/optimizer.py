"""The server optimiser: how an aggregated update moves the global model.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021, Algorithm 2 (FedAdagrad, FedAdam, FedYogi; without bias
correction, as there), and Hsu et al., "Measuring the Effects of Non-Identical Data Distribution", 2019 (FedAvgM).
The aggregate plays the part of the negative gradient.
"""

from collections.abc import Mapping

import numpy as np

from hedgerow.job import Server
from hedgerow.update import Vector

__all__ = ["first_state", "server_step"]

State = Mapping[str, np.ndarray]


def first_state(settings: Server, size: int) -> dict[str, np.ndarray]:
    """The optimiser's memory before the first round: (size,) vectors by name, none for plain averaging."""
    if settings.optimizer == "avg":
        return {}
    memory = {"m": np.zeros(size, np.float32)}
    if settings.optimizer != "avgm":
        memory["v"] = np.full(size, settings.tau**2, np.float32)
    return memory


def server_step(
    settings: Server, model: Vector, aggregate: Vector, state: State
) -> tuple[Vector, dict[str, np.ndarray]]:
    """The next model (d,) and the next memory; nothing is changed in place.

    >>> from hedgerow.job import Server
    >>> import numpy as np
    >>> model, memory = server_step(Server(), np.zeros(2, np.float32), np.ones(2, np.float32), {})
    >>> model.tolist(), memory
    ([1.0, 1.0], {})
    """
    rate = np.float32(settings.learning_rate)
    if settings.optimizer == "avg":
        return model + rate * aggregate, {}
    beta1 = np.float32(settings.momentum)
    if settings.optimizer == "avgm":
        moment = beta1 * state["m"] + aggregate
        return model + rate * moment, {"m": moment}
    moment = beta1 * state["m"] + (1 - beta1) * aggregate
    square, beta2 = aggregate * aggregate, np.float32(settings.beta2)
    if settings.optimizer == "adagrad":
        spread = state["v"] + square
    elif settings.optimizer == "adam":
        spread = beta2 * state["v"] + (1 - beta2) * square
    else:
        spread = state["v"] - (1 - beta2) * square * np.sign(state["v"] - square)
    return model + rate * moment / (np.sqrt(spread) + np.float32(settings.tau)), {"m": moment, "v": spread}
