"""Splitting a block of CSV into fields, and reading the numbers in them.

A block is looked at 64 bytes at a time: one comparison of vectors gives a bit for each byte that may end a field, and
only those bytes are looked at one by one (Langdale and Lemire 2019, "Parsing Gigabytes of JSON per Second").
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import llvmlite.ir
import numba.core
import numba.extending
import numpy as np

from factorbox.kernels import kernel

# None of them has complete annotations.
ir: Any = llvmlite.ir
cgutils: Any = numba.core.cgutils
types: Any = numba.core.types
intrinsic: Any = numba.extending.intrinsic

PADDING = 64
"""Bytes behind the end of a block that may be read; they must be spaces."""

OPEN_QUOTE, STRAY_QUOTE, LONE_RETURN, NUL, FIELDS, LONG = range(-1, -7, -1)
REFUSALS = MappingProxyType(
    {
        OPEN_QUOTE: "an open quotation mark",
        STRAY_QUOTE: "a quotation mark within a field",
        LONE_RETURN: "a carriage return alone",
        NUL: "a NUL byte",
        FIELDS: "another number of fields",
        LONG: "a long line",
    }
)
"""Why a block is refused."""

_VECTOR = ir.VectorType(ir.IntType(8), 64)
_QUOTE, _LINE_FEED, _RETURN = 34, 10, 13
_LAST_CONTROL = _RETURN
# From here on float64 does not hold every whole number.
_FIRST_LONG = np.uint64(1 << 53)
_LARGE_POWER = np.int64(100_000)
# Powers of ten that float64 holds exactly.
_POWERS = 10.0 ** np.arange(23)


@intrinsic  # type: ignore[untyped-decorator]
def load64(typingctx: Any, data: Any, position: Any) -> Any:
    """Read eight bytes anywhere as one word, the first one lowest."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(data, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typingctx: Any, table: Any, row: Any) -> Any:
    """Bring the beginning of a row of a table into the cache."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = builder.extract_value(array.strides, 0)
        bytes_of = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        place = builder.gep(bytes_of, [builder.mul(width, arguments[1])])
        number = ir.IntType(32)
        declared = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [place.type, number, number, number]),
            "llvm.prefetch.p0",
        )
        # To be read, and to stay in every cache; data, not instructions.
        builder.call(declared, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(table, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _ends_in(typingctx: Any, data: Any, position: Any, delimiter: Any) -> Any:
    """Mark which of 64 bytes is a delimiter, a quotation mark or one of the first control characters."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), _VECTOR.as_pointer())
        text = builder.load(place, align=1)

        def all_of(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
            return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)

        def byte(value: int) -> Any:
            return ir.Constant(_VECTOR, [value] * 64)

        found = builder.or_(
            builder.icmp_unsigned("==", text, all_of(arguments[2])),
            builder.or_(
                builder.icmp_unsigned("==", text, byte(_QUOTE)), builder.icmp_unsigned("<=", text, byte(_LAST_CONTROL))
            ),
        )
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(data, types.int64, types.uint8), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _trailing_zeros(typingctx: Any, word: Any) -> Any:
    """Return the position of the lowest bit that is set."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@kernel()
def split(data, position, end, delimiter, roles, most_bytes, starts, ends):  # type: ignore[no-untyped-def]
    """Write where the fields of each row lie that have a role; return how many rows there are, or why not.

    Parameters
    ----------
    data
        uint8: whole lines from `position` to `end`, then `PADDING` spaces. Doubled quotation marks in fields with a
        role are made single, in place.
    delimiter
        uint8.
    roles
        int64, (columns,): in which row of `starts` and `ends` a column belongs; the last one is for those of none.
    most_bytes
        Longest row that is accepted.
    starts, ends
        int32, (roles + 1, most rows).

    Returns
    -------
    int
        The number of rows, or one of the refusals, which are below zero.
    """
    columns, nobody = len(roles), len(starts) - 1
    row, column = 0, 0
    row_start, field_start, closed = position, position, -1
    while position < end:
        marks = _ends_in(data, position, delimiter)
        base = position
        position += 64
        if position > end:
            # What stands behind the block counts for nothing, whatever the delimiter is.
            marks &= (np.uint64(1) << np.uint64(end - base)) - np.uint64(1)
        while marks != 0:
            k = base + _trailing_zeros(marks)
            marks &= marks - np.uint64(1)
            byte = data[k]
            if byte == delimiter:
                role = roles[column]
                starts[role, row] = field_start
                ends[role, row] = k if closed < 0 else closed
                column += 1
                if column >= columns:
                    return FIELDS
                field_start, closed = k + 1, -1
            elif byte == _LINE_FEED:
                field_end = k
                if closed >= 0:
                    field_end = closed
                elif k > field_start and data[k - 1] == _RETURN:
                    field_end = k - 1
                if column == columns - 1:
                    role = roles[column]
                    starts[role, row] = field_start
                    ends[role, row] = field_end
                    row += 1
                elif column != 0 or field_end > field_start or closed >= 0:
                    return FIELDS
                if k - row_start > most_bytes:
                    return LONG
                row_start, field_start, column, closed = k + 1, k + 1, 0, -1
            elif byte == _QUOTE:
                if k != field_start or closed >= 0:
                    return STRAY_QUOTE
                closed, position = _quoted(data, k + 1, end, roles[column] != nobody)
                if closed < 0:
                    return closed
                field_start = k + 1
                behind = data[position]
                if behind != delimiter and behind != _LINE_FEED and behind != _RETURN:
                    return STRAY_QUOTE
                break
            elif byte == _RETURN:
                if data[k + 1] != _LINE_FEED:
                    return LONE_RETURN
            elif byte == 0:
                return NUL
    return row if column == 0 and field_start == end else OPEN_QUOTE


@kernel()
def _quoted(data, start, end, is_wanted):  # type: ignore[no-untyped-def]
    """Find where a field behind its opening mark ends, and what comes behind its closing mark."""
    read, written = start, start
    while read < end:
        byte = data[read]
        if byte == _QUOTE:
            if data[read + 1] != _QUOTE:
                return written, read + 1
            read += 1
        elif byte == 0:
            return NUL, read
        elif byte == _RETURN and data[read + 1] != _LINE_FEED:
            return LONE_RETURN, read
        if is_wanted and written < read:
            data[written] = byte
        read += 1
        written += 1
    return OPEN_QUOTE, read


@kernel()
def last_line_end(data, start, end):  # type: ignore[no-untyped-def]
    """Return where the last line that ends between two places ends, `start` where none does."""
    while end > start and data[end - 1] != _LINE_FEED:
        end -= 1
    return end


@kernel()
def numbers(data, starts, ends, values, is_hard):  # type: ignore[no-untyped-def]
    """Read decimal numbers without spaces around them; return how many are hard, −1 where one is none.

    A number of up to 53 bits times or divided by a power of ten that is exact is rounded once, so that it is the
    nearest float64 (Clinger 1990). Others are marked as hard, and not read.
    """
    hard = 0
    for row in range(len(values)):
        k, end = np.int64(starts[row]), np.int64(ends[row])
        is_negative = k < end and data[k] == 45
        if k < end and (data[k] == 45 or data[k] == 43):
            k += 1
        mantissa, exponent, power = np.uint64(0), np.int64(0), np.int64(0)
        digits, is_long, has_point = 0, False, False
        while k < end:
            digit = np.int64(data[k]) - 48
            if 0 <= digit <= 9:
                digits += 1
                exponent -= has_point
                is_long = is_long or bool(mantissa >= _FIRST_LONG)
                mantissa = mantissa * np.uint64(10) + np.uint64(digit)
            elif data[k] == 46 and not has_point:
                has_point = True
            else:
                break
            k += 1
        if digits == 0:
            return -1
        if k < end and (data[k] == 101 or data[k] == 69):
            k += 1
            sign = np.int64(1)
            if k < end and (data[k] == 45 or data[k] == 43):
                sign = np.int64(-1) if data[k] == 45 else np.int64(1)
                k += 1
            if k == end:
                return -1
            while k < end and 48 <= data[k] <= 57:
                power = min(power * 10 + (np.int64(data[k]) - 48), _LARGE_POWER)
                k += 1
            exponent += sign * power
        if k < end:
            return -1
        is_hard[row] = is_long or mantissa > _FIRST_LONG or exponent > 22 or exponent < -22
        if is_hard[row]:
            hard += 1
            continue
        value = np.float64(mantissa)
        value = value * _POWERS[exponent] if exponent >= 0 else value / _POWERS[-exponent]
        values[row] = -value if is_negative else value
    return hard


@kernel()
def trim(data, starts, ends):  # type: ignore[no-untyped-def]
    """Leave out the spaces and tabs around texts."""
    for row in range(len(starts)):
        start, end = np.int64(starts[row]), np.int64(ends[row])
        while start < end and (data[start] == 32 or data[start] == 9):
            start += 1
        while start < end and (data[end - 1] == 32 or data[end - 1] == 9):
            end -= 1
        starts[row], ends[row] = start, end


@kernel()
def gather(data, starts, ends, offsets, texts):  # type: ignore[no-untyped-def]
    """Write texts one behind the other; `offsets` holds where they belong."""
    for row in range(len(starts)):
        to = offsets[row]
        for k in range(starts[row], ends[row]):
            texts[to] = data[k]
            to += 1
