"""The fast CSV parser accepts nothing that the strict one refuses, and reads the same values."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from factorbox.data import csv_fast, csv_strict
from factorbox.data.batches import Batch
from factorbox.data.columns import ReadOptions
from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, RATINGS, Feedback
from factorbox.errors import UserError


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def rows_of(batches: list[Batch]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for batch in batches:
        users = batch.users.texts.take(batch.users.codes).to_pylist()
        items = batch.items.texts.take(batch.items.codes).to_pylist()
        weights = batch.weights.tolist() if batch.weights is not None else [None] * len(users)
        times = batch.times.tolist() if batch.times is not None else [None] * len(users)
        rows += zip(users, items, weights, times, strict=True)
    return rows


def span_of(batches: list[Batch]) -> tuple[int, int] | None:
    times = [batch.span for batch in batches if batch.span is not None]
    return (min(first for first, _ in times), max(last for _, last in times)) if times else None


def days_of(batches: list[Batch]) -> dict[int, int]:
    counted: Counter[int] = Counter()
    for batch in batches:
        if batch.activity is not None:
            counted.update(dict(zip(batch.activity.days.tolist(), batch.activity.counts.tolist(), strict=True)))
    return dict(counted)


def read_fast(
    data: bytes, *, options: ReadOptions, executor: Executor, block_bytes: int, feedback: Feedback = IMPLICIT
) -> list[Batch] | None:
    """Read with the fast parser; None where it refuses."""
    try:
        return csv_fast.parse(
            io.BytesIO(data),
            name="x.csv",
            options=options,
            feedback=feedback,
            keep_times=True,
            executor=executor,
            block_bytes=block_bytes,
        )
    except csv_fast.Refused:
        return None


def read_strict(data: bytes, *, options: ReadOptions, feedback: Feedback) -> list[Batch]:
    return list(csv_strict.parse(io.BytesIO(data), name="x.csv", options=options, feedback=feedback, keep_times=True))


def agree(
    data: bytes, *, options: ReadOptions, executor: Executor, block_bytes: int, feedback: Feedback = IMPLICIT
) -> bool:
    """Check the one-sided agreement; tell whether the fast parser accepted."""
    try:
        fast = read_fast(data, options=options, executor=executor, block_bytes=block_bytes, feedback=feedback)
    except UserError as header_error:
        with pytest.raises(UserError) as caught:
            read_strict(data, options=options, feedback=feedback)
        assert str(caught.value) == str(header_error)
        return False
    if fast is None:
        return False
    strict = read_strict(data, options=options, feedback=feedback)
    assert rows_of(fast) == rows_of(strict)
    assert span_of(fast) == span_of(strict)
    assert days_of(fast) == days_of(strict)
    assert sum(batch.dropped for batch in fast) == sum(batch.dropped for batch in strict)
    return True


def joined(parts: st.SearchStrategy[bytes], *, most: int) -> st.SearchStrategy[bytes]:
    return st.lists(parts, max_size=most).map(b"".join)


ODD_TEXTS = [
    b"", b"a", b"b", b"7", b"007", b"NA", b"null", b" a", b"a ", b"\t", b'"', b'""', b'"a"', b'"a,b"', b'"a""b"',
    b'a"b', b'"a"b', b'"a', b'"a\nb"', b'"a\r\nb"', b"\r", b"\0", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbfa", b"#", b"\\", b"'a'", b"\x0b", b"\x1c", b"\xe2\x80\xa8", b"\xc2\x85",
]  # fmt: skip
ODD_NUMBERS = [
    b"1", b"2.5", b"1_0", b" 1 ", b"\t1", b"1e400", b"1e-400", b"1e-40", b"3e38", b"4e38", b"+1", b"-1", b"0x1",
    b"0X1p3", b"nan", b"NaN", b"inf", b"-inf", b"infinity", b"", b" ", b"1,5", b"1.", b".5", b".", b"1e5", b"1E+5",
    b"1e", b"1d5",
    b"0", b"-0", b"true", b'"1"', b'" 1"', b"\xd9\xa1", b"\xc2\xa01", b"1\0", b"0.1", b"16777217", b"NA", b"null",
    b"0.30000000000000004", b"1" * 400, b"1\x0b", b"1f", b"1L", b"3",
]  # fmt: skip
ODD_TIMES = [
    b"0", b"1", b"-1", b"1e9", b"1700000000", b"1700000000.5", b"1700000000123", b"1700000000000000000",
    b"99999999999",
    b"100000000000", b"1e14", b"-62135596801", b"nan", b"", b"2024-05-31",
    b"2024-05-31T08:00:00", b"2024-05-31 08:00:00", b"2024-05-31T08:00:00Z", b"2024-05-31 08:00:00+02:00",
    b"2024-05-31T08:00:00.123456-0130", b"2024-05-31T08",
    b"2024-05-31T08:00Z", b"2024-05-31T08:00:00.123", b"2024-05-31T08:00:00.1234567", b"0000-01-01", b"0001-01-01",
    b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2024-02-30", b"2024-05-31T24:00:00", b"20240531",
    b"2024-05-31T08:00:60", b"2024-W22-5", b"2024/05/31", b" 2024-05-31 ", b"2024-05-31T08:00:00z", b"2024-5-31",
    b"2024-05-31T08:00:00 Z", b"2024-05-31T08:00:00+99:99", b"+2024-05-31", b"-2024-05-31", b"12024-05-31",
]  # fmt: skip
ZONES = [UTC, timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(hours=14))]
LINE_ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r\n", b""])

texts = st.sampled_from(ODD_TEXTS) | joined(st.sampled_from(ODD_TEXTS), most=3) | st.binary(max_size=6)
plain_ids = st.sampled_from([b"a", b"b", b"007", b"NA", b'"x,y"', b'"p""q"', b"\xc3\xa9", b" s", b"\xef\xbb\xbfz"])
numbers = (
    st.sampled_from(ODD_NUMBERS)
    | st.floats().map(lambda x: repr(x).encode())
    | st.text(alphabet="0123456789+-.eExX_ \tnaif", max_size=8).map(str.encode)
)
plain_numbers = st.sampled_from([b"1", b"2.5", b" 3 ", b"1e3", b'"4"', b"0.1"])
times = (
    st.sampled_from(ODD_TIMES)
    | st.datetimes().map(lambda t: t.isoformat().encode())
    | st.text(alphabet="0123456789+-.:TZ ", max_size=26).map(str.encode)
)
options = st.builds(
    ReadOptions, delimiter=st.sampled_from([",", ",", ";", "tab", " "]), min_rating=st.sampled_from([None, 2.0])
)
block_sizes = st.sampled_from([16, 40, 64, 1 << 16])
feedbacks = st.sampled_from([IMPLICIT, RATINGS, COUNTS, CELLS])


@st.composite
def files(draw: st.DrawFn, *, oddity: int) -> bytes:
    """A CSV file most of whose rows are plain; one field in `oddity` is not."""

    def field(plain: st.SearchStrategy[bytes], odd: st.SearchStrategy[bytes]) -> bytes:
        return draw(odd if draw(st.integers(0, oddity)) == oddity else plain)

    delimiter = draw(st.sampled_from([b",", b",", b",", b";", b"\t"]))
    columns = [b"user_id", b"item_id", b"rating", *draw(st.sampled_from([[], [b"timestamp"], [b"x"], [b"x", b"x"]]))]
    plain_times = draw(
        st.sampled_from(
            [
                st.integers(1, 10**10).map(lambda x: str(x).encode()),
                st.integers(10**11, 10**13).map(lambda x: str(x).encode()),
                st.datetimes().map(lambda t: t.isoformat().encode()),
                st.datetimes(timezones=st.sampled_from(ZONES)).map(lambda t: t.isoformat().encode()),
                st.dates().map(lambda t: t.isoformat().encode()),
            ]
        )
    )
    plain_end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [delimiter.join(columns)]
    for _ in range(draw(st.integers(0, 8))):
        fields = [field(plain_ids, texts), field(plain_ids, texts), field(plain_numbers, numbers)]
        fields += [field(plain_times, times) if c == b"timestamp" else field(texts, texts) for c in columns[3:]]
        lines.append(delimiter.join(fields))
    body = b"".join(line + field(st.just(plain_end), LINE_ENDS) for line in lines)
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\n", b"\r\n"])) + body


@settings(max_examples=300, deadline=None)
@given(data=files(oddity=12), min_rating=st.sampled_from([None, 2.0]), block_bytes=block_sizes, feedback=feedbacks)
def test_fast_accepts_only_what_strict_reads_the_same(
    executor: Executor, data: bytes, min_rating: float | None, block_bytes: int, feedback: Feedback
) -> None:
    for delimiter in (",", ";", "tab"):
        choice = ReadOptions(delimiter=delimiter, min_rating=min_rating)
        accepted = agree(data, options=choice, executor=executor, block_bytes=block_bytes, feedback=feedback)
        event(f"accepted: {accepted}")


@settings(max_examples=300, deadline=None)
@given(
    body=joined(st.sampled_from([b",", b",", b"\n", b'"', b"a", b"\r", b"\xff", b"\0", b"1"]) | texts, most=14),
    options=st.builds(ReadOptions, min_rating=st.just(None), delimiter=st.sampled_from([",", "|"])),
    block_bytes=block_sizes,
)
@example(body=b"a,b\rc,d\n", options=ReadOptions(), block_bytes=64)
@example(body=b"a\0,b\n", options=ReadOptions(), block_bytes=64)
@example(body=b"a,b\r", options=ReadOptions(), block_bytes=64)
@example(body=b"aaaaaaaaaaa,b\n\xef\xbb\xbfc,d\n", options=ReadOptions(), block_bytes=30)
@example(body=b"\xef\xbb\xbfc,d\n", options=ReadOptions(), block_bytes=64)
@example(body=b'a,"b\nc"\nd,e\n', options=ReadOptions(), block_bytes=64)
@example(body=b'a,"b', options=ReadOptions(), block_bytes=64)
@example(body=b'a,"bbbbbbbbbbbbbbbbb\nc"\nd,e\n', options=ReadOptions(), block_bytes=30)
@example(body=b'"a"b,c\n', options=ReadOptions(), block_bytes=64)
@example(body=b'a,"\n', options=ReadOptions(), block_bytes=64)
@example(body=b'"","a"\n', options=ReadOptions(), block_bytes=64)
@example(body=b'""a"",b\n', options=ReadOptions(), block_bytes=64)
@example(body=b'"a"\r,b\n', options=ReadOptions(), block_bytes=64)
@example(body=b'"a" ,b\n', options=ReadOptions(), block_bytes=64)
@example(body=b'a,b"\n"c",d\n', options=ReadOptions(), block_bytes=64)
def test_fast_agrees_on_arbitrary_bytes_after_a_header(
    executor: Executor, body: bytes, options: ReadOptions, block_bytes: int
) -> None:
    header = options.separator.join(["user_id", "item_id"]).encode()
    agree(header + b"\n" + body, options=options, executor=executor, block_bytes=block_bytes)


@pytest.mark.parametrize("weight", ODD_NUMBERS)
def test_fast_agrees_on_each_odd_weight(executor: Executor, weight: bytes) -> None:
    data = b"user_id,item_id,weight\na,b,1\nc,d," + weight + b"\n"
    for feedback in (IMPLICIT, RATINGS, COUNTS):
        for min_rating in (None, 0.5):
            choice = ReadOptions(min_rating=min_rating)
            agree(data, options=choice, executor=executor, block_bytes=1 << 16, feedback=feedback)


@pytest.mark.parametrize("first", ODD_TIMES)
def test_fast_agrees_on_each_pair_of_odd_times(executor: Executor, first: bytes) -> None:
    for second in ODD_TIMES:
        for block_bytes in (1, 1 << 16):
            data = b"user_id,item_id,timestamp\na,b," + first + b"\nc,d," + second + b"\n"
            for feedback in (IMPLICIT, CELLS):
                agree(data, options=ReadOptions(), executor=executor, block_bytes=block_bytes, feedback=feedback)


@pytest.mark.parametrize(
    "data",
    [
        b"user_id,item_id\na,b\n007,NA\n",
        b"\xef\xbb\xbfuser_id,item_id\r\na,b\r\n\r\nc,d",
        b'"user_id","item_id"\n"a","b,c"\n"d""e","f"\n',
        b"title,user_id,title,item_id,rating\n\xff,a,y,b, 2.5 \n",
        b"user_id,item_id,timestamp\na,b,2024-05-31T08:00:00Z\n",
        b"user_id,item_id,timestamp\na,b,2024-05-31 08:00:00\n",
        b"user_id,item_id,timestamp\na,b,1700000000\n",
        b"user_id,item_id,timestamp\na,b,1700000000123\n",
        b"user_id,item_id\n",
    ],
)
def test_fast_accepts_well_formed_files(executor: Executor, data: bytes) -> None:
    assert agree(data, options=ReadOptions(), executor=executor, block_bytes=1 << 16)


@pytest.mark.parametrize("separator", [" ", ";", "|", "tab"])
def test_fast_accepts_any_delimiter(executor: Executor, separator: str) -> None:
    options = ReadOptions(delimiter=separator)
    data = "user_id,item_id\na,b\n007,NA\n".replace(",", options.separator).encode()
    assert agree(data, options=options, executor=executor, block_bytes=1 << 16)


@pytest.mark.parametrize(
    ("rating", "feedbacks_that_take_it"),
    [
        (b"-3.4e38", [RATINGS]),
        (b"-1", [RATINGS]),
        (b"0", [RATINGS, COUNTS, CELLS]),
        (b"-0.0", [RATINGS, COUNTS, CELLS]),
        (b"1e-40", [RATINGS, COUNTS, CELLS]),
        (b"0.5", [IMPLICIT, RATINGS, COUNTS, CELLS]),
        (b"3.5e38", []),
        (b"-3.5e38", []),
    ],
)
def test_fast_accepts_the_range_of_each_kind_of_feedback(
    executor: Executor, rating: bytes, feedbacks_that_take_it: list[Feedback]
) -> None:
    data = b"user_id,item_id,rating\na,b," + rating + b"\n"
    for feedback in (IMPLICIT, RATINGS, COUNTS, CELLS):
        accepted = agree(data, options=ReadOptions(), executor=executor, block_bytes=1 << 16, feedback=feedback)
        assert accepted is (feedback in feedbacks_that_take_it)


def test_the_time_of_each_row_is_kept_where_it_is_wanted(executor: Executor) -> None:
    data = b"user_id,item_id,rating,timestamp\na,b,1,1700000000\nc,d,2,1700000000.25\n"
    for keep_times, times in ((False, [None, None]), (True, [1_700_000_000_000_000, 1_700_000_000_250_000])):
        how: Any = dict(name="x.csv", options=ReadOptions(), feedback=IMPLICIT, keep_times=keep_times)
        for batches in (
            csv_fast.parse(io.BytesIO(data), **how, executor=executor),
            list(csv_strict.parse(io.BytesIO(data), **how)),
        ):
            assert [row[-1] for row in rows_of(batches)] == times
            assert span_of(batches) == (1_700_000_000_000_000, 1_700_000_000_250_000)


def test_fast_accepts_the_same_rows_in_blocks_of_any_size(executor: Executor) -> None:
    data = b"user_id,item_id,weight\n" + b"".join(b"u%d,i%d,%d\n" % (k % 7, k % 11, k % 5 + 1) for k in range(300))
    whole = read_fast(data, options=ReadOptions(), executor=executor, block_bytes=1 << 20)
    assert whole is not None and len(rows_of(whole)) == 300
    for block_bytes in (7, 64, 1000):
        parts = read_fast(data, options=ReadOptions(), executor=executor, block_bytes=block_bytes)
        assert parts is not None and rows_of(parts) == rows_of(whole)
