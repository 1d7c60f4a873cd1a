"""What one field may hold: the grammar of numbers and times, which every parser must agree on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

MIN_WEIGHT = float(np.finfo(np.float32).tiny)
"""Smallest weight: smaller ones are zero, or lose digits, in float32."""
MAX_WEIGHT = float(np.finfo(np.float32).max)
"""Largest weight."""

TIME_RULE = "a time must be epoch seconds, epoch milliseconds or ISO 8601 such as 2024-05-31T08:00:00Z"

_NUMBER = re.compile(r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MOMENT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_MOMENT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
# Seconds reach the year 5138 below this value, and milliseconds above it begin in 1973.
_FIRST_MILLISECONDS = 1e11
_END_OF_MILLISECONDS = 1e14

_SHOWN_CHARACTERS = 60


def shortened(value: str) -> str:
    """Quote a value for an error message, cut where it is long; bytes that are not UTF-8 are shown as such."""
    shown: str | bytes = value
    if not is_unicode(value):
        try:
            shown = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # Other lone surrogates, which JSON can hold: repr escapes them.
            shown = value
    return repr(shown[:_SHOWN_CHARACTERS]) + ("…" if len(shown) > _SHOWN_CHARACTERS else "")


def is_unicode(text: str) -> bool:
    """Whether a text is free of lone surrogates, which stand for undecodable bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_number(text: str) -> bool:
    """Whether a text is a decimal number in ASCII; spaces and tabs around it do not count."""
    return _NUMBER.fullmatch(text) is not None


def parse_number(text: str) -> float:
    """Read a decimal number; NaN where the text is none.

    `nan`, `inf`, `1_0`, `0x1` and digits of other scripts are none.
    """
    return float(text) if is_number(text) else float("nan")


def id_fault(text: str) -> str | None:
    """Say what is wrong with an id, if anything."""
    if not text:
        return "the id is empty; give every row one"
    if text.isascii() or is_unicode(text):
        return None
    return "the id is not UTF-8; save the file as UTF-8"


def time_kind(number: float) -> str | None:
    """Return the unit that an epoch number has by its size, None where it is no time.

    Zero has no unit of its own and counts as ``any``.
    """
    if number == 0:
        return "any"
    if _FIRST_MILLISECONDS <= number < _END_OF_MILLISECONDS:
        return "milliseconds"
    return "seconds" if _FIRST_MOMENT / 1e6 <= number < _FIRST_MILLISECONDS else None


def common_time_kind(numbers: NDArray[np.float64]) -> str | None:
    """Return the unit that all epoch numbers share, as `time_kind` tells it; None where there is none."""
    dated = numbers[numbers != 0]
    if not len(dated):
        return "any"
    # Each unit is one range of numbers, so that the extremes stand for all. NaN is in no range.
    first, last = time_kind(float(dated.min())), time_kind(float(dated.max()))
    return first if first == last else None


def epoch_microseconds(number: float, *, kind: str) -> int:
    """Turn an epoch number of a kind into microseconds since 1970."""
    return round(number * _microseconds_per(kind))


def all_epoch_microseconds(numbers: NDArray[np.float64], *, kind: str) -> NDArray[np.int64]:
    """Turn epoch numbers of one kind into the microseconds that `epoch_microseconds` gives."""
    return np.rint(numbers * _microseconds_per(kind)).astype(np.int64)


def iso_microseconds(text: str) -> int | None:
    """Read an ISO 8601 time as microseconds since 1970, UTC where it names no zone; None where it is none."""
    try:
        moment = datetime.fromisoformat(text.strip(" \t"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    microseconds = (moment - _EPOCH) // _MICROSECOND
    return microseconds if is_moment(microseconds) else None


def is_moment(microseconds: int) -> bool:
    """Whether microseconds since 1970 fall into the years 1 to 9999, UTC."""
    return _FIRST_MOMENT <= microseconds <= _LAST_MOMENT


def moment(microseconds: int) -> datetime:
    """Return the UTC time of microseconds since 1970."""
    return _EPOCH + microseconds * _MICROSECOND


def _microseconds_per(kind: str) -> float:
    return 1e3 if kind == "milliseconds" else 1e6
