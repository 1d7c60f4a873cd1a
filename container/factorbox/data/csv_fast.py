"""The fast CSV parser: it accepts what is plainly well-formed and refuses all else.

A refusal says nothing about the file: the strict parser then reads it and decides. Whatever is accepted here,
the strict parser accepts with the same values; a property test holds the two together.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.batches import Batch, Coded, make_batch
from factorbox.data.columns import Columns, ReadOptions, Role, find_columns
from factorbox.data.csv_blocks import MAX_LINE_BYTES, Lines, Refused, blocks
from factorbox.data.csv_fields import NUMBER, Fields
from factorbox.data.csv_kernels import REFUSALS, split
from factorbox.data.csv_strict import BOM, Dialect
from factorbox.data.feedback import Feedback
from factorbox.data.fields import all_epoch_microseconds, common_time_kind, is_moment, is_number
from factorbox.data.vocabulary import Vocabulary
from factorbox.data.weights import WeightRule

BLOCK_BYTES = 1 << 20
"""Bytes that one task parses."""

_ROLES: tuple[Role, ...] = ("user", "item", "weight", "time")

_ToMicroseconds = Callable[[NDArray[Any]], NDArray[np.int64]]

_NAIVE, _ZONED = pa.timestamp("us"), pa.timestamp("us", tz="UTC")


__all__ = ["BLOCK_BYTES", "Coders", "Refused", "parse"]


class Coders:
    """The vocabularies of the threads that parse: each one has its own, for all files."""

    def __init__(self) -> None:
        self._all: list[_Coder] = []
        self._idle: deque[_Coder] = deque()

    def __call__(self, task: _Task, lines: Lines) -> _Parsed:
        """Work a task off with vocabularies that nobody else uses."""
        try:
            coder = self._idle.pop()
        except IndexError:
            coder = _Coder(users=Vocabulary(), items=Vocabulary())
            self._all.append(coder)
        try:
            return task(lines, coder)
        finally:
            self._idle.append(coder)

    def check_text(self) -> None:
        """Refuse ids that are not UTF-8."""
        for coder in self._all:
            for vocabulary in (coder.users, coder.items):
                try:
                    vocabulary.check_text()
                except pa.ArrowInvalid as error:
                    raise Refused(str(error)) from error


@dataclass(frozen=True, eq=False)
class _Coder:
    users: Vocabulary
    items: Vocabulary


def parse(
    stream: BinaryIO,
    *,
    name: str,
    options: ReadOptions,
    feedback: Feedback,
    keep_times: bool,
    executor: Executor,
    coders: Coders | None = None,
    ahead: int = 2,
    block_bytes: int = BLOCK_BYTES,
) -> list[Batch]:
    """Read one CSV file in blocks, which an executor parses.

    Parameters
    ----------
    stream, name, options, feedback, keep_times
        As in the strict parser.
    executor
        Runs the tasks; kernels release the GIL in them.
    coders
        Vocabularies to go on with; their own for this file, where none are given.
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
    coders = Coders() if coders is None else coders
    idle: list[NDArray[np.uint8]] = []
    parts = blocks(stream, block_bytes=block_bytes, idle=idle)
    first = next(parts, None)
    if first is None:
        raise Refused("no header")
    task, body = _task(first, name=name, options=options, feedback=feedback, keep_times=keep_times)
    batches: list[Batch] = []
    kinds: set[str] = set()
    running: deque[tuple[Future[_Parsed], Lines]] = deque()

    def collect() -> None:
        future, lines = running.popleft()
        parsed = future.result()
        idle.append(lines.data)
        if parsed.batch is not None:
            batches.append(parsed.batch)
        kinds.update(parsed.time_kinds)
        if len(kinds) > 1:
            raise Refused("times of two kinds")

    try:
        running.append((executor.submit(coders, task, body), body))
        for block in parts:
            while len(running) >= ahead:
                collect()
            running.append((executor.submit(coders, task, block), block))
        while running:
            collect()
    finally:
        for future, _ in running:
            future.cancel()
        # Vocabularies must not grow any more while the next file is read.
        wait([future for future, _ in running])
    coders.check_text()
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
    time_type: pa.DataType
    keep_times: bool

    def __call__(self, lines: Lines, coder: _Coder) -> _Parsed:
        fields = self._split(lines)
        if not fields["user"].rows:
            return _Parsed(batch=None, time_kinds=frozenset())
        users, items = _ids(fields["user"], coder.users), _ids(fields["item"], coder.items)
        weights, times, kind = None, None, "any"
        if "weight" in fields:
            weights = fields["weight"].as_numbers()
            if not self.rule.usable(weights).all():
                raise Refused("a weight out of range")
        to_microseconds: _ToMicroseconds = np.asarray
        if "time" in fields:
            times, kind, to_microseconds = _times(fields["time"], self.time_type)
        batch = make_batch(
            self.columns,
            users=users,
            items=items,
            weights=weights,
            times=times,
            to_microseconds=to_microseconds,
            min_rating=self.rule.min_rating,
            keep_times=self.keep_times,
        )
        return _Parsed(batch=batch, time_kinds=frozenset({kind} - {"any"}))

    def _split(self, lines: Lines) -> dict[Role, Fields]:
        """Find the fields of the columns that have a role."""
        data, start, end = lines
        n_columns = len(self.columns.names)
        roles = np.full(n_columns, len(_ROLES), dtype=np.int64)
        for role, position in self.columns.positions.items():
            roles[position] = _ROLES.index(role)
        # A row is at least one byte for each column; memory that is not written is not there.
        most_rows = (end - start) // n_columns + 1
        starts = np.empty((len(_ROLES) + 1, most_rows), dtype=np.int32)
        ends = np.empty_like(starts)
        delimiter = np.uint8(ord(self.options.separator))
        rows = split(data, start, end, delimiter, roles, MAX_LINE_BYTES, starts, ends)
        if rows < 0:
            raise Refused(REFUSALS[rows])
        return {
            role: Fields(data, starts[k, :rows], ends[k, :rows])
            for k, role in enumerate(_ROLES)
            if role in self.columns.positions
        }


