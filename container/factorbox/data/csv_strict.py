"""The strict CSV parser: slow, exact about the line, and the only one that writes errors."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from factorbox.data.batches import Batch, Coded, make_batch
from factorbox.data.columns import Columns, ReadOptions, Role, find_columns
from factorbox.data.feedback import Feedback
from factorbox.data.fields import (
    TIME_RULE,
    epoch_microseconds,
    id_fault,
    is_number,
    iso_microseconds,
    parse_number,
    shortened,
    time_kind,
)
from factorbox.data.weights import WeightRule
from factorbox.errors import UserError

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read."""

BOM = b"\xef\xbb\xbf"

_BATCH_ROWS = 1 << 16
_LINE_ENDS = "end lines with \\n or \\r\\n"


class Dialect(csv.Dialect):
    """RFC 4180 with any delimiter; a line feed alone ends a line too."""

    quotechar = '"'
    doublequote = True
    skipinitialspace = False
    lineterminator = "\n"
    quoting = csv.QUOTE_MINIMAL
    strict = True


def parse(
    stream: BinaryIO, *, name: str, options: ReadOptions, feedback: Feedback, keep_times: bool
) -> Iterator[Batch]:
    """Read one CSV file.

    Parameters
    ----------
    stream
        The bytes of the file, unpacked.
    name
        The file as errors name it.
    feedback
        What the weights are taken for.
    keep_times
        Whether the batches hold times.

    Raises
    ------
    UserError
        For the first row that is not as it should be; the message names line, column, value and remedy.
    """
    rows_below = records(stream, name=name, delimiter=options.separator)
    line, header = next_header(rows_below, name=name)
    columns = find_columns(header, place=f"{name}, line {line}", options=options, feedback=feedback)
    rule = WeightRule(feedback=feedback, min_rating=options.min_rating)
    rows = _Rows(name=name, columns=columns, rule=rule, keep_times=keep_times)
    for line, fields in rows_below:
        rows.add(fields, line=line)
        if rows.pending >= _BATCH_ROWS:
            yield rows.take()
    yield rows.take()


class _Rows:
    """Checks the rows of one file and gathers them into batches."""

    def __init__(self, *, name: str, columns: Columns, rule: WeightRule, keep_times: bool) -> None:
        self._name = name
        self._columns = columns
        self._rule = rule
        self._keep_times = keep_times
        self._user, self._item = columns.positions["user"], columns.positions["item"]
        self._weight, self._time = columns.positions.get("weight"), columns.positions.get("time")
        self._time_kind = "any"
        self._clear()

    @property
    def pending(self) -> int:
        """Rows that were added and not yet taken."""
        return len(self._users)

    def add(self, fields: list[str], *, line: int) -> None:
        """Check one row and keep it."""
        if len(fields) != len(self._columns.names):
            raise wrong_number_of_fields(fields, wanted=len(self._columns.names), place=f"{self._name}, line {line}")
        user, item = fields[self._user], fields[self._item]
        if not (user and user.isascii() and item and item.isascii()):
            self._check_id("user", user, line=line)
            self._check_id("item", item, line=line)
        if self._weight is not None:
            text = fields[self._weight]
            weight = self._known_weights.get(text)
            self._weights.append(self._checked_weight(text, line=line) if weight is None else weight)
        if self._time is not None:
            self._times.append(self._checked_time(fields[self._time], line=line))
        self._users.append(user)
        self._items.append(item)

    def take(self) -> Batch:
        """Hand over the rows added since the last call."""
        batch = make_batch(
            self._columns,
            users=Coded.from_dictionary(pa.array(self._users, type=pa.string()).dictionary_encode()),
            items=Coded.from_dictionary(pa.array(self._items, type=pa.string()).dictionary_encode()),
            weights=np.array(self._weights, dtype=np.float64) if self._weight is not None else None,
            times=np.array(self._times, dtype=np.int64) if self._time is not None else None,
            to_microseconds=np.asarray,
            min_rating=self._rule.min_rating,
            keep_times=self._keep_times,
        )
        self._clear()
        return batch

    def _clear(self) -> None:
        self._users: list[str] = []
        self._items: list[str] = []
        self._weights: list[float] = []
        self._times: list[int] = []
        # Most weights repeat: each text is read once a batch.
        self._known_weights: dict[str, float] = {}

    def _check_id(self, role: Role, text: str, *, line: int) -> None:
        fault = id_fault(text)
        if fault:
            raise self._error(role, text, fault, line=line)

    def _checked_weight(self, text: str, *, line: int) -> float:
        weight = parse_number(text)
        if not self._rule.usable(weight):
            raise self._error("weight", text, self._rule.fault(weight), line=line)
        self._known_weights[text] = weight
        return weight

    def _checked_time(self, text: str, *, line: int) -> int:
        """Read a time as microseconds; all times of a file are of the kind of the first."""
        microseconds: int | None
        if is_number(text):
            number = parse_number(text)
            kind = time_kind(number)
            microseconds = epoch_microseconds(number, kind=kind) if kind is not None else None
        else:
            kind, microseconds = "ISO 8601", iso_microseconds(text)
        if kind is None or microseconds is None:
            remedy = "mend the row, or remove the column if it is not needed"
            raise self._error("time", text, f"{TIME_RULE}; {remedy}", line=line)
        if kind != "any" and self._time_kind not in ("any", kind):
            fault = f"{self._time_kind} stand above it and this is {kind}; write all times of a file the same way"
            raise self._error("time", text, fault, line=line)
        if kind == "any":
            kind = self._time_kind
        self._time_kind = kind
        return microseconds

    def _error(self, role: Role, value: str, fault: str, *, line: int) -> UserError:
        return UserError(
            f"bad {role} {shortened(value)} in {self._name}, line {line}, column "
            f"{shortened(self._columns.name(role))}: {fault}"
        )


