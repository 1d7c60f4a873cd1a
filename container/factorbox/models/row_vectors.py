"""Sums and steps over rows of factors in vectors of eight numbers: what the compiler would not do in a fixed order.

Plain loops leave it to the compiler how a sum is split, and to tests at run time whether rows lie far enough apart for
it. Here the order is written down: lane f of a vector holds the numbers f, f + 8, f + 16, … of a row; a remainder that
fills no vector is padded with zeros, and the lanes are added pairwise at the end. Products and sums may still be fused
where the processor can, so the last bits depend on its type, but neither on threads nor on addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir
import numba.core
import numba.extending

# None of them has complete annotations.
ir: Any = llvmlite.ir
cgutils: Any = numba.core.cgutils
types: Any = numba.core.types
intrinsic: Any = numba.extending.intrinsic

_LANES = 8
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)
_INT = ir.IntType(32)
_FUSED = ("contract",)


@intrinsic  # type: ignore[untyped-decorator]
def products_of_three(typingctx: Any, users: Any, user: Any, items: Any, i: Any, j: Any) -> Any:
    """Return w·h_i, w·h_j, h_i·h_j, |w|², |h_i|² and |h_j|² of three rows, float32 each.

    `users` and `items` are C-contiguous float32 matrices of the same width; w = users[user], h_i = items[i].
    """
    signature = types.UniTuple(types.float32, 6)(users, user, items, i, j)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, width = _rows(context, builder, signature, arguments, ((0, 1), (2, 3), (2, 4)))
        pairs = ((0, 1), (0, 2), (1, 2), (0, 0), (1, 1), (2, 2))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in pairs]

        def add(vectors: Sequence[Any]) -> list[Any]:
            for total, (a, b) in zip(sums, pairs, strict=True):
                product = builder.fmul(vectors[a], vectors[b], flags=_FUSED)
                builder.store(builder.fadd(builder.load(total), product, flags=_FUSED), total)
            return []

        _over_rows(builder, rows, width, add)
        results = _added_lanes(builder, [builder.load(total) for total in sums])
        return context.make_tuple(builder, signature.return_type, results)

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def product_of_two(typingctx: Any, users: Any, user: Any, items: Any, i: Any) -> Any:
    """Return w·h_i of two rows, float32; see `products_of_three`."""
    signature = types.float32(users, user, items, i)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, width = _rows(context, builder, signature, arguments, ((0, 1), (2, 3)))
        total = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None))

        def add(vectors: Sequence[Any]) -> list[Any]:
            product = builder.fmul(*vectors, flags=_FUSED)
            builder.store(builder.fadd(builder.load(total), product, flags=_FUSED), total)
            return []

        _over_rows(builder, rows, width, add)
        return _added_lanes(builder, [builder.load(total)])[0]

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def step_of_three(typingctx: Any, users: Any, user: Any, items: Any, i: Any, j: Any, factors: Any) -> Any:
    """Set w ← k₀w + k₁h_i + k₂h_j, h_i ← k₃h_i + k₄w, h_j ← k₅h_j + k₆w, all from the rows as they were.

    `factors` holds k, seven float32; for the rest see `products_of_three`.
    """
    signature = types.void(users, user, items, i, j, factors)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, width = _rows(context, builder, signature, arguments, ((0, 1), (2, 3), (2, 4)))
        k = [_everywhere(builder, value) for value in cgutils.unpack_tuple(builder, arguments[5], 7)]

        def scaled_sum(first: Any, a: Any, *others: tuple[Any, Any]) -> Any:
            total = builder.fmul(first, a, flags=_FUSED)
            for factor, vector in others:
                total = builder.fadd(total, builder.fmul(factor, vector, flags=_FUSED), flags=_FUSED)
            return total

        def moved(vectors: Sequence[Any]) -> list[Any]:
            w, h_i, h_j = vectors
            return [
                scaled_sum(k[0], w, (k[1], h_i), (k[2], h_j)),
                scaled_sum(k[3], h_i, (k[4], w)),
                scaled_sum(k[5], h_j, (k[6], w)),
            ]

        _over_rows(builder, rows, width, moved)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch_row(typingctx: Any, matrix: Any, row: Any) -> Any:
    """Ask for a row of a C-contiguous float32 matrix, which is read and written soon."""
    signature = types.void(matrix, row)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (start,), width = _rows(context, builder, signature, arguments, ((0, 1),))
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        per_line = ir.Constant(width.type, 16)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, per_line) as (f, _):
            address = builder.bitcast(builder.gep(start, [f]), pointer)
            builder.call(function, [address, ir.Constant(_INT, 1), ir.Constant(_INT, 3), ir.Constant(_INT, 1)])
        return context.get_dummy_value()

    return signature, generate


def _rows(
    context: Any, builder: Any, signature: Any, arguments: Any, wanted: Sequence[tuple[int, int]]
) -> tuple[list[Any], Any]:
    """Return a pointer to the start of each wanted row, (matrix, index) by argument, and their width."""
    starts, width = [], None
    for matrix, index in wanted:
        array = context.make_array(signature.args[matrix])(context, builder, arguments[matrix])
        width = cgutils.unpack_tuple(builder, array.shape, 2)[1]
        row = context.cast(builder, arguments[index], signature.args[index], types.intp)
        starts.append(builder.gep(array.data, [builder.mul(row, width)]))
    return starts, width


def _over_rows(builder: Any, starts: Sequence[Any], width: Any, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    """Hand the vectors of some rows to `work`, place by place; where it returns vectors they replace those."""
    lanes = ir.Constant(width.type, _LANES)
    whole = builder.and_(width, ir.Constant(width.type, -_LANES))
    vectors = [builder.bitcast(start, _VECTOR.as_pointer()) for start in starts]
    with cgutils.for_range(builder, builder.udiv(whole, lanes)) as loop:
        at = [builder.gep(vector, [loop.index]) for vector in vectors]
        replaced = work([builder.load(place, align=4) for place in at])
        for place, value in zip(at, replaced, strict=False):
            builder.store(value, place, align=4)
    with builder.if_then(builder.icmp_unsigned("<", whole, width), likely=False):
        rest = builder.sub(width, whole)
        padded = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in starts]
        for start, pad in zip(starts, padded, strict=True):
            _copy(builder, builder.gep(start, [whole]), builder.bitcast(pad, _FLOAT.as_pointer()), rest)
        replaced = work([builder.load(pad) for pad in padded])
        for start, pad, value in zip(starts, padded, replaced, strict=False):
            builder.store(value, pad)
            _copy(builder, builder.bitcast(pad, _FLOAT.as_pointer()), builder.gep(start, [whole]), rest)


def _copy(builder: Any, source: Any, target: Any, count: Any) -> None:
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(source, [loop.index])), builder.gep(target, [loop.index]))


def _everywhere(builder: Any, value: Any) -> Any:
    """Return a vector of one number."""
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INT, _LANES), [0] * _LANES))


def _added_lanes(builder: Any, vectors: Sequence[Any]) -> list[Any]:
    """Return the sum of the lanes of each vector, of four vectors at once."""
    sums: list[Any] = []
    for first in range(0, len(vectors), 4):
        some = vectors[first : first + 4]
        a, b, c, d = [*some, *[ir.Constant(_VECTOR, None)] * (4 - len(some))]
        # Neighbours within each half, twice over: (a b c d, a b c d); then the one half to the other.
        halves = _neighbours(builder, _neighbours(builder, a, b), _neighbours(builder, c, d))
        four = builder.fadd(_picked(builder, halves, halves, range(4)), _picked(builder, halves, halves, range(4, 8)))
        sums += [builder.extract_element(four, ir.Constant(_INT, lane)) for lane in range(len(some))]
    return sums


def _neighbours(builder: Any, a: Any, b: Any) -> Any:
    """Return (a₀ + a₁, a₂ + a₃, b₀ + b₁, b₂ + b₃, a₄ + a₅, …, b₆ + b₇)."""
    evens, odds = (0, 2, 8, 10, 4, 6, 12, 14), (1, 3, 9, 11, 5, 7, 13, 15)
    return builder.fadd(_picked(builder, a, b, evens), _picked(builder, a, b, odds))


def _picked(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT, len(lanes)), list(lanes)))