def _task(
    block: Lines, *, name: str, options: ReadOptions, feedback: Feedback, keep_times: bool
) -> tuple[_Task, Lines]:
    """Read the header of the first block; return what parses the rest, and the rest."""
    text = block.data[: block.end].tobytes()
    start, line = len(BOM) if text.startswith(BOM) else 0, 0
    while True:
        end = text.find(b"\n", start) + 1
        if not end:
            raise Refused("no header")
        header, line = text[start:end], line + 1
        start = end
        if header.strip(b"\r\n"):
            break
    _check_header(header, delimiter=options.separator)
    names = _fields(header, options=options)
    columns = find_columns(names, place=f"{name}, line {line}", options=options, feedback=feedback)
    time_type = NUMBER
    if "time" in columns.positions:
        time_type = _time_type(text[start:], position=columns.positions["time"], options=options)
    rule = WeightRule(feedback=feedback, min_rating=options.min_rating)
    task = _Task(columns=columns, options=options, rule=rule, time_type=time_type, keep_times=keep_times)
    return task, block._replace(start=start)


def _fields(line: bytes, *, options: ReadOptions) -> list[str]:
    """Split one line that is checked already."""
    try:
        return next(csv.reader([line.decode("utf-8")], Dialect, delimiter=options.separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(str(error)) from error


def _time_type(body: bytes, *, position: int, options: ReadOptions) -> pa.DataType:
    """Choose the type for the times of a file by its first row."""
    line = body.lstrip(b"\r\n")[: 2 * MAX_LINE_BYTES].split(b"\n", 1)[0]
    fields = _fields(line, options=options) if line else []
    if len(fields) <= position or is_number(fields[position]):
        return NUMBER
    time = fields[position].strip(" \t")
    # The zone stands behind the date, whose own signs do not count.
    return _ZONED if time.endswith("Z") or "+" in time or "-" in time[len("0000-00-00") :] else _NAIVE


def _ids(fields: Fields, vocabulary: Vocabulary) -> Coded:
    codes = vocabulary.codes(fields.data, starts=fields.starts, ends=fields.ends)
    if codes is None:
        raise Refused("an empty id")
    return Coded(source=vocabulary, codes=codes)


def _times(
    fields: Fields, time_type: pa.DataType
) -> tuple[NDArray[np.float64] | NDArray[np.int64], str, _ToMicroseconds]:
    """Check the times of a block; return them, their kind, and how they become microseconds."""
    if time_type != NUMBER:
        moments: NDArray[np.int64] = fields.as_type(time_type).cast(pa.int64()).to_numpy()
        if not (is_moment(int(moments.min())) and is_moment(int(moments.max()))):
            raise Refused("a time out of range")
        return moments, "ISO 8601", np.asarray
    times = fields.as_numbers()
    kind = common_time_kind(times)
    if kind is None:
        raise Refused("a time out of range, or of another kind")
    return times, kind, lambda some: all_epoch_microseconds(some, kind=kind)


def _check_header(line: bytes, *, delimiter: str) -> None:
    """Refuse a header that is long, or that parsers take in different ways."""
    if len(line) > MAX_LINE_BYTES:
        raise Refused("a long line")
    if b"\0" in line:
        raise Refused("a NUL byte")
    if line.startswith(BOM):
        raise Refused("two byte order marks")
    if line.count(b"\r") != line.count(b"\r\n"):
        raise Refused("a carriage return alone")
    if b'"' in line:
        _check_quotes(line, delimiter=delimiter)


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
