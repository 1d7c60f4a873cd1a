from __future__ import annotations

import io
import json
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.data.fields import MAX_WEIGHT
from factorbox.recommend.queries import MAX_TOP_N, Query
from factorbox.serving import json_payload
from factorbox.serving.fields import FIELDS, Id, Ids, Kind, Likings, Switch, WholeNumber
from factorbox.serving.forms import FORMS
from factorbox.serving.json_payload import fast_record, strict_record
from factorbox.serving.queries import BadRecord, Record

# Values that are good, nearly good, or bad, for every field.
scalars = st.one_of(
    st.text(max_size=6),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from(["5", "0", "-1", " 5", "05", "5.0", "1e3", "true", "False", "٣"]),
)
objects = st.dictionaries(st.text(max_size=2), scalars, max_size=3)
values = st.one_of(scalars, st.lists(scalars, max_size=3), objects)
names = st.one_of(st.sampled_from([*FIELDS, "userid"]), st.text(max_size=3))
pairs = st.lists(st.tuples(names, values), max_size=5)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def parse_json(body: bytes, *, stop_at_bad: bool = False) -> list[Record]:
    """Return the records of a body one by one."""
    return json_payload.parse_json(body, stop_at_bad=stop_at_bad).listed()


def strategy_of(kind: Kind) -> st.SearchStrategy[object]:
    """Values of a kind: mostly good ones, in every way in which they may be written."""
    item_ids = st.one_of(ids, st.integers(-(2**70), 2**70), st.sampled_from([0, 2**63, 2**64, -(2**63)]))
    weights = st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        st.sampled_from([0, -0.0, MAX_WEIGHT, -MAX_WEIGHT, 3.5e38, -3.5e38, "2.5", "1e3", "-1", "-0"]),
    )
    return {
        Id: item_ids,
        WholeNumber: st.one_of(st.integers(1, 10**10), st.integers(1, 10**10).map(str)),
        Switch: st.sampled_from([True, False, "true", "False"]),
        Ids: st.lists(item_ids, max_size=4),
        Likings: st.one_of(st.lists(item_ids, max_size=4), st.dictionaries(ids, weights, max_size=4)),
    }[type(kind)]


@st.composite
def mostly_good(draw: st.DrawFn) -> list[tuple[str, object]]:
    """Fields that go together, more or less."""
    form = draw(st.sampled_from(FORMS))
    subject = draw(st.sampled_from(form.subjects))
    wanted = [*subject.needs, *draw(st.lists(st.sampled_from(subject.takes + form.takes), unique=True))]
    if form.sign is not None and form.sign not in wanted:
        wanted.append(form.sign)
    written = [(name, draw(strategy_of(FIELDS[name].kind))) for name in draw(st.permutations(wanted))]
    more: list[tuple[str, object]] = draw(st.one_of(st.just([]), pairs))
    return written + more


class Twice(dict[str, object]):
    """Written as an object whose first key comes twice."""


def object_text(items: Iterable[tuple[str, object]], *, ascii_only: bool) -> str:
    """Write an object that may repeat a key, which no dictionary can."""
    dump = json.JSONEncoder(ensure_ascii=ascii_only).encode

    def text(value: object) -> str:
        if not isinstance(value, Twice):
            return dump(value)
        return object_text([*value.items(), next(iter(value.items()))], ascii_only=ascii_only)

    return "{" + ", ".join(f"{dump(name)}: {text(value)}" for name, value in items) + "}"


@settings(deadline=None, max_examples=600)
@given(
    items=st.one_of(pairs, mostly_good()),
    twice=st.booleans(),
    ascii_only=st.booleans(),
    minus_zero=st.booleans(),
    damage=st.tuples(st.integers(0, 90), st.binary(max_size=2)),
)
def test_the_fast_parser_accepts_nothing_that_the_strict_one_reads_otherwise(
    items: list[tuple[str, object]], twice: bool, ascii_only: bool, minus_zero: bool, damage: tuple[int, bytes]
) -> None:
    if twice:
        items = [(name, Twice(value) if isinstance(value, dict) and value else value) for name, value in items]
    line = object_text(items, ascii_only=ascii_only).encode("utf-8", "surrogatepass")
    if minus_zero:
        line = line.replace(b" 0", b" -0")
    at, replacement = damage
    for text in (line, line[:at] + replacement + line[at + len(replacement) :]):
        fast = fast_record(text)
        if fast is not None:
            assert exactly(fast) == exactly(strict_record(text))
            assert list(map(exactly, parse_json(b"[%b, %b]" % (text, text)))) == [exactly(fast)] * 2


def exactly(record: Record) -> str:
    """Return a record with the types of its values and the order of its lists and objects."""
    return repr(record)


