from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, RATINGS, Feedback
from factorbox.data.reading import ReadOptions, read_interactions
from factorbox.errors import UserError


def save(folder: Path, **columns: Any) -> Path:
    """Write one Parquet file, under a name that does not tell."""
    pq.write_table(pa.table(columns), folder / "part-0")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_interactions(folder, options=ReadOptions())
    return str(caught.value)


def undecodable(kind: pa.DataType, *values: bytes) -> pa.Array:
    """Make a text column of bytes that nobody has checked."""
    raw = pa.array(values, pa.large_binary() if kind == pa.large_string() else pa.binary())
    return pa.Array.from_buffers(kind, len(raw), raw.buffers())


@pytest.mark.parametrize(
    "users",
    [
        ["7", "007", "7"],
        pa.array(["7", "007", "7"], pa.large_string()),
        pa.array(["7", "007", "7"]).dictionary_encode(),
    ],
)
@pytest.mark.parametrize("weight_type", [pa.int8(), pa.float32(), pa.decimal128(9, 2)])
def test_parquet_gives_what_csv_gives(tmp_path: Path, users: Any, weight_type: pa.DataType) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "parquet").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("userId,item,rating,timestamp\n7,3,2,10\n007,-4,3,20\n7,3,1,30\n")
    weights = pa.array([2, 3, 1]).cast(pa.float64()).cast(weight_type)
    times = pa.array([10, 20, 30], pa.timestamp("s"))
    save(tmp_path / "parquet", timestamp=times, rating=weights, userId=users, item=pa.array([3, -4, 3], pa.int32()))
    for minimum in (None, 2.0):
        results = [
            read_interactions(tmp_path / kind, options=ReadOptions(min_rating=minimum)) for kind in ("csv", "parquet")
        ]
        (of_csv, days), (of_parquet, same_days) = (
            (replace(summary, activity=None), summary.activity) for _, summary in results
        )
        assert of_csv == of_parquet
        assert days is not None and same_days is not None
        assert (days.days.tolist(), days.counts.tolist()) == (same_days.days.tolist(), same_days.counts.tolist())
        for name in ("indptr", "item_indices", "weights"):
            assert getattr(results[0][0], name).tolist() == getattr(results[1][0], name).tolist()
        assert results[0][0].user_ids.to_list() == results[1][0].user_ids.to_list() == ["007", "7"]
        assert results[0][0].item_ids.to_list() == results[1][0].item_ids.to_list() == ["-4", "3"]


