from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.recommend.queries import Query
from factorbox.serving import csv_payload
from factorbox.serving.csv_payload import fast_record, split_records, strict_record
from factorbox.serving.queries import BadRecord, Record

# The alphabet in which everything that CSV treats specially is likely.
snippets = st.lists(
    st.sampled_from(
        [b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"a", b"7", b"0", b" ", b"\xff", "é".encode(), b"user_id"]
    ),
    max_size=12,
).map(b"".join)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def parse_csv(body: bytes) -> list[Record]:
    """Return the records of a body one by one."""
    return csv_payload.parse_csv(body).listed()


@settings(deadline=None)
@given(body=snippets)
def test_the_fast_parser_accepts_nothing_that_the_strict_one_reads_otherwise(body: bytes) -> None:
    for line in split_records(body):
        fast = fast_record(line)
        assert fast is None or fast == strict_record(line)


@settings(deadline=None)
@given(body=snippets)
def test_splitting_loses_no_byte(body: bytes) -> None:
    assert b"".join(split_records(body)) == body


@settings(deadline=None)
@given(rows=st.lists(st.tuples(ids, st.integers(1, 10**6)), min_size=1, max_size=5))
def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, int]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)

    assert parse_csv(text.getvalue().encode()) == [Query(user_id, top_n) for user_id, top_n in rows]


def test_top_n_is_optional() -> None:
    assert parse_csv(b"685,5\n302\r\n007,1000000000\n") == [
        Query("685", 5),
        Query("302", 10),
        Query("007", 10**9),
    ]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n\r\n"])
def test_the_end_of_the_last_line_does_not_matter(ending: bytes) -> None:
    assert parse_csv(b"a\r\nb,2" + ending) == [Query("a"), Query("b", 2)]


@pytest.mark.parametrize("body", [b"", b"\n\r\n", b"user_id", b"user_id,top_n\n"])
def test_a_body_may_hold_no_record(body: bytes) -> None:
    assert parse_csv(body) == []


@pytest.mark.parametrize("header", [b"user_id\n", b"user_id,top_n\r\n"])
def test_an_exact_header_is_skipped_in_the_first_line_only(header: bytes) -> None:
    assert parse_csv(header + b"a\nuser_id\n") == [Query("a"), Query("user_id")]


@pytest.mark.parametrize("header", [b"User_Id\n", b"user\n"])
def test_anything_but_an_exact_header_is_a_record(header: bytes) -> None:
    assert parse_csv(header + b"a\n") == [Query(header.decode().strip()), Query("a")]


def test_quoted_ids_may_hold_commas_marks_and_newlines() -> None:
    assert parse_csv(b'"a,b",3\n"x""y"\n"two\nlines","4"\n') == [
        Query("a,b", 3),
        Query('x"y'),
        Query("two\nlines", 4),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"a,b,c", "3 fields"),
        (b",5", 'user_id "" is empty'),
        (b'""', 'user_id "" is empty'),
        (b"a,", 'top_n "" is not a whole number'),
        (b"a, 5", 'top_n " 5" is not a whole number'),
        (b"a,0", 'top_n "0" is not a whole number'),
        (b"a,1.5", "is not a whole number"),
        (b"a,true", "is not a whole number"),
        (b'a"b', "quotation mark"),
        (b'"a"b', "quotation mark"),
        (b'"a', "quotation mark"),
        (b"a\rb", "carriage return"),
        (b"\xff", "is not UTF-8 (byte 0xff at position 1)"),
    ],
)
def test_a_bad_record_says_what_is_wrong(line: bytes, message: str) -> None:
    before, record, after = parse_csv(b"before\n" + line + b"\nafter")

    assert (before, after) == (Query("before"), Query("after"))
    assert isinstance(record, BadRecord)
    assert message in record.message(2)
    assert len(record.message(2).splitlines()) == 1


def test_a_blank_line_is_bad_unless_it_is_at_the_end() -> None:
    first, blank, last = parse_csv(b"a\n\nb\n\n")

    assert (first, last) == (Query("a"), Query("b"))
    assert isinstance(blank, BadRecord)
