"""Numbers moved as they are: copies, transposes of sixteen by sixteen, and bits taken for an exponent.

Matrices lie as in `products`. Importing this file loads numba.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# The functions are called by numba's compiler with its own objects, which have no types.

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hedgerow.simulations.cohort.kernels.table import LANES
from hedgerow.simulations.cohort.kernels.vectors import FLOAT, INDEX, WORD, data, places, put, vector

__all__ = ["copy", "power_of_two", "turn", "turn_difference"]


def _turn(builder, rows, to, to_at, to_row):
    """Sixteen vectors become the columns of sixteen rows of `to`."""
    # Four rounds of interleaving row i with row i + 8: each moves one bit of the column's number into the row's.
    low = [lane // 2 + lane % 2 * LANES for lane in range(LANES)]
    halves = [ir.Constant(ir.VectorType(WORD, LANES), [lane + half for lane in low]) for half in (0, LANES // 2)]
    for _ in range(4):
        pairs = zip(rows[: LANES // 2], rows[LANES // 2 :], strict=True)
        rows = [builder.shuffle_vector(one, other, half) for one, other in pairs for half in halves]
    for row, place in zip(rows, places(builder, to_at, to_row, LANES), strict=True):
        put(builder, row, to, place)


@intrinsic
def turn(_, a, a_at, a_row, to, to_at, to_row):
    """Sixteen rows of sixteen columns of `a` become columns and rows of `to`."""

    def generate(context, builder, signature, args):
        a, to = (data(context, builder, signature, args, position) for position in (0, 3))
        _, at, row, _, to_at, to_row = args
        _turn(builder, [vector(builder, a, place) for place in places(builder, at, row, LANES)], to, to_at, to_row)

    return types.void(a, *[INDEX] * 2, to, *[INDEX] * 2), generate


@intrinsic
def turn_difference(_, a, minus, a_at, a_row, to, to_at, to_row):
    """`turn` for a - minus, whose places are the same."""

    def generate(context, builder, signature, args):
        a, minus, to = (data(context, builder, signature, args, position) for position in (0, 1, 4))
        _, _, at, row, _, to_at, to_row = args
        spots = places(builder, at, row, LANES)
        rows = [builder.fsub(vector(builder, a, place), vector(builder, minus, place)) for place in spots]
        _turn(builder, rows, to, to_at, to_row)

    return types.void(a, minus, *[INDEX] * 2, to, *[INDEX] * 2), generate


@intrinsic
def copy(_, a, a_at, to, to_at, count):
    """to[to_at + i] = a[a_at + i] for i below `count`."""

    def generate(context, builder, signature, args):
        a, to = (data(context, builder, signature, args, position) for position in (0, 2))
        size = builder.mul(args[4], args[4].type(4))
        cgutils.raw_memcpy(builder, builder.gep(to, [args[3]]), builder.gep(a, [args[1]]), size, 1)

    return types.void(a, INDEX, to, *[INDEX] * 2), generate


@intrinsic
def power_of_two(_, bits):
    """2ⁿ from a float32 that holds n + 1.5 · 2²³, for -126 ≤ n ≤ 127: its last bits, moved to the exponent's place."""

    def generate(context, builder, signature, args):
        word = builder.shl(builder.bitcast(args[0], WORD), WORD(23))
        return builder.bitcast(builder.add(word, WORD(127 << 23)), FLOAT)

    return types.float32(types.float32), generate