def records(stream: BinaryIO, *, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each record that is not blank, with the line on which it begins.

    Raises
    ------
    UserError
        For bytes that are no text or no CSV; those that are no UTF-8 become lone surrogates in the fields.
    """
    reader = csv.reader(_lines(stream, name=name), Dialect, delimiter=delimiter)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(_explain(error, name=name, line=line, last=reader.line_num)) from error
        if fields:
            yield line, fields


def next_header(rows: Iterator[tuple[int, list[str]]], *, name: str) -> tuple[int, list[str]]:
    """Take the first record as the header.

    Raises
    ------
    UserError
        Where there is none.
    """
    found = next(rows, None)
    if found is None:
        raise UserError(f"no header in {name}: it holds blank lines only; give it a header and rows")
    return found


def wrong_number_of_fields(fields: list[str], *, wanted: int, place: str) -> UserError:
    """Make the error for a row that is shorter or longer than the header."""
    return UserError(
        f"{len(fields)} field{'s' * (len(fields) != 1)} instead of {wanted} in {place}: "
        f"{shortened(', '.join(fields))}; quote fields that hold the delimiter, and give every row all columns"
    )


def _lines(stream: BinaryIO, *, name: str) -> Iterator[str]:
    """Yield line after line as text; bytes that are not UTF-8 become lone surrogates."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM)
        if b"\0" in line:
            raise UserError(f"{name} is no text file: line {number} holds a NUL byte; give CSV in UTF-8, or Parquet")
        if len(line) > MAX_LINE_BYTES:
            fault = "it holds carriage returns alone; " if b"\r" in line.rstrip(b"\r\n") else ""
            raise UserError(
                f"line {number} of {name} is longer than {MAX_LINE_BYTES:,} bytes: {fault}{_LINE_ENDS}. "
                f"It begins with {shortened(line[:1000].decode('utf-8', 'surrogateescape'))}"
            )
        yield line.decode("utf-8", "surrogateescape")


def _explain(error: csv.Error, *, name: str, line: int, last: int) -> str:
    """Say in our words what the csv module found."""
    place = f"{name}, line {line}"
    text = str(error)
    if "unexpected end of data" in text:
        return f"a quotation mark is not closed in {place}: close it, or double it where it belongs to the value"
    if "expected after" in text:
        where = f"{name}, line {last}"
        return f"text after a closing quotation mark in {where}: double each quotation mark within a quoted value"
    if "field larger than" in text:
        return (
            f"a field is longer than {csv.field_size_limit():,} characters in {place}: "
            "shorten it, or close its quotation mark"
        )
    if "new-line character" in text:
        return f"a carriage return alone in {place}: {_LINE_ENDS}, and quote values that hold one"
    return f"no CSV in {place}: {text}"
