"""Lists: filters, order and pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_sagemaker.errors import ServiceError
from local_sagemaker.listing import Entry, list_page

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def _entries(count: int) -> list[Entry]:
    return [
        Entry(
            name=f"job-{number:02}",
            # Two entries share each time, so that the name has to decide.
            creation_time=_BEGIN + timedelta(seconds=number // 2),
            last_modified_time=_BEGIN + timedelta(days=1, seconds=-number),
            status="Completed" if number % 3 else "Failed",
            summary={"Name": f"job-{number:02}"},
        )
        for number in range(count)
    ]


def _names(request: dict[str, Any], *, descending: bool = True, count: int = 25) -> list[str]:
    page = list_page(_entries(count), request=request, key="Jobs", descending=descending)
    return [summary["Name"] for summary in page["Jobs"]]


def test_a_page_has_ten_unless_asked_otherwise_and_the_newest_first() -> None:
    assert _names({}) == [f"job-{number:02}" for number in range(24, 14, -1)]
    assert _names({"MaxResults": 2}, descending=False) == ["job-00", "job-01"]
    assert _names({"MaxResults": 1, "SortOrder": "Ascending"}) == ["job-00"]


@pytest.mark.parametrize("by", ["Name", "CreationTime", "Status", "LastModifiedTime"])
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
def test_pages_hold_every_entry_once_also_when_entries_come_and_go(by: str, order: str) -> None:
    entries = _entries(25)
    request: dict[str, Any] = {"SortBy": by, "SortOrder": order, "MaxResults": 4}
    seen: list[str] = []
    while True:
        page = list_page(entries, request=request, key="Jobs")
        seen += [summary["Name"] for summary in page["Jobs"]]
        if "NextToken" not in page:
            break
        request["NextToken"] = page["NextToken"]
        # What was shown already may vanish without moving what comes.
        entries = [entry for entry in entries if entry.name != page["Jobs"][0]["Name"]]
    assert sorted(seen) == [f"job-{number:02}" for number in range(25)]


def test_filters_hold_together() -> None:
    assert _names({"NameContains": "JOB-1", "StatusEquals": "Failed"}) == ["job-18", "job-15", "job-12"]
    assert _names({"CreationTimeAfter": (_BEGIN + timedelta(seconds=11)).timestamp()}) == ["job-24"]
    assert _names({"CreationTimeBefore": _BEGIN + timedelta(seconds=1)}) == ["job-01", "job-00"]
    late = (_BEGIN + timedelta(days=1, seconds=-2)).timestamp()
    assert _names({"LastModifiedTimeAfter": late}) == ["job-01", "job-00"]


@pytest.mark.parametrize("token", ["nonsense", "bnVsbA==", "é"])
def test_a_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="Invalid NextToken"):
        _names({"NextToken": token})


@pytest.mark.parametrize("field", ["CreationTimeAfter", "CreationTimeBefore", "LastModifiedTimeAfter"])
@pytest.mark.parametrize("value", [1e30, -1e12, float("nan"), float("inf"), 10**400])
@pytest.mark.parametrize("count", [0, 3])
def test_a_time_that_is_none_is_refused_by_name(field: str, value: float, count: int) -> None:
    with pytest.raises(ServiceError, match=f"{field} .* is no time") as caught:
        _names({field: value}, count=count)
    assert caught.value.code == "ValidationException"
