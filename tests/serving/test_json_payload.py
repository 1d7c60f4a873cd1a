from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.serving.json_payload import fast_record, parse_json, strict_record
from factorbox.serving.queries import MAX_TOP_N, BadRecord, Query

# Values that are good, nearly good, or bad, for every field.
scalars = st.one_of(
    st.text(max_size=6),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from(["5", "0", "-1", " 5", "05", "5.0", "1e3", "true", "False", "٣"]),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.text(max_size=2), scalars, max_size=2))
names = st.one_of(st.sampled_from(["user_id", "top_n", "exclude_seen", "history", "userid"]), st.text(max_size=3))
pairs = st.lists(st.tuples(names, values), max_size=4)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def object_text(items: list[tuple[str, object]], *, ascii_only: bool) -> str:
    """Write an object that may repeat a key, which no dictionary can."""
    dump = json.JSONEncoder(ensure_ascii=ascii_only).encode
    return "{" + ", ".join(f"{dump(name)}: {dump(value)}" for name, value in items) + "}"


@settings(deadline=None)
@given(items=pairs, ascii_only=st.booleans(), damage=st.tuples(st.integers(0, 60), st.binary(max_size=2)))
def test_the_fast_parser_accepts_nothing_that_the_strict_one_reads_otherwise(
    items: list[tuple[str, object]], ascii_only: bool, damage: tuple[int, bytes]
) -> None:
    line = object_text(items, ascii_only=ascii_only).encode("utf-8", "surrogatepass")
    at, replacement = damage
    for text in (line, line[:at] + replacement + line[at + len(replacement) :]):
        fast = fast_record(text)
        assert fast is None or fast == strict_record(text)


@settings(deadline=None)
@given(line=st.binary(max_size=40))
def test_arbitrary_bytes_are_a_query_or_a_bad_record_with_a_one_line_message(line: bytes) -> None:
    fast, strict = fast_record(line), strict_record(line)

    assert fast is None or fast == strict
    if isinstance(strict, BadRecord):
        assert len(strict.message(1).splitlines()) == 1
        assert strict.message(1).encode()


@settings(deadline=None)
@given(user_id=ids, top_n=st.integers(1, 10**9 - 1), exclude_seen=st.booleans(), ascii_only=st.booleans())
def test_a_good_record_is_read_as_it_was_written(
    user_id: str, top_n: int, exclude_seen: bool, ascii_only: bool
) -> None:
    fields: list[tuple[str, object]] = [
        ("user_id", user_id),
        ("top_n", str(top_n)),
        ("exclude_seen", exclude_seen),
    ]
    line = object_text(fields, ascii_only=ascii_only).encode()

    assert strict_record(line) == Query(user_id, top_n, exclude_seen)
    assert parse_json(line) == [Query(user_id, top_n, exclude_seen)]


@settings(deadline=None)
@given(
    users=st.lists(st.one_of(ids, st.integers(-(2**70), 2**70)), min_size=1, max_size=4),
    indent=st.sampled_from([None, 1]),
)
def test_lines_an_array_and_one_object_mean_the_same(users: list[str | int], indent: int | None) -> None:
    objects = [{"user_id": user} for user in users]
    wanted = [Query(str(user)) for user in users]

    assert parse_json("\n".join(map(json.dumps, objects)).encode()) == wanted
    assert parse_json(json.dumps(objects, indent=indent, ensure_ascii=False).encode()) == wanted
    assert parse_json(json.dumps(objects[0], indent=1).encode()) == wanted[:1]


def test_top_n_may_be_a_text_or_a_number_and_is_optional() -> None:
    body = b'{"user_id": "685", "top_n": "5"}\n{"user_id": 302, "top_n": 7}\n{"user_id": "007"}'

    assert parse_json(body) == [Query("685", 5), Query("302", 7), Query("007", 10)]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n\r\n  \n"])
def test_the_end_of_the_last_line_does_not_matter(ending: bytes) -> None:
    assert parse_json(b'{"user_id":"a"}\r\n{"user_id":"b"}' + ending) == [Query("a"), Query("b")]


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \r\n", b"[]", b"[\n]"])
def test_a_body_may_hold_no_record(body: bytes) -> None:
    assert parse_json(body) == []


@pytest.mark.parametrize(
    ("text", "user_id"),
    [
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"1" * 5_000, "1" * 5_000),
        (b"0", "0"),
        (b"-0", "-0"),
        (b'"1.5"', "1.5"),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b'"\\ud83d\\ude00"', "😀"),
    ],
)
def test_an_id_is_its_text(text: bytes, user_id: str) -> None:
    assert parse_json(b'{"user_id": %b}' % text) == [Query(user_id)]


