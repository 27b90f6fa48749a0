"""Train dense networks client by client, each from its first step to its last while its parameters lie in cache.

A client's parameters, momentum and activations are small beside a round's: a batched product reads all clients' from
memory in every step, while one client's stay in the second-level cache. A layer's weights lie (outputs, inputs) as in
torch, or turned, so that the long side of its products lies along vector registers. Rows and biases are padded with
zeros, and padding stays zero in every step. Importing this file loads numba; it compiles nothing before the first call.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# numba infers the types of what it compiles; SIGNATURE states those of the way in.

import zlib
from pathlib import Path

import numpy as np
from numba import njit, types

from hedgerow.simulations.cohort.kernels.layout import difference, pad
from hedgerow.simulations.cohort.kernels.moves import copy
from hedgerow.simulations.cohort.kernels.passes import ARITHMETIC, back, cross_entropy, forward, inner
from hedgerow.simulations.cohort.kernels.products import first_step, next_step, step, store_products
from hedgerow.simulations.cohort.kernels.table import (
    BIAS,
    INPUTS,
    INPUTS_PADDED,
    LANES,
    OUTPUTS,
    OUTPUTS_PADDED,
    PADDED,
    RECORD,
    TURNED,
)

__all__ = ["SIGNATURE", "train"]

_F = np.float32

LARGEST = float(np.finfo(np.float32).max)
KEPT, PLAIN, FIRST, NEXT = range(4)  # what becomes of a layer's gradient


def _read(kind, dimensions):
    """A C-contiguous array that may be read only, so that one compilation serves all."""
    return types.Array(kind, dimensions, "C", readonly=True)


SIGNATURE = types.void(
    _read(types.int64, 2),  # the table of layers
    types.int64,  # the activation's place in ACTIVATIONS
    types.UniTuple(types.float64, 6),  # lr, momentum, weight decay, proximal, clip (0: none), Adam (0 or 1)
    _read(types.float32, 2),  # x
    _read(types.int64, 1),  # y
    _read(types.float32, 1),  # the model
    _read(types.int64, 1),  # the rows of all steps
    _read(types.int64, 1),  # where each step's rows begin, and their end
    _read(types.int64, 1),  # where each client's steps begin, and their end
    types.float64,  # the clip of a record's gradient; 0: no privacy
    _read(types.float64, 1),  # the clients' denominators
    _read(types.float32, 2),  # the steps' noise
    types.Array(types.float32, 2, "C"),  # out
)


@inner
def _zeros(count):
    """Zeros that begin at a cache line."""
    buffer = np.zeros(count + LANES, np.float32)
    first = (-buffer.ctypes.data // 4) % LANES
    return buffer[first : first + count]


@inner
def _square(values):
    """The squared length, in float64: it overflows for no float32."""
    square = 0.0
    for i in range(len(values)):
        square += np.float64(values[i]) * np.float64(values[i])
    return square


@inner
def _clip_records(layers, d, a, rows, room, clip):
    """Scale each record's part in the gradient so that all of it has length `clip` at most.

    A record's gradient by a layer's weights is the outer product of δ and its inputs, so its length is known without
    it: |δ| · |inputs| (Goodfellow, arXiv 1510.01799, sec. 4). A record whose squared length is not a finite float32 is
    taken out, as torch's norm would be infinite: its δ and its inputs become zero, as zero times infinity is not a
    number.
    """
    for r in range(rows):
        square = 0.0
        for layer in range(len(layers) - 1):
            it, after = layers[layer], layers[layer + 1][RECORD]
            at, then = it[RECORD] * room + r * it[INPUTS_PADDED], after * room + r * it[OUTPUTS_PADDED]
            inside = _square(a[at : at + it[INPUTS_PADDED]]) + it[BIAS]
            square += inside * _square(d[then : then + it[OUTPUTS_PADDED]])
        factor = _F(min(1.0, clip / (np.sqrt(square) + 1e-6)))
        for layer in range(len(layers) - 1):
            it, after = layers[layer], layers[layer + 1][RECORD]
            at = after * room + r * it[OUTPUTS_PADDED]
            delta = d[at : at + it[OUTPUTS_PADDED]]
            if square <= LARGEST:
                for i in range(len(delta)):
                    delta[i] *= factor
            else:
                delta[:] = 0.0
                at = it[RECORD] * room + r * it[INPUTS_PADDED]
                a[at : at + it[INPUTS_PADDED]] = 0.0


@inner
def _add_gradient(layers, layer, d, a, rows, room, one, way, g, p, source, speed, down, momentum):
    """A layer's gradient: kept in `g` (way 0), or used at once for a step: plain, first or next with momentum."""
    it = layers[layer]
    inputs, outputs = it[INPUTS_PADDED], it[OUTPUTS_PADDED]
    before, after = it[RECORD] * room, layers[layer + 1][RECORD] * room
    for part in range(1 + it[BIAS]):
        if part == 1:
            x, x_at, x_row, x_step, y, y_at, width = one, 0, 0, 0, d, after, outputs
            at, lines = layers[layer + 1][PADDED] - outputs, 1
        elif it[TURNED]:
            x, x_at, x_row, x_step, y, y_at, width = a, before, 1, inputs, d, after, outputs
            at, lines = it[PADDED], it[INPUTS]
        else:
            x, x_at, x_row, x_step, y, y_at, width = d, after, 1, outputs, a, before, inputs
            at, lines = it[PADDED], it[OUTPUTS]
        if way == KEPT:
            store_products(lines, x, x_at, x_row, x_step, y, y_at, width, rows, width, g, at)
        elif way == PLAIN:
            step(lines, x, x_at, x_row, x_step, y, y_at, width, rows, width, p, at, down, source)
        elif way == FIRST:
            first_step(lines, x, x_at, x_row, x_step, y, y_at, width, rows, width, p, at, down, source, speed)
        else:
            next_step(lines, x, x_at, x_row, x_step, y, y_at, width, rows, width, p, at, down, speed, momentum)


