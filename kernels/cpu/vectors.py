"""A vector type for Numba: one processor register of float32 or float64, held in a local variable.

LLVM makes vector code of simple loops by itself, but never keeps a block of partial sums in registers across a loop.
With these few functions a kernel says so in plain Python:

    total = zeros(x)
    for k in range(n):
        total = fma(splat(element(weight, k)), load(x, k * stride), total)
    store(y, 0, total)

`row` gives several vectors side by side, as many as the tuple that it is given has members: with

    total = row(bias, 0, FIVE)
    for k in range(n):
        total = fma(splat(element(x, k)), row(weight, k * stride, FIVE), total)

five registers are summed at a time. An array is indexed flat. `NUMBA_DISABLE_JIT=1` gives the same functions on NumPy
slices, for a debugger.

A vector is as wide as a register of this processor (`processor.py`).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

from scratchnet.kernels.cpu.processor import BYTES, REGISTERS


class Vector(types.Type):
    """`lanes` numbers of one type."""

    def __init__(self, element: types.Type, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        super().__init__(name=f"vector({element} x {lanes})")

    @property
    def key(self):
        return self.element, self.lanes


class Row(types.Type):
    """`count` vectors side by side."""

    def __init__(self, vector: Vector, count: int) -> None:
        self.vector, self.count = vector, count
        super().__init__(name=f"row({vector} x {count})")

    @property
    def key(self):
        return self.vector, self.count


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, ir.VectorType(manager[vector.element].get_value_type(), vector.lanes))


@register_model(Row)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager, row):
        super().__init__(manager, row, ir.ArrayType(manager[row.vector].get_value_type(), row.count))


def _vector_of(array: types.Array) -> Vector:
    if array.layout != "C":
        raise TypingError(f"{array}: an index is that of a number in memory, so none may be left out between two")
    return Vector(array.dtype, BYTES // (array.dtype.bitwidth // 8))


def _pointer(context, builder, signature, array, index, vector):
    """Where `array`'s element `index` lies; also tells LLVM to use the widest registers in this function."""
    # Without it, LLVM splits 64 bytes into two halves on processors that once slowed down on wide registers.
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')
    data = cgutils.create_struct_proxy(signature.args[0])(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), context.get_value_type(vector).as_pointer())


@intrinsic
def load(typingctx, array, index):
    """The vector that starts at array[index]."""
    vector = _vector_of(array)

    def codegen(context, builder, signature, args):
        value = builder.load(_pointer(context, builder, signature, *args, vector))
        value.align = array.dtype.bitwidth // 8
        return value

    return vector(array, types.intp), codegen


@intrinsic
def row(typingctx, array, index, like):
    """As many vectors from array[index] on as the tuple `like` has members."""
    vector = _vector_of(array)
    kind = Row(vector, len(like))

    def codegen(context, builder, signature, args):
        value = ir.Constant(context.get_value_type(kind), ir.Undefined)
        for i in range(kind.count):
            at = builder.add(args[1], ir.Constant(args[1].type, i * vector.lanes))
            part = builder.load(_pointer(context, builder, signature, args[0], at, vector))
            part.align = array.dtype.bitwidth // 8
            value = builder.insert_value(value, part, i)
        return value

    return kind(array, types.intp, like), codegen


@intrinsic
def row_at(typingctx, array, index, shifts, line, like):
    """As `row`, but vectors that lie apart: the i-th starts at array[index + shifts[line, i]]."""
    kind = Row(_vector_of(array), len(like))

    def codegen(context, builder, signature, args):
        value = ir.Constant(context.get_value_type(kind), ir.Undefined)
        for i, at in enumerate(_apart(context, builder, shifts, args[1:4], kind.count)):
            part = builder.load(_pointer(context, builder, signature, args[0], at, kind.vector))
            part.align = array.dtype.bitwidth // 8
            value = builder.insert_value(value, part, i)
        return value

    return kind(array, types.intp, shifts, types.intp, like), codegen


