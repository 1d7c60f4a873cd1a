from __future__ import annotations

import pytest

from factorbox.serving.media_types import answer_type, request_format
from factorbox.serving.refusals import RequestError


@pytest.mark.parametrize(
    ("content_type", "format_"),
    [
        ("text/csv", "csv"),
        ("text/csv; charset=utf-8", "csv"),
        ("TEXT/CSV;charset=UTF-8", "csv"),
        ('application/json; charset="utf-8"', "json"),
        ("application/json", "json"),
        ("application/jsonlines", "json"),
        ("application/jsonlines;foo=bar", "json"),
    ],
)
def test_a_content_type_names_a_format(content_type: str, format_: str) -> None:
    assert request_format(content_type) == format_


@pytest.mark.parametrize(
    "content_type", [None, "", " ", "text/plain", "application/xml", "json", "text/csv; charset=latin-1"]
)
def test_another_content_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        request_format(content_type)

    assert refused.value.status == 415
    assert "send" in str(refused.value)


def test_a_missing_content_type_is_told_what_is_accepted() -> None:
    with pytest.raises(RequestError, match="text/csv, application/jsonlines, application/json"):
        request_format(None)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, "text/csv"),
        ("", "text/csv"),
        ("*/*", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv", "text/csv"),
        ("application/json", "application/json"),
        ("Application/JSONLines; charset=utf-8", "application/jsonlines"),
        ("application/*", "application/jsonlines"),
        ("text/html, application/json;q=0.9, */*;q=0.1", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/csv;q=0.2, application/json;q=0.8", "application/json"),
        ("text/csv;q=0, */*", "application/jsonlines"),
        ("application/json, text/csv", "text/csv"),
    ],
)
def test_the_most_wanted_type_is_answered(accept: str | None, answer: str) -> None:
    assert answer_type(accept) == answer


@pytest.mark.parametrize("accept", ["text/html", "image/*", "text/csv;q=0", "csv", "*/*;q=0"])
def test_an_accept_header_without_our_types_is_refused(accept: str) -> None:
    with pytest.raises(RequestError, match="text/csv, application/jsonlines, application/json") as refused:
        answer_type(accept)

    assert refused.value.status == 406