@pytest.mark.parametrize(
    ("text", "top_n"),
    [(b"1000000000", 10**9), (b"1e9", 10**9), (b"5.0", 5), (b'"5"', 5), (b"9" * 400, MAX_TOP_N)],
)
def test_top_n_is_any_whole_number_of_at_least_one(text: bytes, top_n: int) -> None:
    assert parse_json(b'{"user_id": "a", "top_n": %b}' % text) == [Query("a", top_n)]


@pytest.mark.parametrize(
    "text", [b"0", b"-1", b"1.5", b"true", b'"x"', b"null", b"[5]", b'" 5 "', b'""', b'"-1"', b"1e999", '"٣"'.encode()]
)
def test_another_top_n_is_a_bad_record_that_names_the_user(text: bytes) -> None:
    (record,) = parse_json(b'{"user_id": "a", "top_n": %b}' % text)

    assert isinstance(record, BadRecord)
    assert (record.field, record.user_id) == ("top_n", "a")
    assert "whole number of at least 1" in record.problem


@pytest.mark.parametrize(("text", "wanted"), [(b"true", True), (b'"False"', False), (b'"true"', True)])
def test_booleans_may_be_text(text: bytes, wanted: bool) -> None:
    assert parse_json(b'{"user_id": "a", "exclude_seen": %b}' % text) == [Query("a", 10, wanted)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"user_id": 1.5}', "user_id 1.5 is not an id"),
        (b'{"user_id": true}', "user_id true is not an id"),
        (b'{"user_id": null}', "user_id null is not an id"),
        (b'{"user_id": ["a"]}', "user_id [...] is not an id"),
        (b'{"user_id": {"a": 1}}', "user_id {...} is not an id"),
        (b'{"user_id": ""}', 'user_id "" is empty'),
        (b'{"user_id": "\\ud800"}', "surrogate"),
        (b"{}", "user_id is missing"),
        (b'{"top_n": 5}', "user_id is missing"),
        (b'{"user_id": "a", "user_id": "a"}', "user_id is there twice"),
        (b'{"user_id": "a", "exclude_seen": 1}', "exclude_seen 1 is neither true nor false"),
        (b'{"user_id": "a", "topn": 5}', "topn 5 is an unknown field: did you mean top_n?"),
        (b'{"user_id": "a", "zzz": 5}', "zzz 5 is an unknown field: the fields are user_id, top_n"),
        (b'{"user_id": "a", "history": ["x"]}', "history [...] is not supported by this version"),
        (b'{"user_id": "a", "a\\nb": 1}', '"a\\nb" 1 is an unknown field'),
        (b'{"user_id": NaN}', "NaN is no JSON value"),
        (b'{"user_id": "a"', "is not valid JSON"),
        (b'{"user_id": "a"}{"user_id": "b"}', "Extra data"),
        (b'{"user_id": "\xff"}', "is not UTF-8 (byte 0xff at position 14)"),
        (b"not JSON", "not JSON is not valid JSON"),
        (b"5", "5 is not a JSON object"),
        (b'"a"', '"a" is not a JSON object'),
        (b"null", "null is not a JSON object"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_record_says_what_is_wrong(line: bytes, message: str) -> None:
    (record,) = parse_json(line)

    assert isinstance(record, BadRecord)
    assert record.message(1).startswith("record 1: ")
    assert message in record.message(1)
    assert len(record.message(1)) < 400


def test_a_blank_line_is_bad_unless_it_is_at_the_end() -> None:
    first, blank, last = parse_json(b'{"user_id":"a"}\n\n{"user_id":"b"}\n\n')

    assert (first, last) == (Query("a"), Query("b"))
    assert isinstance(blank, BadRecord)
    assert "blank line" in blank.problem


def test_one_bad_element_of_an_array_leaves_the_others_alone() -> None:
    good, repeated, scalar = parse_json(b'[{"user_id":"a"},\n{"user_id":"b","top_n":1,"top_n":2},\n7]')

    assert good == Query("a")
    assert isinstance(repeated, BadRecord) and repeated.field == "top_n"
    assert isinstance(scalar, BadRecord) and scalar.value == "7"


def test_a_broken_first_line_leaves_the_other_lines_alone() -> None:
    broken, good = parse_json(b'{"user_id":"a"\n{"user_id":"b"}')

    assert isinstance(broken, BadRecord)
    assert good == Query("b")
