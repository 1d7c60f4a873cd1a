"""Products in explicit vectors: a tile of items by a panel of users, and the fixed-order score.

Users stand side by side in the lanes of vectors, a panel of `LANES` of them, and each item's factors are spread over
all lanes one by one: so items are read row after row, as they lie in a table, and only the users are laid out anew.
`_ROWS` items are multiplied at once because so many sums fit into the registers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from factorbox.kernels import kernel
from factorbox.models.vector_instructions import address_of, prefetch

# numba's own annotations stop half way.
_config: Any = numba.config
_code: Any = cgutils
_intrinsic: Any = intrinsic

_WIDTH, _VECTORS, _ROWS = (16, 2, 12) if _config.CPU_NAME == "x86-64-v4" else (8, 2, 6)
LANES = _WIDTH * _VECTORS
"""Users of a panel."""

CHECKED_ROWS = 8
"""Rows of a tile that `any_reaches` looks at; tiles have a multiple of it."""

_LINE_BYTES = 64
"""Of a line of the cache."""

_AHEAD = 12
"""How many rows before they are needed rows are fetched that lie anywhere."""

_INT = ir.IntType(64)
_LANE = ir.IntType(32)
_SINGLES = ir.VectorType(ir.FloatType(), _WIDTH)
_PARTIAL_SUMS = 4
_DOUBLES = ir.VectorType(ir.DoubleType(), _PARTIAL_SUMS)


def _number(value: int) -> Any:
    return ir.Constant(_INT, value)


def _data(context: Any, builder: Any, signature: Any, args: Any, position: int) -> Any:
    """Return the array that stands at a position of an intrinsic's arguments."""
    return context.make_array(signature.args[position])(context, builder, args[position])


def _vector_at(builder: Any, data: Any, index: Any, vector: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(data, [index]), vector.as_pointer()), align=4)


def _spread(builder: Any, value: Any) -> Any:
    """Return a vector with the value in every lane."""
    empty = ir.Constant(_SINGLES, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_LANE, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_LANE, _WIDTH), [0] * _WIDTH))


def _multiply_add(builder: Any, vector: Any) -> Any:
    """Return the function a b + c of vectors: fused where the processor has it."""
    kind = "f32" if vector is _SINGLES else "f64"
    return _code.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{vector.count}{kind}"
    )


def _products(rows: int, *, scaled: bool) -> Any:
    """Make the function that scores `rows` items with a panel."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        panel, h, scales, added, tile = (_data(context, builder, signature, args, p) for p in range(5))
        at = args[5]
        multiply_add = _multiply_add(builder, _SINGLES)
        zero = ir.Constant(_SINGLES, [0.0] * _WIDTH)
        sums = [[_code.alloca_once(builder, _SINGLES) for _ in range(_VECTORS)] for _ in range(rows)]
        for row in sums:
            for place in row:
                builder.store(zero, place)
        d = builder.extract_value(h.shape, 1)
        items = [builder.add(at, _number(r)) for r in range(rows)]
        factors = [builder.gep(h.data, [builder.mul(item, d)]) for item in items]
        with _code.for_range(builder, d, intp=_INT) as loop:
            begin = builder.mul(loop.index, _number(LANES))
            users = [
                _vector_at(builder, panel.data, builder.add(begin, _number(v * _WIDTH)), _SINGLES)
                for v in range(_VECTORS)
            ]
            for row, own in zip(sums, factors, strict=True):
                value = _spread(builder, builder.load(builder.gep(own, [loop.index])))
                for place, user in zip(row, users, strict=True):
                    builder.store(builder.call(multiply_add, [value, user, builder.load(place)]), place)
        for row, item in zip(sums, items, strict=True):
            begin = builder.mul(item, _number(LANES))
            bias = _spread(builder, builder.load(builder.gep(added.data, [item])))
            for v, place in enumerate(row):
                score = builder.load(place)
                if scaled:
                    scale = _spread(builder, builder.load(builder.gep(scales.data, [item])))
                    score = builder.fmul(score, scale)
                score = builder.fadd(score, bias)
                target = builder.gep(tile.data, [builder.add(begin, _number(v * _WIDTH))])
                builder.store(score, builder.bitcast(target, _SINGLES.as_pointer()), align=4)
        return context.get_dummy_value()

    @_intrinsic
    def products(typingctx, panel, h, scales, added, tile, at):  # type: ignore[no-untyped-def]
        return types.void(panel, h, scales, added, tile, types.int64), emit

    return products


_scores_of_rows = _products(_ROWS, scaled=False)
_score_of_row = _products(1, scaled=False)
_scaled_scores_of_rows = _products(_ROWS, scaled=True)
_scaled_score_of_row = _products(1, scaled=True)


@kernel()
def fill_tile(panel, h, scales, biases, size, tile):  # type: ignore[no-untyped-def]
    """Fill the first rows of `tile`, (items, `LANES`), with (w·h) scale + b of the first `size` items.

    `panel` is (d, `LANES`); `scales` is empty for 1. What is left of the last `CHECKED_ROWS` rows gets −inf.
    """
    step = _ROWS if size >= _ROWS else 1
    for begin in range(0, size, step):
        # The last ones overlap those before them.
        at = min(begin, size - step)
        if step == 1:
            if len(scales):
                _scaled_score_of_row(panel, h, scales, biases, tile, at)
            else:
                _score_of_row(panel, h, scales, biases, tile, at)
        elif len(scales):
            _scaled_scores_of_rows(panel, h, scales, biases, tile, at)
        else:
            _scores_of_rows(panel, h, scales, biases, tile, at)
    for at in range(size, -(-size // CHECKED_ROWS) * CHECKED_ROWS):
        tile[at, :] = -np.inf


def _reaching(builder: Any, tile: Any, cutoffs: Any, row: Any, at: Any, v: int) -> Any:
    """Return the bits of the lanes of a vector whose score is at least the cutoff; NaN is not."""
    place = _number(v * _WIDTH)
    scores = _vector_at(builder, tile.data, builder.add(builder.mul(row, _number(LANES)), place), _SINGLES)
    limits = _vector_at(builder, cutoffs.data, builder.add(at, place), _SINGLES)
    return builder.fcmp_ordered(">=", scores, limits)


@_intrinsic
def any_reaches(typingctx, tile, row, cutoffs, at):  # type: ignore[no-untyped-def]
    """Say whether a score in `CHECKED_ROWS` rows from `row` on is at least its lane's cutoff, `cutoffs[at + lane]`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scores, limits = (_data(context, builder, signature, args, p) for p in (0, 2))
        found = None
        for r in range(CHECKED_ROWS):
            for v in range(_VECTORS):
                bits = _reaching(builder, scores, limits, builder.add(args[1], _number(r)), args[3], v)
                found = bits if found is None else builder.or_(found, bits)
        as_number = builder.bitcast(found, ir.IntType(_WIDTH))
        return builder.icmp_unsigned("!=", as_number, ir.Constant(ir.IntType(_WIDTH), 0))

    return types.boolean(tile, types.int64, cutoffs, types.int64), emit