@settings(deadline=None)
@given(items=mostly_good())
def test_whatever_is_asked_is_a_query_or_a_bad_record_that_can_be_marked(items: list[tuple[str, object]]) -> None:
    line = object_text(items, ascii_only=True).encode()

    (record,) = parse_json(line)

    assert fast_record(line) in (None, record)
    if isinstance(record, BadRecord):
        assert len(record.message(1).splitlines()) == 1
        assert len(record.message(1)) < 600
        assert orjson.dumps([record.message(1), record.field, record.label])


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
    assert (record.field, record.label) == ("top_n", ("user_id", "a"))
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
        (b"{}", "record 1: has no subject: give user_id, sequence_id with sequence, history or item_id"),
        (b'{"top_n": 5}', 'as in {"user_id": "123"}'),
        (b'{"user_id": "a", "user_id": "a"}', "user_id is there twice"),
        (b'{"user_id": "a", "exclude_seen": 1}', "exclude_seen 1 is neither true nor false"),
        (b'{"user_id": "a", "topn": 5}', "topn 5 is an unknown field: did you mean top_n?"),
        (b'{"user_id": "a", "zzz": 5}', "zzz 5 is an unknown field: the fields are user_id, top_n"),
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


RICH = [
    (b'{"user_id":"a","history":["x","x",7]}', Query("a", history=["x", "x", "7"])),
    (b'{"user_id":7,"history":{"x":2,"y":0.5}}', Query("7", history={"x": 2.0, "y": 0.5})),
    (b'{"sequence_id":"s","sequence":{"x":0,"y":-1.5}}', Query(sequence_id="s", history={"x": 0.0, "y": -1.5})),
    (b'{"history":[]}', Query(history=[])),
    (b'{"history":{}}', Query(history={})),
    (b'{"sequence_id":"s","sequence":[0]}', Query(sequence_id="s", history=["0"])),
    (b'{"item_id":"a","titles":true}', Query(item_id="a", titles=True)),
    (b'{"user_id":"a","similar_users":true,"top_n":3}', Query("a", 3, similar_users=True)),
    (b'{"user_id":"a","item_ids":[],"explain":2}', Query("a", item_ids=[], explain=2)),
    (b'{"user_id":"a","include_items":["x"],"exclude_items":[]}', Query("a", include_items=["x"], exclude_items=[])),
    (b'{"item_id":9223372036854775808}', Query(item_id="9223372036854775808")),
]


@pytest.mark.parametrize(("line", "query"), RICH)
def test_the_fast_parser_reads_every_field(line: bytes, query: Query) -> None:
    assert fast_record(line) == query
    assert strict_record(line) == query
    assert parse_json(b"[" + line + b"]") == [query]


def test_a_hundred_lines_of_all_kinds_are_one_array_as_well() -> None:
    lines = [line for line, _ in RICH] * 10

    assert parse_json(b"\n".join(lines)) == parse_json(b"[" + b",".join(lines) + b"]") == [q for _, q in RICH] * 10


@pytest.mark.parametrize(
    ("text", "history"),
    [
        (b"[-0, 0]", ["-0", "0"]),
        (b"[18446744073709551616]", ["18446744073709551616"]),
        (b'["\\ud83d\\ude00"]', ["😀"]),
        (b'{"x": "2.5", "y": 1e2}', {"x": 2.5, "y": 100.0}),
        (b'{"x": "-2.5", "y": "0"}', {"x": -2.5, "y": 0.0}),
        (b'{"x": 18446744073709551616}', {"x": 2.0**64}),
    ],
)
def test_what_the_fast_parser_leaves_alone_is_read_by_the_strict_one(text: bytes, history: object) -> None:
    line = b'{"history": %b}' % text

    assert fast_record(line) is None or text.startswith(b'{"x": 1')
    assert parse_json(line) == [Query(history=history)]  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [b"-0", b"-0.0", b"-1e-999", b"0"])
def test_a_weight_of_zero_has_no_sign_in_either_parser(text: bytes) -> None:
    line = b'{"history": {"x": %b}}' % text

    for read in (fast_record(line), strict_record(line)):
        assert isinstance(read, Query) and repr(read.history) == "{'x': 0.0}"


@pytest.mark.parametrize(
    "text",
    [
        b"[1.0]",
        b"[true]",
        b"[null]",
        b'[["a"]]',
        b'[""]',
        b'{"a": 1, "a": 1}',
        b'{"": 1}',
        b'{"a": 3.5e38}',
        b'{"a": 1, "b": -3.5e38}',
        b'{"a": true}',
    ],
)
def test_the_fast_parser_leaves_odd_histories_to_the_strict_one(text: bytes) -> None:
    line = b'{"user_id": "a", "history": %b}' % text

    assert fast_record(line) is None
    assert isinstance(strict_record(line), BadRecord)


def test_a_zero_is_no_minus_zero_in_any_element_of_an_array() -> None:
    assert parse_json(b'[{"history":[0]},{"history":[-0]}]') == [Query(history=["0"]), Query(history=["-0"])]


