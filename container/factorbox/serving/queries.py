"""One record of a request: what it asks for, or what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

DEFAULT_TOP_N = 10

FIELDS = ("user_id", "top_n", "exclude_seen")
LATER_FIELDS = (
    "include_items",
    "exclude_items",
    "history",
    "sequence_id",
    "sequence",
    "item_ids",
    "item_id",
    "similar_users",
    "explain",
    "titles",
)

# No catalogue is larger: item indices are int32.
MAX_TOP_N = 2**31 - 1

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SHOWN = 80


class Query(NamedTuple):
    """A user who wants recommendations; `exclude_seen` is None where the record leaves it to the defaults."""

    user_id: str
    top_n: int = DEFAULT_TOP_N
    exclude_seen: bool | None = None


class BadRecord(NamedTuple):
    """A record that cannot be answered.

    Attributes
    ----------
    problem
        What is wrong and how to mend it, to be read after the field and its value.
    field
        The field at fault, None where the record as a whole is.
    value
        The value at fault as text, shortened; None where it is missing.
    user_id
        The record's id, where it has a good one.
    """

    problem: str
    field: str | None = None
    value: str | None = None
    user_id: str | None = None

    def message(self, number: int) -> str:
        """Say everything in one line; `number` counts the records of a request from 1."""
        parts = [] if self.field is None else [_quoted(Bare(self.field))]
        parts += [] if self.value is None else [_quoted(self.value)]
        return f"record {number}: {' '.join([*parts, self.problem])}"


Record = Query | BadRecord


class Bare(str):
    """Text that stands without quotation marks in a JSON document, and so in errors: a number, true, null."""

    __slots__ = ()


class JsonNumber(Bare):
    """A number of a JSON document, as it is written there."""

    __slots__ = ()


class JsonInteger(JsonNumber):
    """A JSON number without fraction and exponent."""

    __slots__ = ()


class JsonFields(dict[str, object]):
    """A JSON object that remembers whether a key came twice."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: str | None = None
        if len(self) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.repeated = next(name for name, count in counts.items() if count > 1)


class _BadFieldError(Exception):
    """A field that spoils the record that is being read."""

    def __init__(self, field: str, problem: str, *, value: str | None = None) -> None:
        super().__init__(field)
        self.record = BadRecord(problem, field=shortened(field), value=value)


def record_from(fields: Mapping[str, object]) -> Record:
    """Check the fields of one record.

    Values are text, `JsonNumber`, True, False, None, lists or mappings, as a strict parser gives them.
    """
    user_id: str | None = None
    try:
        if isinstance(fields, JsonFields) and fields.repeated is not None:
            raise _BadFieldError(fields.repeated, "is there twice: give each field once")
        if "user_id" in fields:
            user_id = _id(fields["user_id"])
        for name, value in fields.items():
            _check_name(name, value)
        if user_id is None:
            raise _BadFieldError("user_id", 'is missing: a record is like {"user_id": "123"}')
        top_n = _top_n(fields["top_n"]) if "top_n" in fields else DEFAULT_TOP_N
        exclude_seen = _switch("exclude_seen", fields["exclude_seen"]) if "exclude_seen" in fields else None
    except _BadFieldError as bad:
        return bad.record._replace(user_id=user_id)
    return Query(user_id, top_n, exclude_seen)


def until_bad(records: Iterable[Record], *, stop_at_bad: bool) -> list[Record]:
    """List records, up to the first bad one where nothing after it matters."""
    if not stop_at_bad:
        return list(records)
    listed: list[Record] = []
    for record in records:
        listed.append(record)
        if isinstance(record, BadRecord):
            break
    return listed


def shortened(text: str) -> str:
    """Return text that is short and encodable enough to be quoted in an error."""
    text = text[:_SHOWN] + "..." if len(text) > _SHOWN else text
    return text.encode("utf-8", "backslashreplace").decode()


def as_text(value: object) -> str:
    """Return a decoded value as the short text that an error quotes."""
    if isinstance(value, list):
        return Bare("[...]")
    if isinstance(value, Mapping):
        return Bare("{...}")
    if isinstance(value, str):
        return Bare(shortened(value)) if isinstance(value, Bare) else shortened(value)
    return Bare(json.dumps(value))


def raw_text(line: bytes) -> str:
    """Return a whole record, which may be anything, as the short text that an error quotes."""
    return Bare(shortened(line[: 4 * _SHOWN + 4].decode(errors="backslashreplace")))


def _quoted(text: str) -> str:
    """Quote a text so that it stays in one line, whatever it holds."""
    bare = isinstance(text, Bare) and text.isprintable()
    return text if bare else json.dumps(text, ensure_ascii=not text.isprintable())


def _check_name(name: str, value: object) -> None:
    if name in FIELDS:
        return
    if name in LATER_FIELDS:
        raise _BadFieldError(
            name,
            f"is not supported by this version: leave the field out (supported: {', '.join(FIELDS)})",
            value=as_text(value),
        )
    near = difflib.get_close_matches(shortened(name), FIELDS + LATER_FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}"
    raise _BadFieldError(name, f"is an unknown field: {hint}", value=as_text(value))


def _id(value: object) -> str:
    if not isinstance(value, str) or (isinstance(value, JsonNumber) and not isinstance(value, JsonInteger)):
        raise _BadFieldError("user_id", "is not an id: give a text or a whole number", value=as_text(value))
    if not value:
        raise _BadFieldError("user_id", "is empty: give the id of a user", value=value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _BadFieldError(
            "user_id", "holds half of a surrogate pair: send valid Unicode text", value=as_text(value)
        ) from None
    return str(value)


def _top_n(value: object) -> int:
    number = value if isinstance(value, str) and _NUMBER.fullmatch(value) else "0"
    # Long rows of digits become a large or infinite float: both mean "all items".
    size = float(number)
    if size < 1 or not (number.isdecimal() or size.is_integer()):
        raise _BadFieldError(
            "top_n",
            "is not a whole number of at least 1: give one, such as 10, or leave the field out",
            value=as_text(value),
        )
    return MAX_TOP_N if size > MAX_TOP_N else int(size)


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _BadFieldError(
        name, "is neither true nor false: give one of them, or leave the field out", value=as_text(value)
    )
