"""Products of matrices, and the optimiser's steps that use one up on the spot.

A matrix is a flat array and the index of its first number; its rows hold a multiple of `LANES` numbers, so that no loop
has a rest. A result depends on nothing but the numbers that go into it. Importing this file loads numba.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# The functions are called by numba's compiler with its own objects, which have no types.

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hedgerow.simulations.cohort.kernels.table import LANES
from hedgerow.simulations.cohort.kernels.vectors import (
    FLOAT,
    INDEX,
    VECTOR,
    ZERO,
    data,
    everywhere,
    number,
    places,
    plus_product,
    put,
    summed,
    tiled,
    vector,
)

__all__ = ["add_dots", "add_products", "first_step", "next_step", "step", "store_products"]


def _products(start, finish):
    """Code for a product of matrices whose tiles begin with `start(…)` and are put away by `finish(…)`.

    The intrinsic's first arguments are: rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at.
    """

    def generate(context, builder, signature, args):
        rows, _, a_at, a_row, a_step, _, b_at, b_step, count, width, _, to_at, *more = args
        a, b, to = (data(context, builder, signature, args, position) for position in (1, 5, 10))
        more = [
            data(context, builder, signature, args, position)
            if isinstance(kind, types.Array)
            else everywhere(builder, args[position])
            for position, kind in enumerate(signature.args)
            if position >= len(args) - len(more)
        ]
        zero, lanes = width.type(0), width.type(LANES)

        def tile(first, size):
            line = builder.add(a_at, builder.mul(first, a_row))
            place = builder.add(to_at, builder.mul(first, width))
            with cgutils.for_range_slice(builder, zero, width, lanes, width.type) as (column, _):
                spots = places(builder, builder.add(place, column), width, size)
                beginning = builder.add(b_at, column)

                def term(k, totals):
                    columns = vector(builder, b, builder.add(beginning, builder.mul(k, b_step)))
                    factors = places(builder, builder.add(line, builder.mul(k, a_step)), a_row, size)
                    return [
                        plus_product(builder, total, everywhere(builder, number(builder, a, factor)), columns)
                        for total, factor in zip(totals, factors, strict=True)
                    ]

                totals = summed(builder, [start(builder, to, place) for place in spots], count, term)
                for total, place in zip(totals, spots, strict=True):
                    finish(builder, total, to, place, *more)

        tiled(builder, rows, tile)

    return generate


def _signature(a, b, to, *more):
    return types.void(INDEX, a, *[INDEX] * 3, b, *[INDEX] * 4, to, INDEX, *more)


@intrinsic
def add_products(_, rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at):
    """to[i] += Σ_k a[i, k] · b[k] for rows i of `width` columns, k below `count`.

    a[i, k] lies at a_at + i · a_row + k · a_step, b[k] begins at b_at + k · b_step, to[i] at to_at + i · width.
    """
    return _signature(a, b, to), _products(vector, put)


@intrinsic
def store_products(_, rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at):
    """to[i] = Σ_k a[i, k] · b[k]; places as for `add_products`."""
    return _signature(a, b, to), _products(lambda *_: ZERO, put)


@intrinsic
def step(_, rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at, down, source):
    """to[i] = source[i] + down · gradient, gradient = Σ_k a[i, k] · b[k]; `down` is minus the learning rate.

    `source` has the places of `to`, and may be it.
    """

    def finish(builder, gradient, to, place, down, source):
        put(builder, plus_product(builder, vector(builder, source, place), down, gradient), to, place)

    return _signature(a, b, to, types.float32, source), _products(lambda *_: ZERO, finish)


@intrinsic
def first_step(_, rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at, down, source, speed):
    """`step` that leaves its gradient in `speed`, whose places are those of `to`."""

    def finish(builder, gradient, to, place, down, source, speed):
        put(builder, gradient, speed, place)
        put(builder, plus_product(builder, vector(builder, source, place), down, gradient), to, place)

    return _signature(a, b, to, types.float32, source, speed), _products(lambda *_: ZERO, finish)


@intrinsic
def next_step(_, rows, a, a_at, a_row, a_step, b, b_at, b_step, count, width, to, to_at, down, speed, momentum):
    """speed[i] = momentum · speed[i] + gradient, then to[i] += down · speed[i]."""

    def finish(builder, gradient, to, place, down, speed, momentum):
        fresh = plus_product(builder, gradient, momentum, vector(builder, speed, place))
        put(builder, fresh, speed, place)
        put(builder, plus_product(builder, vector(builder, to, place), down, fresh), to, place)

    return _signature(a, b, to, types.float32, speed, types.float32), _products(lambda *_: ZERO, finish)


@intrinsic
def add_dots(_, rows, a, a_at, b, b_at, width, to, to_at, to_row):
    """to[i] += Σ_c a[i, c] · b[c] over `width` columns, for rows i of a: one number a row.

    a[i] begins at a_at + i · width, b at b_at, to[i] lies at to_at + i · to_row.
    """

    def generate(context, builder, signature, args):
        rows, _, a_at, _, b_at, width, _, to_at, to_row = args
        a, b, to = (data(context, builder, signature, args, position) for position in (1, 3, 6))
        kind = ir.FunctionType(FLOAT, [FLOAT, VECTOR])
        total_of = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")

        def tile(first, size):
            lines = places(builder, builder.add(a_at, builder.mul(first, width)), width, size)

            def term(k, totals):
                along = builder.mul(k, k.type(LANES))
                shared = vector(builder, b, builder.add(b_at, along))
                return [
                    plus_product(builder, total, vector(builder, a, builder.add(line, along)), shared)
                    for line, total in zip(lines, totals, strict=True)
                ]

            totals = summed(builder, [ZERO] * size, builder.sdiv(width, width.type(LANES)), term)
            spots = places(builder, builder.add(to_at, builder.mul(first, to_row)), to_row, size)
            for total, place in zip(totals, spots, strict=True):
                place = builder.gep(to, [place])
                builder.store(builder.call(total_of, [builder.load(place), total], fastmath=("reassoc",)), place)

        tiled(builder, rows, tile)

    return types.void(INDEX, a, INDEX, b, *[INDEX] * 2, to, *[INDEX] * 2), generate
