"""Vector registers: sixteen numbers at a time, and tiles of sums that stay in registers while a loop walks over terms.

A tile is up to six rows of sixteen numbers, which fits the registers of AVX2 as well as those of AVX-512 and NEON (Van
Zee and van de Geijn, "BLIS: A framework for rapidly instantiating BLAS functionality", ACM TOMS 2015, sec. 4). A
compiler finds such loops only by luck, so they are given to it as vector instructions: the functions here write LLVM's
code, called by numba's compiler. Nothing assumes that numbers are finite. Importing this file loads numba.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator"
# The arguments are numba's and llvmlite's own objects, which have no types.

from llvmlite import ir
from numba import types
from numba.core import cgutils

from hedgerow.simulations.cohort.kernels.table import LANES

__all__ = [
    "FLOAT",
    "INDEX",
    "VECTOR",
    "WORD",
    "ZERO",
    "data",
    "everywhere",
    "number",
    "places",
    "plus_product",
    "put",
    "summed",
    "tiled",
    "vector",
]

TILE = 6  # rows of a tile at most

FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
WORD = ir.IntType(32)
INDEX = types.intp
ZERO = ir.Constant(VECTOR, None)
_NOTHING = ir.Constant(VECTOR, ir.Undefined)


def data(context, builder, signature, args, position):
    """Where the array begins that is the intrinsic's argument at `position`."""
    return context.make_array(signature.args[position])(context, builder, args[position]).data


def number(builder, array, index):
    return builder.load(builder.gep(array, [index]))


def vector(builder, array, index):
    return builder.load(builder.bitcast(builder.gep(array, [index]), VECTOR.as_pointer()), align=4)


def put(builder, vector, array, index):
    builder.store(vector, builder.bitcast(builder.gep(array, [index]), VECTOR.as_pointer()), align=4)


def everywhere(builder, number):
    """A vector of one number."""
    first = builder.insert_element(_NOTHING, number, WORD(0))
    return builder.shuffle_vector(first, _NOTHING, ir.Constant(ir.VectorType(WORD, LANES), None))


def plus_product(builder, total, a, b):
    """total + a · b, rounded once where the processor can."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
    return builder.call(function, [a, b, total])


def _as_written(builder, jump):
    """Keep the loop that `jump` closes from being unrolled: its body fills the registers as it is."""
    never = builder.module.add_metadata([ir.MetaDataString(builder.module, "llvm.loop.unroll.disable")])
    loop = builder.module.add_metadata([never])
    loop.operands = (loop, never)  # LLVM tells loops apart by nodes that begin with themselves
    jump.set_metadata("llvm.loop", loop)


def summed(builder, start, count, term):
    """The vectors `start` after `term(k, vectors)` for every k below `count`; they stay in registers meanwhile."""
    before, head = builder.block, builder.append_basic_block("sum")
    body, after = builder.append_basic_block("sum.term"), builder.append_basic_block("sum.end")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(count.type)
    k.add_incoming(count.type(0), before)
    totals = [builder.phi(VECTOR) for _ in start]
    builder.cbranch(builder.icmp_signed("<", k, count), body, after)
    builder.position_at_end(body)
    fresh = term(k, totals)
    k.add_incoming(builder.add(k, count.type(1)), builder.block)
    for total, first, value in zip(totals, start, fresh, strict=True):
        total.add_incoming(first, before)
        total.add_incoming(value, builder.block)
    _as_written(builder, builder.branch(head))
    builder.position_at_end(after)
    return totals


def tiled(builder, rows, tile):
    """Cover `rows` rows with tiles of one to six: `tile(first row, number of rows)` writes the code for one of them.

    Seven and eight rows are four and a rest, as a tile of one or two waits for its own sums most of the time.
    """
    index = rows.type
    first = cgutils.alloca_once_value(builder, index(0))
    head, choose = builder.append_basic_block("tile"), builder.append_basic_block("tile.choose")
    after = builder.append_basic_block("tile.end")
    builder.branch(head)
    builder.position_at_end(head)
    left = builder.sub(rows, builder.load(first))
    builder.cbranch(builder.icmp_signed(">", left, index(0)), choose, after)
    builder.position_at_end(choose)
    whole, four = builder.append_basic_block("tile.6"), builder.append_basic_block("tile.4")
    switch = builder.switch(left, whole)
    for size in range(1, TILE + 1):
        block = {TILE: whole, 4: four}.get(size) or builder.append_basic_block(f"tile.{size}")
        for case in {4: (4, 7, 8), TILE: ()}.get(size, (size,)):
            switch.add_case(index(case), block)
        builder.position_at_end(block)
        at = builder.load(first)
        tile(at, size)
        builder.store(builder.add(at, index(size)), first)
        builder.branch(head)
    builder.position_at_end(after)


def places(builder, at, row, rows):
    """The beginnings of a tile's rows: `at`, `at + row`, …"""
    places = [at]
    for _ in range(rows - 1):
        places.append(builder.add(places[-1], row))
    return places