def test_a_history_of_a_million_items_is_read() -> None:
    history = [f"item-{item}" for item in range(1_000_000)]

    assert parse_json(json.dumps({"history": history}).encode()) == [Query(history=history)]


@pytest.mark.parametrize("body", [b"[1, 2]", b'[{"titles": true}, {"user_id": "a"}]', b"[[]]"])
def test_where_a_bad_record_ends_everything_an_element_that_is_for_nobody_is_found_at_once(body: bytes) -> None:
    records = parse_json(body, stop_at_bad=True)

    assert [isinstance(record, BadRecord) for record in records] == [True]


def test_what_would_need_a_strict_look_at_too_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # A bad number at the end of ten megabytes of them once took a gigabyte.
    monkeypatch.setattr(json_payload, "_LONGEST_STRICT", 60)
    good, long_good = b'{"history": ["a", "b"]}', b'{"history": [%b"z"]}' % (b'"abc", ' * 10)
    assert [type(record) for record in parse_json(good + b"\n" + long_good)] == [Query, BadRecord]
    (refused,) = parse_json(long_good)
    assert isinstance(refused, BadRecord)
    assert refused.message(1).endswith("is a record of 88 bytes, and one may have 60: send shorter lists")
    (refused,) = parse_json(b"[%b, %b]" % (long_good, b'{"history": [0.5]}'))
    assert isinstance(refused, BadRecord)
    assert "in an array of 110 bytes of which some record is bad" in refused.problem
    assert [type(record) for record in parse_json(b"[%b, %b]" % (long_good, good))] == [Query, Query]


# The bytes in which lines of a plain request are likely, and nearly plain ones.
plain_keys = st.sampled_from(['"user_id"', '"top_n"', '"exclude_seen"', '"user_id"', '"top_n"', '"userid"', "user_id"])
plain_values = st.one_of(
    ids.map(lambda text: json.dumps(text, ensure_ascii=False)),
    ids.map(json.dumps),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ['"10"', "10", "true", "false", "null", '""', "0", "-0", '"010"', "01", "1.0", "1e2", "1000000000"]
    ),
    st.sampled_from(['"7', '7"', '"7\x007"', '"7\t"', "tru", '"a" "b"', "[1]", "{}", '"x\\n"', '"٣"']),
)
blanks = st.sampled_from(["", "", "", " ", "\t", "\r", "  "])


@st.composite
def nearly_plain_lines(draw: st.DrawFn) -> bytes:
    """Make a line that mostly is a plain request."""
    members = draw(st.lists(st.tuples(blanks, plain_keys, blanks, blanks, plain_values, blanks), max_size=4))
    inside = ",".join(f"{a}{key}{b}:{c}{value}{d}" for a, key, b, c, value, d in members)
    line = f"{draw(blanks)}{{{inside}}}{draw(blanks)}".encode()
    at, damage = draw(st.integers(0, 80)), draw(st.sampled_from([b"", b"", b"", b'"', b"}", b"\xff", b",", b" "]))
    return line[:at] + damage + line[at + len(damage) :] if damage else line


@settings(deadline=None)
@given(lines=st.lists(nearly_plain_lines(), min_size=1, max_size=6), ending=st.sampled_from([b"\n", b"\r\n"]))
def test_lines_that_are_read_together_are_read_as_each_alone(lines: list[bytes], ending: bytes) -> None:
    first = b'{"user_id": "first"}'
    body = ending.join([first, *lines])
    alone = [fast_record(line) or strict_record(line) for line in io.BytesIO(body.rstrip(b" \t\r\n"))]

    together = parse_json(body)

    assert list(map(exactly, together)) == list(map(exactly, alone))


@pytest.mark.parametrize("after", [b"", b"\n", b'\n{"user_id":"b"}', b'\r\n{"user_id":"b"}'])
def test_a_record_that_is_cut_off_is_wrong_at_its_end_whatever_follows(after: bytes) -> None:
    bad = parse_json(b'{"user_id":"a"' + after)[0]
    assert isinstance(bad, BadRecord) and "at column 15" in bad.problem and bad.value == '{"user_id":"a"'


def test_plain_lines_become_columns_without_a_query_each() -> None:
    body = b"""\
{"user_id": "a", "top_n": "10"}
{"top_n":7,"user_id":12,"exclude_seen":false}\r
{ "exclude_seen" : true , "user_id" : "\xc3\xa9" }
{"user_id": "a\\u0062", "top_n": 1}
"""

    records = json_payload.parse_json(body)

    assert records.queries.user_ids.to_pylist()[:3] == ["a", "12", "é"]
    assert records.queries.top_n.tolist() == [10, 7, 10, 1]
    assert records.queries.exclude_seen.tolist()[:3] == [-1, 0, 1]
    assert records.queries.others == {3: Query("ab", 1)}
