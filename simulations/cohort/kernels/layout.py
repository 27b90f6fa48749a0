"""Parameters between torch's flat order and the padded, sometimes turned layout of the compiled code.

Importing this file loads numba.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# numba infers the types of what it compiles.

from hedgerow.simulations.cohort.kernels.moves import copy, turn, turn_difference
from hedgerow.simulations.cohort.kernels.passes import inner
from hedgerow.simulations.cohort.kernels.table import (
    BIAS,
    FLAT,
    INPUTS,
    INPUTS_PADDED,
    LANES,
    OUTPUTS,
    OUTPUTS_PADDED,
    PADDED,
    TURNED,
)

__all__ = ["difference", "pad"]


@inner
def pad(layers, flat, padded):
    """Flat parameters, in torch's order, into the padded layout."""
    for layer in range(len(layers) - 1):
        it = layers[layer]
        inputs, outputs, at, to = it[INPUTS], it[OUTPUTS], it[FLAT], it[PADDED]
        across, down = it[INPUTS_PADDED], it[OUTPUTS_PADDED]
        if it[TURNED]:
            whole, square = outputs // LANES * LANES, inputs // LANES * LANES
            for o in range(0, whole, LANES):
                for i in range(0, square, LANES):
                    turn(flat, at + o * inputs + i, inputs, padded, to + i * down + o, down)
            for o in range(outputs):
                for i in range(square if o < whole else 0, inputs):
                    padded[to + i * down + o] = flat[at + o * inputs + i]
        else:
            for o in range(outputs):
                copy(flat, at + o * inputs, padded, to + o * across, inputs)
        if it[BIAS]:
            copy(flat, at + outputs * inputs, padded, layers[layer + 1][PADDED] - down, outputs)


@inner
def difference(layers, p, start, out):
    """What training changed, back from the padded layout into torch's order."""
    for layer in range(len(layers) - 1):
        it = layers[layer]
        inputs, outputs, to, at = it[INPUTS], it[OUTPUTS], it[FLAT], it[PADDED]
        across, down = it[INPUTS_PADDED], it[OUTPUTS_PADDED]
        if it[TURNED]:
            whole, square = outputs // LANES * LANES, inputs // LANES * LANES
            for o in range(0, whole, LANES):
                for i in range(0, square, LANES):
                    turn_difference(p, start, at + i * down + o, down, out, to + o * inputs + i, inputs)
            for o in range(outputs):
                for i in range(square if o < whole else 0, inputs):
                    out[to + o * inputs + i] = p[at + i * down + o] - start[at + i * down + o]
        else:
            for o in range(outputs):
                _subtract(p, start, at + o * across, out, to + o * inputs, inputs)
        if it[BIAS]:
            _subtract(p, start, layers[layer + 1][PADDED] - down, out, to + outputs * inputs, outputs)


@inner
def _subtract(p, start, at, out, to, count):
    trained, before, result = p[at : at + count], start[at : at + count], out[to : to + count]
    for i in range(count):
        result[i] = trained[i] - before[i]
