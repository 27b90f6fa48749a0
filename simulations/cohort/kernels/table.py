"""What the compiled code is told about a network: one row of numbers a layer. This file does not need numba."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "ACTIVATIONS",
    "BIAS",
    "FLAT",
    "INPUTS",
    "INPUTS_PADDED",
    "LANES",
    "OUTPUTS",
    "OUTPUTS_PADDED",
    "PADDED",
    "RECORD",
    "RELU",
    "TANH",
    "TURNED",
    "layer_table",
]

LANES = 16  # numbers in a vector register; every row of the compiled code's matrices is a multiple of them

ACTIVATIONS = ("", "relu", "tanh", "sigmoid")
RELU, TANH = ACTIVATIONS.index("relu"), ACTIVATIONS.index("tanh")

# A layer's sizes, the same padded, whether its weights lie turned and whether it has a bias; then where it begins among
# the flat parameters, among the padded ones, and where its inputs begin among a record's padded activations.
INPUTS, OUTPUTS, INPUTS_PADDED, OUTPUTS_PADDED, TURNED, BIAS, FLAT, PADDED, RECORD = range(9)


def layer_table(widths: tuple[int, ...], biases: tuple[bool, ...]) -> npt.NDArray[np.int64]:
    """The table of a network's layers, and a last row in which only the three beginnings are set: their ends.

    Weights lie turned, (inputs, outputs), where fewer products then end in a sum across a vector register.

    >>> layer_table((64, 128, 10), (True, True))[:, [TURNED, FLAT, PADDED, RECORD]].tolist()
    [[1, 0, 0, 0], [0, 8320, 8320, 64], [0, 9610, 9616, 192]]
    """
    table = np.zeros((len(widths), 9), np.int64)
    flat = padded = record = 0
    for layer, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        across, down = _padded(inputs), _padded(outputs)
        turned = outputs >= LANES and (layer == 0 or outputs > inputs)
        table[layer] = inputs, outputs, across, down, turned, biases[layer], flat, padded, record
        flat += outputs * (inputs + biases[layer])
        padded += (inputs * down if turned else outputs * across) + down
        record += across
    table[-1, [FLAT, PADDED, RECORD]] = flat, padded, record
    return table


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES
