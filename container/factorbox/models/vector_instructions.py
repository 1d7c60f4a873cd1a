"""Vectors of eight numbers inside kernels, as numba intrinsics.

The compiler turns plain loops into vectors too, but chooses the order of every sum itself, and never asks for memory
ahead of its use. Here both stand in the code: each intrinsic is one instruction or a few, whatever is around it, so
that a kernel made of them gives the same bits wherever its arrays lie.

Arrays are named by the address of their first element and offsets in bytes; nothing checks bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

LANES = 8
"""Numbers in a vector."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)

Emitted = tuple[Any, Callable[..., Any]]
"""What an intrinsic answers numba with: its signature and the function that emits its code."""


def intrinsic(*, prefer_literal: bool = False) -> Callable[[Callable[..., Emitted]], Any]:
    """Make an instruction of kernels of a function that is given the types of the arguments."""
    decorator: Callable[[Callable[..., Emitted]], Any] = extending.intrinsic(prefer_literal=prefer_literal)
    return decorator


class Vector(types.Type):
    """numba's type of a variable that holds a vector; never part of an array or a Python object."""

    def __init__(self, name: str, *, number: Any, element: Any) -> None:
        super().__init__(name)
        self.number = number
        self.llvm = ir.VectorType(element, LANES)


SINGLE = Vector("Float32x8", number=types.float32, element=ir.FloatType())
DOUBLE = Vector("Float64x8", number=types.float64, element=ir.DoubleType())


@extending.register_model(Vector)
class _VectorModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)  # type: ignore[no-untyped-call]


def _emit(result: Any, arguments: tuple[Any, ...], code: Callable[[Any, Any], Any]) -> Emitted:
    """Return what an intrinsic answers with: `code` gets the builder and the values of the arguments."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = code(builder, values)
        return context.get_dummy_value() if result is types.void else value

    return result(*arguments), generate


def _call(builder: Any, name: str, kind: Any, values: list[Any]) -> Any:
    """Call an intrinsic function of LLVM."""
    get: Callable[..., Any] = cgutils.get_or_insert_function
    return builder.call(get(builder.module, kind, name), values)


def _lanes(*numbers: int) -> Any:
    return ir.Constant(ir.VectorType(_I32, len(numbers)), list(numbers))


def _read(builder: Any, address: Any, kind: Any, *, element_bytes: int) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = element_bytes
    return value


def _repeated(builder: Any, vector: Any, lane: int) -> Any:
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), _lanes(*[lane] * LANES))


def _splat(builder: Any, number: Any, kind: Any) -> Any:
    return _repeated(builder, builder.insert_element(ir.Constant(kind, ir.Undefined), number, _I32(0)), 0)


@intrinsic()
def address_of(_: Any, array: Any) -> Emitted:
    """Return where the first element of an array lies, as int64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), generate


@intrinsic()
def index_at(_: Any, address: Any) -> Emitted:
    """Read an int32 as int64."""

    def code(builder: Any, values: Any) -> Any:
        return builder.sext(_read(builder, values[0], _I32, element_bytes=4), _I64)

    return _emit(types.int64, (types.int64,), code)


@intrinsic()
def load(_: Any, address: Any) -> Emitted:
    """Read eight float32."""
    return _emit(
        SINGLE, (types.int64,), lambda builder, values: _read(builder, values[0], SINGLE.llvm, element_bytes=4)
    )


@intrinsic()
def load_double(_: Any, address: Any) -> Emitted:
    """Read eight float64."""
    return _emit(
        DOUBLE, (types.int64,), lambda builder, values: _read(builder, values[0], DOUBLE.llvm, element_bytes=8)
    )


@intrinsic()
def store(_: Any, address: Any, vector: Any) -> Emitted:
    """Write eight numbers."""

    def code(builder: Any, values: Any) -> None:
        written = builder.store(values[1], builder.inttoptr(values[0], vector.llvm.as_pointer()))
        written.align = 4 if vector is SINGLE else 8

    return _emit(types.void, (types.int64, vector), code)


@intrinsic()
def prefetch(_: Any, address: Any) -> Emitted:
    """Ask for the cache line at an address, which need not exist."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])

    def code(builder: Any, values: Any) -> None:
        # To read; into every level of cache; data.
        _call(builder, "llvm.prefetch.p0", kind, [builder.inttoptr(values[0], pointer), _I32(0), _I32(3), _I32(1)])

    return _emit(types.void, (types.int64,), code)


@intrinsic()
def splat(_: Any, number: Any) -> Emitted:
    """Repeat a float32 or a float64."""
    kind = SINGLE if number == types.float32 else DOUBLE
    return _emit(kind, (kind.number,), lambda builder, values: _splat(builder, values[0], kind.llvm))


@intrinsic(prefer_literal=True)
def repeat(_: Any, vector: Any, lane: Any) -> Emitted:
    """Repeat one lane of a vector; the lane is a literal."""
    return _emit(vector, (vector, lane), lambda builder, values: _repeated(builder, values[0], int(lane.literal_value)))


@intrinsic()
def widened(_: Any, vector: Any) -> Emitted:
    """Turn float32 into float64."""
    return _emit(DOUBLE, (SINGLE,), lambda builder, values: builder.fpext(values[0], DOUBLE.llvm))


@intrinsic()
def narrowed(_: Any, vector: Any) -> Emitted:
    """Round float64 to float32."""
    return _emit(SINGLE, (DOUBLE,), lambda builder, values: builder.fptrunc(values[0], SINGLE.llvm))


def _binary(instruction: str) -> Any:
    @intrinsic()
    def operation(_: Any, a: Any, b: Any) -> Emitted:
        return _emit(a, (a, a), lambda builder, values: getattr(builder, instruction)(*values))

    return operation


add, subtract, multiply, divide = (_binary(instruction) for instruction in ("fadd", "fsub", "fmul", "fdiv"))
"""Arithmetic of two vectors, lane by lane."""


@intrinsic()
def multiply_add(_: Any, a: Any, b: Any, c: Any) -> Emitted:
    """Return a b + c, rounded once where the processor can."""
    kind = ir.FunctionType(a.llvm, [a.llvm] * 3)
    name = "llvm.fmuladd.v8f32" if a is SINGLE else "llvm.fmuladd.v8f64"
    return _emit(a, (a, a, a), lambda builder, values: _call(builder, name, kind, values))


@intrinsic()
def lane_sum(_: Any, vector: Any) -> Emitted:
    """Add up the lanes of a vector in float64."""

    def code(builder: Any, values: Any) -> Any:
        wide = builder.fpext(values[0], DOUBLE.llvm) if vector is SINGLE else values[0]
        undefined = ir.Constant(DOUBLE.llvm, ir.Undefined)
        for distance in (4, 2, 1):
            moved = builder.shuffle_vector(wide, undefined, _lanes(*((i + distance) % LANES for i in range(LANES))))
            wide = builder.fadd(wide, moved)
        return builder.extract_element(wide, _I32(0))

    return _emit(types.float64, (vector,), code)


@intrinsic()
def lane_sums(_: Any, a0: Any, a1: Any, a2: Any, a3: Any, a4: Any, a5: Any, a6: Any, a7: Any) -> Emitted:
    """Return the vector whose lane j is the sum of the lanes of a_j."""

    def code(builder: Any, values: Any) -> Any:
        def paired(vectors: list[Any], low: Any, high: Any) -> list[Any]:
            return [
                builder.fadd(builder.shuffle_vector(x, y, low), builder.shuffle_vector(x, y, high))
                for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]

        # Each step adds two halves of every sum and joins two vectors; the first two stay within 16 bytes.
        twos = paired(list(values), _lanes(0, 8, 1, 9, 4, 12, 5, 13), _lanes(2, 10, 3, 11, 6, 14, 7, 15))
        fours = paired(twos, _lanes(0, 1, 8, 9, 4, 5, 12, 13), _lanes(2, 3, 10, 11, 6, 7, 14, 15))
        return paired(fours, _lanes(0, 1, 2, 3, 8, 9, 10, 11), _lanes(4, 5, 6, 7, 12, 13, 14, 15))[0]

    return _emit(a0, (a0,) * LANES, code)