@intrinsic
def store_at(typingctx, array, index, shifts, line, value):
    """The row back to where `row_at` found it."""

    def codegen(context, builder, signature, args):
        places = _apart(context, builder, shifts, args[1:4], value.count)
        for at, part in zip(places, _parts(builder, value, args[4])):
            pointer = _pointer(context, builder, signature, args[0], at, value.vector)
            builder.store(part, pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, shifts, types.intp, value), codegen


def _apart(context, builder, kind, args, count):
    """index + shifts[line, i] for each of `count` vectors, which are all that a line of `shifts` tells of."""
    if (kind.ndim, kind.layout, kind.dtype) != (2, "C", types.intp):
        raise TypingError(f"{kind}: takes shifts (lines, vectors), one behind the other")
    index, shifts, line = args
    data = cgutils.create_struct_proxy(kind)(context, builder, shifts).data
    first = builder.mul(line, ir.Constant(line.type, count))
    places = (builder.add(first, ir.Constant(line.type, i)) for i in range(count))
    return [builder.add(index, builder.load(builder.gep(data, [place]))) for place in places]


@intrinsic
def store(typingctx, array, index, value):
    """array[index : index + lanes] = value, a vector or a row of them."""
    _vector_of(array)
    vector = value.vector if isinstance(value, Row) else value

    def codegen(context, builder, signature, args):
        for i, part in enumerate(_parts(builder, value, args[2])):
            at = builder.add(args[1], ir.Constant(args[1].type, i * vector.lanes))
            pointer = _pointer(context, builder, signature, args[0], at, vector)
            builder.store(part, pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _parts(builder, kind, value):
    """The vectors that a row is made of; a vector is made of itself."""
    return [builder.extract_value(value, i) for i in range(kind.count)] if isinstance(kind, Row) else [value]


@intrinsic
def zeros(typingctx, array):
    """A vector of zeros of the array's type."""
    vector = _vector_of(array)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(vector), None)

    return vector(array), codegen


@intrinsic
def splat(typingctx, value):
    """The vector whose lanes are all `value` (float32 or float64)."""
    vector = Vector(value, BYTES // (value.bitwidth // 8))

    def codegen(context, builder, signature, args):
        return _splat(builder, args[0], context.get_value_type(vector))

    return vector(value), codegen


@intrinsic
def element(typingctx, array, index):
    """array[index], not negative. Numba's own would count a negative index from the end: four instructions more."""
    _vector_of(array)

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Have the cache line of array[index], which may lie outside the array, brought into the second-level cache."""

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, *(ir.Constant(number, i) for i in (0, 2, 1))])  # to read; how near; data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def fma(typingctx, x, y, z):
    """x · y + z, rounded once; y and z may be rows."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(x)
        name = f"llvm.fma.v{x.lanes}f{x.element.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        if not isinstance(z, Row):
            return builder.call(function, args)
        value = ir.Constant(context.get_value_type(z), ir.Undefined)
        for i, (b, c) in enumerate(zip(_parts(builder, y, args[1]), _parts(builder, z, args[2]))):
            value = builder.insert_value(value, builder.call(function, [args[0], b, c]), i)
        return value

    return z(x, y, z), codegen


@intrinsic
def transpose(typingctx, array, index, step, out, to, out_step):
    """A square of lanes × lanes numbers: out[to + i · out_step + j] = array[index + j · step + i]."""
    vector = _vector_of(array)

    def codegen(context, builder, signature, args):
        source, index, step, target, to, out_step = args
        kind = ir.VectorType(ir.IntType(32), vector.lanes)
        rows = []
        for _ in range(vector.lanes):
            rows.append(builder.load(_pointer(context, builder, signature, source, index, vector)))
            rows[-1].align = array.dtype.bitwidth // 8
            index = builder.add(index, step)
        half = 1
        while half < vector.lanes:  # exchange the off-diagonal halves of squares of 2, 4, 8, …
            low = [i if not i & half else vector.lanes + i - half for i in range(vector.lanes)]
            high = [i + half if not i & half else vector.lanes + i for i in range(vector.lanes)]
            for i in range(vector.lanes):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i] = builder.shuffle_vector(*pair, ir.Constant(kind, low))
                    rows[i + half] = builder.shuffle_vector(*pair, ir.Constant(kind, high))
            half *= 2
        for value in rows:
            data = cgutils.create_struct_proxy(out)(context, builder, target).data
            pointer = builder.bitcast(builder.gep(data, [to]), value.type.as_pointer())
            builder.store(value, pointer).align = array.dtype.bitwidth // 8
            to = builder.add(to, out_step)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, out, types.intp, types.intp), codegen


