"""Records out of a CSV body: `user_id[,top_n]`, quoted by RFC 4180 where an id needs it.

A fast parser reads what is plainly good. Whatever it does not accept goes to the one strict parser, which decides
and writes the error.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable

from factorbox.recommend.queries import Query
from factorbox.serving.queries import BadRecord, Record, Records, record_from, until_bad
from factorbox.serving.values import raw_text

HEADERS = (b"user_id", b"user_id,top_n")
"""First lines that are skipped: a file with a header keeps it in its first mini-batch."""

_COLUMNS = ("user_id", "top_n")
_REMEDY = "send user_id or user_id,top_n"

_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_WELL_FORMED = re.compile(rb"%b(?:,%b)*+\r?(?:\n|\Z)" % (_FIELD, _FIELD))
_NEXT_FIELD = re.compile(rb"(%b)(,|\Z)" % _FIELD)


def parse_csv(body: bytes, *, stop_at_bad: bool = False) -> Records:
    """Return the records of a body in order; blank lines at the end and an exact header do not count.

    With `stop_at_bad` a bad record ends them.
    """
    lines = iter(split_records(body.rstrip(b"\r\n")))
    first = next(lines, b"")
    if not first:
        return Records.of([])
    if first.rstrip(b"\r\n") not in HEADERS:
        lines = itertools.chain([first], lines)
    return Records.of(until_bad((fast_record(line) or strict_record(line) for line in lines), stop_at_bad=stop_at_bad))


def split_records(body: bytes) -> Iterable[bytes]:
    """Split a body where its records end, which is not at a newline within quotes.

    A line with a quotation mark out of place is a record by itself, so that the next one is read again.
    """
    return io.BytesIO(body) if b'"' not in body else _split_quoted(body)


def _split_quoted(body: bytes) -> Iterable[bytes]:
    position = 0
    while position < len(body):
        match = _WELL_FORMED.match(body, position)
        end = match.end() if match else body.find(b"\n", position) + 1 or len(body)
        yield body[position:end]
        position = end


def fast_record(line: bytes) -> Query | None:
    """Return the query of a line that is plainly good, None for the strict parser to look at."""
    try:
        user_id, comma, top_n = line.removesuffix(b"\n").removesuffix(b"\r").decode().partition(",")
    except UnicodeDecodeError:
        return None
    if not user_id or '"' in user_id or "\r" in user_id or "\n" in user_id:
        return None
    if not comma:
        return Query(user_id)
    if not (len(top_n) <= 9 and top_n.isascii() and top_n.isdecimal()) or int(top_n) == 0:
        return None
    return Query(user_id, int(top_n))


def strict_record(line: bytes) -> Record:
    """Return the query of a line, or what is wrong with it."""
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    shown = raw_text(line)
    if not line:
        return BadRecord(f"is a blank line, which is allowed at the end only: {_REMEDY}")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        return BadRecord(f"is not UTF-8 (byte 0x{byte:02x} at position {error.start + 1}): {_REMEDY}", value=shown)
    fields: list[str] = []
    position, separator = 0, b","
    while separator:
        match = _NEXT_FIELD.match(line, position)
        if match is None:
            return BadRecord(
                "has a quotation mark or a carriage return out of place: quote a field that holds one as a whole "
                f'and double the marks in it, like "a""b"; {_REMEDY}',
                value=shown,
            )
        field, separator = match.groups()
        quoted = field.startswith(b'"')
        fields.append((field[1:-1].replace(b'""', b'"') if quoted else field).decode())
        position = match.end()
    if len(fields) > len(_COLUMNS):
        return BadRecord(f"has {len(fields)} fields: {_REMEDY}, and quote an id that holds a comma", value=shown)
    return record_from(dict(zip(_COLUMNS, fields, strict=False)))
