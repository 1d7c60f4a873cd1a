"""The fast CSV parser: it accepts what is plainly well-formed and refuses all else.

A refusal says nothing about the file: the strict parser then reads it and decides. Whatever is accepted here,
the strict parser accepts with the same values; a property test holds the two together.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from factorbox.data.batches import Batch, Coded, make_batch
from factorbox.data.columns import Columns, ReadOptions, find_columns
from factorbox.data.csv_strict import BOM, Dialect
from factorbox.data.feedback import Feedback
from factorbox.data.fields import all_epoch_microseconds, common_time_kind, is_moment, is_number
from factorbox.data.weights import WeightRule

BLOCK_BYTES = 8 << 20
"""Bytes that one task parses."""

# Longer lines are legal up to the strict parser's limits, which count characters and fields as well.
_MAX_LINE_BYTES = 1 << 16

_ToMicroseconds = Callable[[NDArray[Any]], NDArray[np.int64]]

_ID = pa.dictionary(pa.int32(), pa.string())
_NAIVE, _ZONED = pa.timestamp("us"), pa.timestamp("us", tz="UTC")


class Refused(Exception):  # noqa: N818 - it is no error: the strict parser takes over
    """The file is not plainly well-formed."""


def parse(
    stream: BinaryIO,
    *,
    name: str,
    options: ReadOptions,
    feedback: Feedback,
    keep_times: bool,
    executor: Executor,
    ahead: int = 2,
    block_bytes: int = BLOCK_BYTES,
) -> list[Batch]:
    """Read one CSV file in blocks, which an executor parses.

    Parameters
    ----------
    stream, name, options, feedback, keep_times
        As in the strict parser.
    executor
        Runs the tasks; pyarrow releases the GIL in them.
    ahead
        Blocks that may be in work at a time, which bounds the memory.
    block_bytes
        About how many bytes a block has.

    Raises
    ------
    Refused
        Where there is any doubt.
    UserError
        Where the header lacks a column, has two for a role, or is no header.
    """
    blocks = _blocks(stream, block_bytes=block_bytes)
    first = next(blocks, b"").removeprefix(BOM)
    task, body = _task(first, name=name, options=options, feedback=feedback, keep_times=keep_times)
    batches: list[Batch] = []
    kinds: set[str] = set()
    running: deque[Future[_Parsed]] = deque()

    def collect() -> None:
        parsed = running.popleft().result()
        if parsed.batch is not None:
            batches.append(parsed.batch)
        kinds.update(parsed.time_kinds)
        if len(kinds) > 1:
            raise Refused("times of two kinds")

    try:
        running.append(executor.submit(task, body))
        for block in blocks:
            while len(running) >= ahead:
                collect()
            running.append(executor.submit(task, block))
        while running:
            collect()
    finally:
        for future in running:
            future.cancel()
    return batches


@dataclass(frozen=True)
class _Parsed:
    batch: Batch | None
    time_kinds: frozenset[str]


@dataclass(frozen=True)
class _Task:
    """Parses one block of whole lines."""

    columns: Columns
    options: ReadOptions
    rule: WeightRule
    time_type: pa.DataType | None
    keep_times: bool

    def __call__(self, block: bytes) -> _Parsed:
        if not block.strip(b"\r\n"):
            _check_line_ends(block)
            return _Parsed(batch=None, time_kinds=frozenset())
        _check_text(block, delimiter=self.options.separator)
        table = self._table(block)
        ids = {role: _ids(table.column(role)) for role in ("user", "item")}
        weights, times, kind = None, None, "any"
        if "weight" in self.columns.positions:
            weights = table.column("weight").to_numpy()
            if not self.rule.usable(weights).all():
                raise Refused("a weight out of range")
        to_microseconds: _ToMicroseconds = np.asarray
        if "time" in self.columns.positions:
            times, kind, to_microseconds = _times(table.column("time"))
        batch = make_batch(
            self.columns,
            users=ids["user"],
            items=ids["item"],
            weights=weights,
            times=times,
            to_microseconds=to_microseconds,
            min_rating=self.rule.min_rating,
            keep_times=self.keep_times,
        )
        return _Parsed(batch=batch, time_kinds=frozenset({kind} - {"any"}))

    def _table(self, block: bytes) -> pa.Table:
        """Let pyarrow split and convert the columns that have a role."""
        # Names of our own: the header may repeat a name in columns that nobody needs.
        names = [str(k) for k in range(len(self.columns.names))]
        for role, position in self.columns.positions.items():
            names[position] = role
        types = {"user": _ID, "item": _ID, "weight": pa.float64(), "time": self.time_type}
        try:
            return pa.csv.read_csv(
                pa.BufferReader(block),
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
                parse_options=pa.csv.ParseOptions(delimiter=self.options.separator, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types={role: types[role] for role in self.columns.positions},
                    include_columns=list(self.columns.positions),
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            raise Refused(str(error)) from error


def _blocks(stream: BinaryIO, *, block_bytes: int) -> Iterator[bytes]:
    """Cut a stream behind line ends into blocks."""
    rest = b""
    while chunk := stream.read(block_bytes):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        else:
            rest += chunk
        if len(rest) > max(_MAX_LINE_BYTES, block_bytes):
            raise Refused("a long line")
    if rest:
        yield rest


def _task(
    block: bytes, *, name: str, options: ReadOptions, feedback: Feedback, keep_times: bool
) -> tuple[_Task, bytes]:
    """Read the header of the first block; return what parses the rest, and the rest."""
    start, line = 0, 0
    while True:
        end = block.find(b"\n", start) + 1 or len(block)
        text, line = block[start:end], line + 1
        start = end
        if text.strip(b"\r\n"):
            break
        if not text:
            raise Refused("no header")
    _check_text(text, delimiter=options.separator)
    header = _fields(text, options=options)
    columns = find_columns(header, place=f"{name}, line {line}", options=options, feedback=feedback)
    body = block[start:]
    time_type = None
    if "time" in columns.positions:
        time_type = _time_type(body, position=columns.positions["time"], options=options)
    rule = WeightRule(feedback=feedback, min_rating=options.min_rating)
    return _Task(columns=columns, options=options, rule=rule, time_type=time_type, keep_times=keep_times), body


def _fields(line: bytes, *, options: ReadOptions) -> list[str]:
    """Split one line that is checked already."""
    try:
        return next(csv.reader([line.decode("utf-8")], Dialect, delimiter=options.separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(str(error)) from error


def _time_type(body: bytes, *, position: int, options: ReadOptions) -> pa.DataType:
    """Choose the type for the times of a file by its first row."""
    line = body.lstrip(b"\r\n")[: 2 * _MAX_LINE_BYTES].split(b"\n", 1)[0]
    fields = _fields(line, options=options) if line else []
    if len(fields) <= position or is_number(fields[position]):
        return pa.float64()
    time = fields[position].strip(" \t")
    # The zone stands behind the date, whose own signs do not count.
    return _ZONED if time.endswith("Z") or "+" in time or "-" in time[len("0000-00-00") :] else _NAIVE


def _ids(column: pa.ChunkedArray) -> Coded:
    # combine_chunks would hash a single chunk again.
    coded = Coded.from_dictionary(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())
    if pc.min(pc.binary_length(coded.texts)).as_py() == 0:
        raise Refused("an empty id")
    return coded


def _times(column: pa.ChunkedArray) -> tuple[NDArray[np.float64] | NDArray[np.int64], str, _ToMicroseconds]:
    """Check the times of a block; return them, their kind, and how they become microseconds."""
    if pa.types.is_timestamp(column.type):
        moments: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        if not (is_moment(int(moments.min())) and is_moment(int(moments.max()))):
            raise Refused("a time out of range")
        return moments, "ISO 8601", np.asarray
    numbers: NDArray[np.float64] = column.to_numpy()
    kind = common_time_kind(numbers)
    if kind is None:
        raise Refused("a time out of range, or of another kind")
    return numbers, kind, lambda some: all_epoch_microseconds(some, kind=kind)


def _check_text(block: bytes, *, delimiter: str) -> None:
    """Refuse lines that are long, and bytes that parsers take in different ways."""
    if b"\0" in block:
        raise Refused("a NUL byte")
    if block.startswith(BOM):
        raise Refused("a byte order mark that pyarrow would drop")
    _check_line_ends(block)
    start = 0
    while len(block) - start > _MAX_LINE_BYTES:
        # From one line end to the last one in reach: no line between is longer.
        start = block.rfind(b"\n", start, start + _MAX_LINE_BYTES) + 1
        if not start:
            raise Refused("a long line")
    if b'"' in block:
        _check_quotes(block, delimiter=delimiter)


def _check_line_ends(block: bytes) -> None:
    returns = block.count(b"\r")
    if returns and returns != block.count(b"\r\n"):
        raise Refused("a carriage return alone")


def _check_quotes(block: bytes, *, delimiter: str) -> None:
    """Refuse quotation marks that do not enclose a whole field of this block.

    Marks open and close in turn (a doubled one closes and opens again), so each one that opens must begin a
    field, each one that closes must end one, and either may stand beside the other.
    """
    text = np.frombuffer(block, dtype=np.uint8)
    marks = np.flatnonzero(text == ord('"'))
    if len(marks) % 2:
        raise Refused("an open quotation mark")
    line_end = np.uint8(ord("\n"))
    beside = np.zeros(256, dtype=np.bool_)
    beside[[ord("\n"), ord(delimiter), ord('"')]] = True
    padded = np.concatenate([[line_end], text, [line_end]])  # text[k] is padded[k + 1]
    behind = padded[marks[1::2] + 2]
    if not (beside[padded[marks[::2]]].all() and (beside[behind] | (behind == ord("\r"))).all()):
        raise Refused("a quotation mark within a field")