@inner
def _optimize(g, p, start, first, second, settings, t):
    """FedProx's pull, the clip of the whole gradient, weight decay and the optimiser's step number `t`, from 1."""
    lr, momentum, decay, proximal, clip, adam = settings
    pull, factor, shrink = _F(proximal), _F(1.0), _F(decay)
    if clip:
        for i in range(len(g)):
            g[i] += pull * (p[i] - start[i])
        fits = clip / (np.sqrt(_square(g)) + 1e-6)
        pull, factor = _F(0.0), _F(1.0) if fits >= 1.0 else _F(fits)
    if not adam:
        down, keep = _F(-lr), _F(momentum)
        for i in range(len(g)):
            first[i] = keep * first[i] + factor * g[i] + pull * (p[i] - start[i]) + shrink * p[i]
            p[i] += down * first[i]
        return
    down = _F(-lr / (1.0 - 0.9**t))
    scale = _F(1.0 / np.sqrt(1.0 - 0.999**t))
    for i in range(len(g)):
        slope = factor * g[i] + pull * (p[i] - start[i]) + shrink * p[i]
        first[i] += _F(1.0 - 0.9) * (slope - first[i])
        second[i] = _F(0.999) * second[i] + _F(1.0 - 0.999) * slope * slope
        p[i] += down * first[i] / (np.sqrt(second[i]) * scale + _F(1e-8))


@inner
def _largest(cuts):
    """The most rows between two neighbours."""
    most = 1
    for i in range(len(cuts) - 1):
        most = max(most, cuts[i + 1] - cuts[i])
    return most


def _with_cache(sources):
    """Compile, or load from disk. numba sees changes of this file alone, so the others' digest is part of the key."""

    @njit(fastmath=ARITHMETIC, error_model="numpy", nogil=True)
    def train(layers, kind, settings, x, y, model, rows, steps, clients, clip, denominators, noise, out):
        """out[j] = what training makes of the model at client j, minus the model; arguments as in SIGNATURE.

        Every index must be within its array: nothing is checked here.
        """
        if not sources:
            return
        last, numbers = len(layers) - 2, layers[len(layers) - 1][PADDED]
        inputs, across = layers[0][INPUTS], layers[0][INPUTS_PADDED]
        classes, wide, record = layers[last][OUTPUTS], layers[last][OUTPUTS_PADDED], layers[last + 1][RECORD]
        lr, momentum, decay, proximal, limit, adam = settings
        at_once = not (clip or decay or proximal or limit or adam)
        room = _largest(steps)
        start, p, first, one = _zeros(numbers), _zeros(numbers), _zeros(numbers), np.ones(1, np.float32)
        g, second = _zeros(0 if at_once else numbers), _zeros(numbers if adam else 0)
        drawn = _zeros(numbers if clip else 0)
        a, d = _zeros(room * (record + wide)), _zeros(room * (record + wide))
        z, records = record * room, x.reshape(-1)
        pad(layers, model, start)
        for client in range(len(clients) - 1):
            begin, end = clients[client], clients[client + 1]
            if begin == end:
                out[client] = 0.0
                continue
            if not at_once:
                copy(start, 0, p, 0, numbers)
                first[:] = 0.0
                second[:] = 0.0
                g[:] = 0.0  # what no layer writes stays zero
            for t in range(begin, end):
                taken = rows[steps[t] : steps[t + 1]]
                n = len(taken)
                source, way = p, KEPT
                if at_once:
                    source = start if t == begin else p
                    way = PLAIN if not momentum else FIRST if t == begin else NEXT
                for r in range(n):
                    copy(records, taken[r] * inputs, a, r * across, inputs)
                forward(layers, kind, source, a, n, room)
                copy(a, z, d, z, n * wide)
                cross_entropy(d[z : z + n * wide], y, taken, classes, wide, _F(1.0 if clip else 1.0 / n))
                if clip:
                    for layer in range(last, 0, -1):
                        back(layers, layer, kind, source, a, d, n, room)
                    _clip_records(layers, d, a, n, room, clip)
                for layer in range(last, -1, -1):
                    if layer and not clip:
                        back(layers, layer, kind, source, a, d, n, room)
                    _add_gradient(layers, layer, d, a, n, room, one, way, g, p, source, first, _F(-lr), _F(momentum))
                if clip:
                    pad(layers, noise[t], drawn)
                    denominator = _F(denominators[client])
                    for i in range(numbers):
                        g[i] = (g[i] + drawn[i]) / denominator
                if not at_once:
                    _optimize(g, p, start, first, second, settings, t - begin + 1)
            difference(layers, p, start, out[client])

    try:
        train.enable_caching()
    except RuntimeError:  # no folder to write to: every process compiles for itself
        pass
    return train


_OTHERS = ("layout", "moves", "passes", "products", "table", "vectors")
_SOURCES = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _OTHERS)

train = _with_cache(1 + zlib.crc32(_SOURCES))