@pytest.mark.parametrize(
    "times",
    [
        [86400, 2 * 86400],
        [86400.0, 172800.0],
        ["1970-01-02", "1970-01-03T02:00:00+02:00"],
        [datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)],
        pa.array([86400 * 10**9 + 1, 172800 * 10**9], pa.timestamp("ns")),
        pa.array([86400_000, 172800_000], pa.timestamp("ms", tz="Europe/Berlin")),
    ],
)
def test_times_of_every_type_are_read(tmp_path: Path, times: Any) -> None:
    _, summary = read_interactions(
        save(tmp_path, user=["a", "b"], item=["p", "q"], timestamp=times), options=ReadOptions()
    )
    assert summary.first_time == datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)
    assert summary.last_time == datetime.datetime(1970, 1, 3, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": ["a", None]}, "bad user 'null' in part-0, row 2, column 'user'"),
        ({"user": [1.0, 2.0]}, "column 'user' of part-0 holds double, and the user column takes text or whole numbers"),
        ({"user": [True, False]}, "column 'user' of part-0 holds bool"),
        ({"user": [b"a", b"b"]}, "column 'user' of part-0 holds binary"),
        ({"user": ["a", ""]}, "bad user '' in part-0, row 2, column 'user'"),
        ({"user": ["a", "b\0"]}, "bad user 'b\\x00' in part-0, row 2"),
        ({"rating": [1.0, None]}, "bad weight 'null' in part-0, row 2, column 'rating'"),
        ({"rating": [1.0, float("nan")]}, "bad weight 'nan' in part-0, row 2, column 'rating'"),
        ({"rating": [0, 1]}, "bad weight '0' in part-0, row 1, column 'rating'"),
        ({"rating": ["1", "2"]}, "column 'rating' of part-0 holds string, and the weight column takes numbers"),
        ({"timestamp": [1, 10**12]}, "bad time '1000000000000.0' in part-0, row 2"),
        ({"timestamp": [1, 10**18]}, "bad time '1e+18' in part-0, row 2"),
        ({"timestamp": ["2024-01-01", "no"]}, "bad time 'no' in part-0, row 2"),
        ({"timestamp": pa.array([1, 10**12], pa.timestamp("s"))}, "bad time"),
        ({"timestamp": [True, False]}, "column 'timestamp' of part-0 holds bool"),
        ({"customer_id": ["a", "b"]}, "2 user columns in part-0: 'user' and 'customer_id'"),
    ],
)
def test_bad_columns_are_refused_with_row_and_value(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    assert message in refusal(save(tmp_path, **({"user": ["a", "b"], "item": ["p", "q"]} | columns)))


LATIN = "bad user b'b\\xf6' in part-0, row 2, column 'user': the id is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_ids_that_are_not_utf8_are_refused_like_those_of_csv(tmp_path: Path, kind: pa.DataType) -> None:
    column = undecodable(kind, b"a\xc3\xa9", b"b\xf6", b"b\xf6", b"")
    for users in (column, column.dictionary_encode()):
        assert LATIN in refusal(save(tmp_path, user=users, item=["p", "q", "r", "s"]))


def test_times_and_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    times = undecodable(pa.string(), b"2024-05-31", b"\xff")
    save(tmp_path, user=["a", "b"], item=["p", "q"], timestamp=times)
    assert "bad time b'\\xff' in part-0, row 2, column 'timestamp'" in refusal(tmp_path)
    pq.write_table(pa.table({"user": ["a"], "n_ame": ["p"]}), tmp_path / "part-0", store_schema=False)
    (tmp_path / "part-0").write_bytes((tmp_path / "part-0").read_bytes().replace(b"n_ame", b"n\xe4ame"))
    assert refusal(tmp_path).startswith("part-0 has a column name that is not UTF-8")


@pytest.mark.parametrize(
    ("times", "value"),
    [
        (pa.array([1, 10**15], pa.timestamp("ms")), "1000000000000000 ms"),
        (pa.array([1, -(2**62)], pa.timestamp("ms")), f"{-(2**62)} ms"),
        (pa.array([1, 2**62], pa.timestamp("us")), f"{2**62} us"),
        (pa.array([1, 2**31 - 1], pa.date32()), f"{(2**31 - 1) * 86400} s"),
    ],
)
def test_a_time_out_of_range_is_named_whatever_its_unit(tmp_path: Path, times: pa.Array, value: str) -> None:
    message = refusal(save(tmp_path, user=["a", "b"], item=["p", "q"], timestamp=times))
    assert f"bad time '{value}' in part-0, row 2, column 'timestamp': it lies outside the years 1 to 9999" in message


def verdict(folder: Path, feedback: Feedback, min_rating: float | None) -> tuple[str, list[float]]:
    """Return why a channel is refused, without place and value, or which weights are read."""
    try:
        data, _ = read_interactions(folder, options=ReadOptions(min_rating=min_rating), feedback=feedback)
    except UserError as error:
        return str(error).rpartition(": ")[2], []
    return "", data.weights.tolist()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats() | st.floats(-2, 5), st.integers(-(10**9), 10**10)), min_size=1, max_size=4),
    feedback=st.sampled_from([IMPLICIT, RATINGS, COUNTS, CELLS]),
    min_rating=st.sampled_from([None, 1.0]),
)
@example(rows=[(-1.0, 1)], feedback=CELLS, min_rating=None)
@example(rows=[(1.0, 2), (2.0, 1), (3.0, 1)], feedback=RATINGS, min_rating=None)
def test_parquet_takes_the_weights_and_times_that_csv_takes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, int]],
    feedback: Feedback,
    min_rating: float | None,
) -> None:
    ids = ["a", "b", "a", "a"][: len(rows)]
    as_csv, as_parquet = tmp_path_factory.mktemp("csv"), tmp_path_factory.mktemp("parquet")
    lines = [f"{user},p,{rating!r},{time}\n" for user, (rating, time) in zip(ids, rows, strict=True)]
    (as_csv / "a.csv").write_text("user,item,rating,timestamp\n" + "".join(lines))
    ratings, times = zip(*rows, strict=True)
    save(as_parquet, user=ids, item=["p"] * len(rows), rating=ratings, timestamp=times)
    assert verdict(as_parquet, feedback, min_rating) == verdict(as_csv, feedback, min_rating)


def test_a_file_without_columns_is_refused(tmp_path: Path) -> None:
    assert "no columns in part-0: give it a user and an item column" in refusal(save(tmp_path))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    save(tmp_path, user=[str(k) for k in range(5000)], item=[str(k) for k in range(5000)])
    whole = (tmp_path / "part-0").read_bytes()
    for broken in (whole[:-4], whole[: len(whole) // 2], whole[:100] + b"\xff" * 200 + whole[300:]):
        (tmp_path / "part-0").write_bytes(broken)
        assert "part-0 is a broken Parquet file" in refusal(tmp_path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    save(tmp_path, user=pa.array([], pa.string()), item=pa.array([], pa.string()))
    assert ": its file holds column names only; put at least one interaction into it" in refusal(tmp_path)