@_intrinsic
def reaching_lanes(typingctx, tile, row, cutoffs, at):  # type: ignore[no-untyped-def]
    """Return a number with a bit for each lane whose score in the row is at least its cutoff."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scores, limits = (_data(context, builder, signature, args, p) for p in (0, 2))
        mask = _number(0)
        for v in range(_VECTORS):
            bits = builder.bitcast(_reaching(builder, scores, limits, args[1], args[3], v), ir.IntType(_WIDTH))
            mask = builder.or_(mask, builder.shl(builder.zext(bits, _INT), _number(v * _WIDTH)))
        return mask

    return types.int64(tile, types.int64, cutoffs, types.int64), emit


@_intrinsic
def lowest_bit(typingctx, mask):  # type: ignore[no-untyped-def]
    """Return the position of the lowest bit of a number that is not 0."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), emit


@kernel()
def _fetch(h, row):  # type: ignore[no-untyped-def]
    """Have a row of float32 brought into the cache while something else is done."""
    row_bytes = 4 * h.shape[1]
    start = address_of(h) + row * row_bytes
    for place in range(0, row_bytes, _LINE_BYTES):
        prefetch(start + place)


@_intrinsic
def _partial_sums(typingctx, w, h, items, sums):  # type: ignore[no-untyped-def]
    """Write the four partial sums of w·h of each of some items, a tuple, into the rows of `sums`, (items, 4)."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        user, factors, found = (_data(context, builder, signature, args, p) for p in (0, 1, 3))
        singles = ir.VectorType(ir.FloatType(), _PARTIAL_SUMS)
        multiply_add = _multiply_add(builder, _DOUBLES)
        d = builder.extract_value(factors.shape, 1)
        rows = [builder.gep(factors.data, [builder.mul(item, d)]) for item in _code.unpack_tuple(builder, args[2])]
        places = [_code.alloca_once(builder, _DOUBLES) for _ in rows]
        for place in places:
            builder.store(ir.Constant(_DOUBLES, [0.0] * _PARTIAL_SUMS), place)
        whole = builder.sub(d, builder.urem(d, _number(_PARTIAL_SUMS)))
        with _code.for_range_slice(builder, _number(0), whole, _number(_PARTIAL_SUMS), intp=_INT) as (f, _):
            of_user = builder.fpext(_vector_at(builder, user.data, f, singles), _DOUBLES)
            for row, place in zip(rows, places, strict=True):
                of_item = builder.fpext(_vector_at(builder, row, f, singles), _DOUBLES)
                # The product of two float32 is exact in float64, so that it may be fused.
                builder.store(builder.call(multiply_add, [of_user, of_item, builder.load(place)]), place)
        for r, place in enumerate(places):
            target = builder.gep(found.data, [_number(r * _PARTIAL_SUMS)])
            builder.store(builder.load(place), builder.bitcast(target, _DOUBLES.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(w, h, items, sums), emit


@kernel()
def _dot(w, item, sums):  # type: ignore[no-untyped-def]
    """Return w·h, given its four partial sums over the factors that are a multiple of 4; the rest joins the first."""
    first = sums[0]
    for f in range(len(w) - len(w) % _PARTIAL_SUMS, len(w)):
        first += np.float64(w[f]) * np.float64(item[f])
    return (first + sums[1]) + (sums[2] + sums[3])


@kernel()
def fixed_order_dots(w, h, items, dots):  # type: ignore[no-untyped-def]
    """Fill `dots` with w·h of some items in float64: the order of additions is that of the fixed-order score."""
    sums = np.empty((4, _PARTIAL_SUMS))
    whole = len(items) - len(items) % 4
    for c in range(0, whole, 4):
        for ahead in range(c + _AHEAD, min(c + _AHEAD + 4, len(items))):
            _fetch(h, np.int64(items[ahead]))
        i, j, k, m = np.int64(items[c]), np.int64(items[c + 1]), np.int64(items[c + 2]), np.int64(items[c + 3])
        _partial_sums(w, h, (i, j, k, m), sums)
        dots[c] = _dot(w, h[i], sums[0])
        dots[c + 1] = _dot(w, h[j], sums[1])
        dots[c + 2] = _dot(w, h[k], sums[2])
        dots[c + 3] = _dot(w, h[m], sums[3])
    for c in range(whole, len(items)):
        i = np.int64(items[c])
        _partial_sums(w, h, (i,), sums)
        dots[c] = _dot(w, h[i], sums[0])
