"""Records out of a JSON body: JSON Lines, one object, or an array of objects.

A fast parser reads what is plainly good. Whatever it does not accept goes to the one strict parser, which decides
and writes the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.decoder import JSONDecodeError
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from factorbox.data.fields import MAX_WEIGHT
from factorbox.recommend.queries import DEFAULT_TOP_N, MAX_IDS, Queries, Query
from factorbox.serving.fields import FIELDS, Id, Ids, Kind, Likings, Switch, WholeNumber
from factorbox.serving.forms import SUBJECT_FIELDS
from factorbox.serving.json_kernels import read_plain_lines
from factorbox.serving.queries import NOTHING, BadRecord, Record, Records, query_or_misfit, record_from, until_bad
from factorbox.serving.values import JsonFields, JsonInteger, JsonNumber, as_text, raw_text

BLANK = b" \t\r\n"
_NEWLINE = ord("\n")
# A strict decoding keeps a text for every number, a hundred bytes for each byte at worst.
_LONGEST_STRICT = 16 << 20
_REMEDY = 'send one JSON object a line, like {"user_id": "123", "top_n": 5}'


def parse_json(body: bytes, *, stop_at_bad: bool = False) -> Records:
    """Return the records of a body in order.

    Blank lines at the end do not count. One document over several lines is one record, or one for each element where
    it is an array.

    Parameters
    ----------
    body
        The body.
    stop_at_bad
        Whether nothing after a bad record matters: then one of them ends the records.
    """
    body = body.rstrip(BLANK)
    if not body:
        return Records.of([])
    end_of_first = body.find(b"\n")
    first = fast_record(body if end_of_first < 0 else body[: end_of_first + 1])
    if first is None and (records := _document(body, stop_at_bad=stop_at_bad)) is not None:
        return Records.of(records)
    if end_of_first < 0:
        return Records.of([first or strict_record(body)])
    return _lines(body, stop_at_bad=stop_at_bad)


def _lines(body: bytes, *, stop_at_bad: bool) -> Records:
    """Read a body line by line: the plain ones together, then the others one by one."""
    count = body.count(b"\n") + 1
    ends, id_ends, top_n = (np.empty(size, dtype=np.int64) for size in (count, count + 1, count))
    exclude_seen, plain = np.empty(count, dtype=np.int8), np.empty(count, dtype=np.bool_)
    ids = np.empty(len(body), dtype=np.uint8)
    text = np.frombuffer(body if _is_utf8(body) else b"", dtype=np.uint8)
    if len(text):
        read_plain_lines(text, DEFAULT_TOP_N, ends, ids, id_ends, top_n, exclude_seen, plain)
    else:
        ends = np.append(np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == _NEWLINE), len(body))
        id_ends[:], plain[:] = 0, False
    others: dict[int, Query] = {}
    bad: dict[int, BadRecord] = {}
    for position in np.flatnonzero(~plain).tolist():
        line = body[ends[position - 1] + 1 if position else 0 : ends[position] + 1]
        record = fast_record(line) or strict_record(line)
        others[position] = NOTHING if isinstance(record, BadRecord) else record
        if isinstance(record, BadRecord):
            bad[position] = record
            if stop_at_bad:
                count = position + 1
                break
    user_ids = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(id_ends), pa.py_buffer(ids))
    queries = Queries(user_ids, top_n, exclude_seen, {})
    return Records(queries.replaced(others).part(0, count) if others else queries, bad)


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def fast_record(line: bytes) -> Query | None:
    """Return the query of a line that is plainly good, None for the strict parser to look at."""
    if len(line) > _LONGEST_STRICT:
        return None
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if (query := _plain_query(fields)) is not None:
        return query if _is_whole(line, _flat_marks(fields)) else None
    query = _rich_query(fields, zero_is_plain=b"-0" not in line)
    return query if query is not None and _is_whole(line, _marks(fields)) else None


def strict_record(line: bytes) -> Record:
    """Return the query of a line, or what is wrong with it."""
    # An error at the end of a line is not one at the beginning of the next.
    line = line.rstrip(BLANK)
    if not line:
        return BadRecord(f"is a blank line, which is allowed at the end only: {_REMEDY}")
    if len(line) > _LONGEST_STRICT:
        return BadRecord(
            f"is a record of {len(line):,} bytes, and one may have {_LONGEST_STRICT:,}: send shorter lists",
            value=raw_text(line),
        )
    try:
        return _record(_decoded(line))
    except _NotJsonError as error:
        return BadRecord(f"{error}: {_REMEDY}", value=raw_text(line.lstrip(BLANK)))


def _document(body: bytes, *, stop_at_bad: bool) -> list[Record] | None:
    """Read a body that is one JSON document, None for one that is none or may as well be JSON Lines."""
    if body.lstrip(BLANK).startswith(b"["):
        elements = _loaded(body)
        if (queries := _fast_array(body, elements)) is not None:
            return queries
        strangers = (
            n for n, element in enumerate(elements) if type(element) is not dict or SUBJECT_FIELDS.isdisjoint(element)
        )
        if stop_at_bad and (stranger := next(strangers, None)) is not None:
            return [*[_SKIPPED] * stranger, _record(_decoded(orjson.dumps(elements[stranger])))]
        if elements and len(body) > _LONGEST_STRICT:
            return [
                BadRecord(
                    f"is in an array of {len(body):,} bytes of which some record is bad, and one that is looked through"
                    f" may have {_LONGEST_STRICT:,}: {_REMEDY}"
                )
            ]
    elif len(body) > _LONGEST_STRICT:
        return None
    try:
        document = _decoded(body)
    except _NotJsonError:
        return None
    elements = document if isinstance(document, list) else [document]
    return until_bad(map(_record, elements), stop_at_bad=stop_at_bad)


def _loaded(body: bytes) -> list[Any]:
    """Return the elements of an array, none for a body that is not one whole array."""
    try:
        elements = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    return elements if isinstance(elements, list) else []


def _fast_array(body: bytes, elements: list[Any]) -> list[Record] | None:
    """Read an array whose elements are all plainly good, and at least one."""
    if not elements:
        return None
    records: list[Record] = []
    marks = 0
    zero_is_plain = b"-0" not in body
    for fields in elements:
        if (query := _plain_query(fields)) is not None:
            marks += _flat_marks(fields)
        elif (query := _rich_query(fields, zero_is_plain=zero_is_plain)) is not None:
            marks += _marks(fields)
        else:
            return None
        records.append(query)
    return records if _is_whole(body, marks) else None


def _plain_query(fields: Any) -> Query | None:
    """Return the query of fields that are the usual ones, with values that are plainly good."""
    if type(fields) is not dict:
        return None
    user_id = fields.get("user_id")
    top_n = fields.get("top_n", DEFAULT_TOP_N)
    exclude_seen = fields.get("exclude_seen")
    # 0 may have been written -0; integers beyond 64 bits come as floats.
    if type(user_id) is int and user_id != 0:
        user_id = str(user_id)
    elif type(user_id) is not str or not user_id:
        return None
    if type(top_n) is str and len(top_n) <= 9 and top_n.isascii() and top_n.isdecimal():
        top_n = int(top_n)
    if type(top_n) is not int or not 1 <= top_n < 1_000_000_000:
        return None
    if exclude_seen is None:
        known = 1 + ("top_n" in fields)
    elif type(exclude_seen) is bool:
        known = 2 + ("top_n" in fields)
    else:
        return None
    return Query(user_id, top_n, exclude_seen) if known == len(fields) else None


def _rich_query(fields: Any, *, zero_is_plain: bool) -> Query | None:
    """Return the query of fields of any kind whose values are plainly good.

    Parameters
    ----------
    fields
        A decoded document.
    zero_is_plain
        Whether no 0 can have been written -0, which is another id.
    """
    if type(fields) is not dict:
        return None
    values: dict[str, Any] = {}
    for name, value in fields.items():
        field = FIELDS.get(name)
        if field is None:
            return None
        values[name] = read = _FAST_READERS[type(field.kind)](value, zero_is_plain)
        if read is None:
            return None
    found = query_or_misfit(values)
    return found if isinstance(found, Query) else None


def _fast_id(value: Any, zero_is_plain: bool) -> str | None:
    if type(value) is int and (value or zero_is_plain):
        return str(value)
    return value if type(value) is str and value else None


def _fast_number(value: Any, _: bool) -> int | None:
    if type(value) is str and len(value) <= 9 and value.isascii() and value.isdecimal():
        value = int(value)
    return value if type(value) is int and 1 <= value < 1_000_000_000 else None


def _fast_switch(value: Any, _: bool) -> bool | None:
    return value if type(value) is bool else None


def _fast_ids(value: Any, zero_is_plain: bool) -> list[str] | None:
    if type(value) is not list or len(value) > MAX_IDS:
        return None
    types = set(map(type, value))
    if types <= {str}:
        return value if "" not in value else None
    if types <= {str, int} and (zero_is_plain or 0 not in value) and "" not in value:
        return list(map(str, value))
    return None


def _fast_likings(value: Any, zero_is_plain: bool) -> list[str] | dict[str, float] | None:
    if type(value) is not dict:
        return _fast_ids(value, zero_is_plain)
    if not value or len(value) > MAX_IDS:
        return None if value else value
    weights = value.values()
    plain = set(map(type, weights)) <= {int, float} and min(weights) >= -MAX_WEIGHT and max(weights) <= MAX_WEIGHT
    # Adding 0.0 makes floats, and a 0 like any other of -0.0.
    return {item_id: weight + 0.0 for item_id, weight in value.items()} if plain and "" not in value else None


_FAST_READERS: dict[type[Kind], Callable[[Any, bool], Any]] = {
    Id: _fast_id,
    WholeNumber: _fast_number,
    Switch: _fast_switch,
    Ids: _fast_ids,
    Likings: _fast_likings,
}


def _flat_marks(fields: dict[str, object]) -> int:
    """Count the quotation marks of an object without lists and objects that is written without escapes."""
    return 2 * (len(fields) + list(map(type, fields.values())).count(str))


def _marks(fields: dict[str, Any]) -> int:
    """Count the quotation marks of an object that is written without escapes; what it holds is flat."""
    marks = _flat_marks(fields)
    for value in fields.values():
        if type(value) is list:
            marks += 2 * list(map(type, value)).count(str)
        elif type(value) is dict:
            marks += _flat_marks(value)
    return marks


def _is_whole(text: bytes, marks: int) -> bool:
    """Whether decoded objects with so many quotation marks are all that a text holds.

    A repeated key, of which the fast parser keeps the last, leaves more marks in the text than in the result.
    """
    return text.count(b'"') == marks and b"\\" not in text


_SKIPPED = Query("(not looked at)")


class _NotJsonError(Exception):
    """Why a text is not JSON."""


def _decoded(text: bytes) -> object:
    """Decode a JSON text strictly, keeping numbers as they are written and noting repeated keys."""
    try:
        return _DECODER.decode(text.decode())
    except UnicodeDecodeError as error:
        byte = text[error.start]
        raise _NotJsonError(f"is not UTF-8 (byte 0x{byte:02x} at position {error.start + 1})") from None
    except JSONDecodeError as error:
        raise _NotJsonError(f"is not valid JSON ({error.msg.removesuffix(' at')} at column {error.colno})") from None
    except RecursionError:
        raise _NotJsonError("is nested too deeply") from None


def _constant(name: str) -> object:
    """Refuse NaN and the infinities, which Python's decoder knows and JSON does not."""
    raise _NotJsonError(f"is not valid JSON ({name} is no JSON value)")


_DECODER = json.JSONDecoder(
    object_pairs_hook=JsonFields, parse_float=JsonNumber, parse_int=JsonInteger, parse_constant=_constant
)


def _record(document: object) -> Record:
    """Read one record out of a decoded document."""
    if isinstance(document, JsonFields):
        return record_from(document)
    return BadRecord(f"is not a JSON object: {_REMEDY}", value=as_text(document))
