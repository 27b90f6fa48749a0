"""Forward and backward through a dense network on a client's batch, on flat arrays with padded rows.

A layer is a row of `layer_table`. Activations lie region by region, one region a layer's inputs
or outputs, each with room for the same number of records, as do the gradients by them. Importing this file loads numba.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# numba infers the types of what it compiles.

import numpy as np
from numba import njit

from hedgerow.simulations.cohort.kernels.moves import copy, power_of_two
from hedgerow.simulations.cohort.kernels.products import add_dots, add_products
from hedgerow.simulations.cohort.kernels.table import (
    INPUTS,
    INPUTS_PADDED,
    OUTPUTS,
    OUTPUTS_PADDED,
    PADDED,
    RECORD,
    RELU,
    TANH,
    TURNED,
)

__all__ = ["ARITHMETIC", "back", "cross_entropy", "forward", "inner"]

# Sums may be reordered and fused; that a number is finite is never assumed. `inner` is for code that only other
# compiled code calls.
ARITHMETIC = {"reassoc", "contract", "nsz", "arcp"}
inner = njit(fastmath=ARITHMETIC, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_exactly = njit(fastmath={"contract"}, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_F = np.float32

PIECE = 64  # rows of weights


@_exactly
def _exp(x):
    """e^x to seven digits, between e^-87 and e^88; not a number stays so.

    Cody and Waite's reduction to |r| ≤ ln 2 / 2 in two parts, then r's series: its seventh term is below 2⁻²⁴.
    """
    x = _F(-87.0) if x < _F(-87.0) else x
    x = _F(88.0) if x > _F(88.0) else x
    bits = x * _F(1.4426950408889634) + _F(12582912.0)  # adding 1.5 · 2²³ rounds to a whole number
    n = bits - _F(12582912.0)
    r = x - n * _F(0.693359375)
    r = r + n * _F(2.12194440e-4)
    series = _F(1 / 5040)
    series = series * r + _F(1 / 720)
    series = series * r + _F(1 / 120)
    series = series * r + _F(1 / 24)
    series = series * r + _F(1 / 6)
    series = series * r + _F(0.5)
    series = series * r + _F(1.0)
    return (series * r + _F(1.0)) * power_of_two(bits)


@inner
def _activate(kind, h, rows, width, padded):
    """The activation of all of `h`, in place; padding is zero afterwards."""
    if kind == RELU:
        for i in range(rows * padded):
            h[i] = _F(0.0) if h[i] < _F(0.0) else h[i]
        return
    if kind == TANH:
        for i in range(rows * padded):
            e = _exp(_F(-2.0) * abs(h[i]))
            t = (_F(1.0) - e) / (_F(1.0) + e)
            h[i] = -t if h[i] < _F(0.0) else t
    else:
        for i in range(rows * padded):
            h[i] = _F(1.0) / (_F(1.0) + _exp(-h[i]))
    if width < padded:
        for row in range(rows):
            h[row * padded + width : (row + 1) * padded] = 0.0


@inner
def _deactivate(kind, delta, h):
    """delta times the activation's slope, which is known from its result h."""
    if kind == RELU:
        for i in range(len(delta)):
            delta[i] = _F(0.0) if h[i] <= _F(0.0) else delta[i]
    elif kind == TANH:
        for i in range(len(delta)):
            delta[i] *= _F(1.0) - h[i] * h[i]
    else:
        for i in range(len(delta)):
            delta[i] *= h[i] * (_F(1.0) - h[i])


@inner
def cross_entropy(z, y, taken, classes, padded, weight):
    """The logits become the loss's gradient by them, times `weight`: softmax minus one at the label."""
    for r in range(len(taken)):
        scores = z[r * padded : (r + 1) * padded]
        top = scores[0]
        for c in range(1, classes):
            top = scores[c] if scores[c] > top else top
        for c in range(padded):
            scores[c] = _exp(scores[c] - top)
        total = _F(0.0)
        for c in range(classes):
            total += scores[c]
        share = weight / total
        for c in range(padded):
            scores[c] *= share
        scores[classes:] = 0.0
        scores[y[taken[r]]] -= weight


@inner
def forward(layers, kind, p, a, rows, room):
    """Fill the outputs of every layer for the first `rows` records; their inputs are in place."""
    last = len(layers) - 2
    for layer in range(last + 1):
        it = layers[layer]
        inputs, outputs, across, width = it[INPUTS], it[OUTPUTS], it[INPUTS_PADDED], it[OUTPUTS_PADDED]
        before, after = it[RECORD] * room, layers[layer + 1][RECORD] * room
        for r in range(rows):
            copy(p, layers[layer + 1][PADDED] - width, a, after + r * width, width)
        if it[TURNED]:
            # Pieces of the weights that stay in the first-level cache while all records pass over them.
            for first in range(0, inputs, PIECE):
                count, weights = min(PIECE, inputs - first), it[PADDED] + first * width
                add_products(rows, a, before + first, across, 1, p, weights, width, count, width, a, after)
        else:
            for o in range(outputs):
                add_dots(rows, a, before, p, it[PADDED] + o * across, across, a, after + o, width)
        if layer < last:
            _activate(kind, a[after : after + rows * width], rows, outputs, width)


@inner
def back(layers, layer, kind, p, a, d, rows, room):
    """The loss's gradient by the sums that a layer's inputs are the activation of, from that by its own sums."""
    it = layers[layer]
    width, wide = it[INPUTS_PADDED], it[OUTPUTS_PADDED]
    before, after = it[RECORD] * room, layers[layer + 1][RECORD] * room
    delta = d[before : before + rows * width]
    delta[:] = 0.0
    if it[TURNED]:
        for i in range(it[INPUTS]):
            add_dots(rows, d, after, p, it[PADDED] + i * wide, wide, d, before + i, width)
    else:
        add_products(rows, d, after, wide, 1, p, it[PADDED], width, it[OUTPUTS], width, d, before)
    _deactivate(kind, delta, a[before : before + rows * width])