@intrinsic
def splat_int(typingctx, like, value):
    """As many int32 lanes as `like` has, all `value`."""
    vector = Vector(types.int32, like.lanes)

    def codegen(context, builder, signature, args):
        return _splat(builder, builder.trunc(args[1], ir.IntType(32)), context.get_value_type(vector))

    return vector(like, types.intp), codegen


@intrinsic
def exceeds(typingctx, x, y):
    """Lane by lane: x > y, or x is NaN while y is not."""
    mask = Vector(types.boolean, x.lanes)

    def codegen(context, builder, signature, args):
        number = builder.fcmp_ordered("ord", args[1], args[1])
        return builder.and_(builder.fcmp_unordered(">", *args), number)

    return mask(x, y), codegen


@intrinsic
def where(typingctx, mask, x, y):
    """Lane by lane: x where the mask is set, else y."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return x(mask, x, y), codegen


@intrinsic
def load_int(typingctx, like, array, index):
    """As many numbers of an int16 or int32 array as `like` has lanes, from array[index] on, as int32."""
    vector = Vector(types.int32, like.lanes)

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[1]).data
        kind = ir.VectorType(data.type.pointee, like.lanes)
        value = builder.load(builder.bitcast(builder.gep(data, [args[2]]), kind.as_pointer()))
        value.align = array.dtype.bitwidth // 8
        return builder.sext(value, context.get_value_type(vector))

    return vector(like, array, types.intp), codegen


@intrinsic
def add(typingctx, x, y):
    """Lane by lane: x + y; a mask counts as 0 and 1."""

    def codegen(context, builder, signature, args):
        if y.element == types.boolean:
            return builder.add(args[0], builder.zext(args[1], context.get_value_type(x)))
        return (builder.fadd if isinstance(x.element, types.Float) else builder.add)(*args)

    return x(x, y), codegen


@intrinsic
def is_place(typingctx, x, other):
    """Lane by lane: x is not negative and differs from `other` (integers)."""
    mask = Vector(types.boolean, x.lanes)

    def codegen(context, builder, signature, args):
        zero = ir.Constant(context.get_value_type(x), None)
        return builder.and_(builder.icmp_signed(">=", args[0], zero), builder.icmp_signed("!=", *args))

    return mask(x, other), codegen


@intrinsic
def scatter(typingctx, array, index, value):
    """array[index[i]] = value[i] for every lane i."""

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        places = builder.gep(data, [args[1]], source_etype=data.type.pointee)
        places.type = ir.VectorType(data.type, value.lanes)
        mask = ir.Constant(ir.VectorType(ir.IntType(1), value.lanes), [1] * value.lanes)
        kind = context.get_value_type(value)
        letter = "f" if isinstance(value.element, types.Float) else "i"
        name = f"llvm.masked.scatter.v{value.lanes}{letter}{value.element.bitwidth}.v{value.lanes}p0"
        function = ir.FunctionType(ir.VoidType(), [kind, places.type, ir.IntType(32), mask.type])
        align = ir.Constant(ir.IntType(32), value.element.bitwidth // 8)
        builder.call(cgutils.get_or_insert_function(builder.module, function, name), [args[2], places, align, mask])
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def vectors_in(size: int) -> tuple[int, ...]:
    """What tells `row` to take as many vectors as there are in `size` bytes, or as fit the registers."""
    return (0,) * min(size // BYTES, REGISTERS - 4)


def lanes_of(dtype) -> int:
    """How many numbers of this dtype a vector holds."""
    return BYTES // np.dtype(dtype).itemsize


def _splat(builder, value, kind):
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


if config.DISABLE_JIT:  # the same, for a debugger
    from scratchnet.kernels.cpu.plain_vectors import *  # noqa: F403
