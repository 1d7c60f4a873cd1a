"""Filter, order and cut what a ``List`` operation answers."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_sagemaker.errors import invalid

_DEFAULT_PAGE = 10


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One resource as a list sees it: what is filtered and sorted, and the summary that is answered."""

    name: str
    creation_time: datetime
    summary: dict[str, Any]
    last_modified_time: datetime | None = None
    status: str = ""


def list_page(
    entries: Iterable[Entry], *, request: Mapping[str, Any], key: str, descending: bool = True
) -> dict[str, Any]:
    """Return one page of a list: ``{key: summaries}``, with ``NextToken`` where there is more.

    Parameters
    ----------
    entries
        Everything there is, in any order.
    request
        The parameters of the operation: ``NameContains``, ``StatusEquals``, ``CreationTimeAfter`` and the like,
        ``SortBy``, ``SortOrder``, ``MaxResults`` (10 where it is not given) and ``NextToken``.
    key
        The name of the list in the response, such as ``TrainingJobSummaries``.
    descending
        The order of the operation where the request gives none.

    Raises
    ------
    ServiceError
        ``ValidationException`` for a ``NextToken`` that this operation did not give, and for a time that is none.
    """
    bounds = _bounds(request)
    by = request.get("SortBy", "CreationTime")
    order = request.get("SortOrder")
    reverse = order == "Descending" if order else descending
    # The name makes the order total, so that a page can begin right after the entry at which the last one ended.
    ordered = sorted(
        ((_sort_key(entry, by), entry) for entry in entries if _wanted(entry, request, bounds)),
        key=lambda pair: pair[0],
        reverse=reverse,
    )
    if token := request.get("NextToken"):
        last = _read_token(token)
        ordered = [pair for pair in ordered if (pair[0] < last if reverse else pair[0] > last)]
    size = request.get("MaxResults", _DEFAULT_PAGE)
    page: dict[str, Any] = {key: [entry.summary for _, entry in ordered[:size]]}
    if len(ordered) > size:
        page["NextToken"] = _token(ordered[size - 1][0])
    return page


def _wanted(entry: Entry, request: Mapping[str, Any], bounds: Mapping[str, datetime]) -> bool:
    if request.get("NameContains", "").lower() not in entry.name.lower():
        return False
    if request.get("StatusEquals", entry.status) != entry.status:
        return False
    for prefix, time in (("CreationTime", entry.creation_time), ("LastModifiedTime", entry.last_modified_time)):
        after, before = bounds.get(f"{prefix}After"), bounds.get(f"{prefix}Before")
        if time is not None and ((after and time <= after) or (before and time >= before)):
            return False
    return True


def _bounds(request: Mapping[str, Any]) -> dict[str, datetime]:
    """Return the times that a request gives, by parameter."""
    fields = [f"{prefix}{side}" for prefix in ("CreationTime", "LastModifiedTime") for side in ("After", "Before")]
    return {field: _time(request[field], field=field) for field in fields if request.get(field) is not None}


def _time(value: float | datetime, *, field: str) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise invalid(f"{field} {value} is no time: give seconds since 1970, within the years 1 to 9999") from None


def _sort_key(entry: Entry, by: str) -> tuple[str, str]:
    # Times as text of one width and one zone sort as times do, and travel in a token unchanged.
    values = {"Name": entry.name, "Status": entry.status, "LastModifiedTime": _text(entry.last_modified_time)}
    return values.get(by, _text(entry.creation_time)), entry.name


def _text(time: datetime | None) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds") if time else ""


def _token(key: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        value, name = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError):
        raise invalid(f"Invalid NextToken {token!r}: give the one that the operation answered with.") from None
    return str(value), str(name)
