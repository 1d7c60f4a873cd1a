from __future__ import annotations

import gzip
import io
import math
import os
import random
import tarfile
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.data.feedback import IMPLICIT, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.data.reading import ReadOptions, ReadSummary, read_interactions
from factorbox.errors import PlatformError, UserError


def read(folder: Path, **options: Any) -> tuple[Interactions, ReadSummary]:
    return read_interactions(folder, options=ReadOptions(**options))


def write(folder: Path, **files: str | bytes) -> Path:
    """Write files `name_csv` as name.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def pairs(data: Interactions) -> dict[tuple[str, str], float]:
    return {
        (data.user_ids[user], data.item_ids[int(item)]): float(data.weights[data.indptr[user] + k])
        for user in range(data.n_users)
        for k, item in enumerate(data.items_of(user))
    }


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    return str(caught.value)


def test_ids_stay_text_exactly_as_written(tmp_path: Path) -> None:
    write(tmp_path, a_csv='item_id,user_id\n007,NA\n7, é\n"x, ""y""",null\n1.0,NA\n')
    data, _ = read(tmp_path)
    assert pairs(data) == {("NA", "007"): 1, (" é", "7"): 1, ("null", 'x, "y"'): 1, ("NA", "1.0"): 1}
    assert data.user_ids.to_list() == sorted([" é", "NA", "null"], key=str.encode)


def test_all_files_in_all_folders_are_one_data_set(tmp_path: Path) -> None:
    write(tmp_path / "x" / "y", a_csv="\ufeffuser_id,item_id,rating\r\na,p,2\r\n")
    write(tmp_path, part="rating,extra,MOVIE_ID,userId\n3,?,q,b\n")
    write(tmp_path, b_gz=gzip.compress(b"user,item,rating\na,p,1\n") + gzip.compress(b"c,p,4\n"))
    write(tmp_path, header_csv="user,item,rating\n")
    write(tmp_path / ".ipynb_checkpoints", a_csv="junk")
    write(tmp_path / "_temporary", a_csv="junk")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    data, summary = read(tmp_path)
    assert pairs(data) == {("a", "p"): 3, ("b", "q"): 3, ("c", "p"): 4}
    assert (summary.files, summary.rows, summary.repeated_rows) == (4, 4, 1)
    assert summary.columns["user"] == ("user", "userId", "user_id")
    assert (summary.smallest_weight, summary.largest_weight, summary.looks_like_ratings) == (1, 4, True)


def test_repeated_rows_without_weights_are_counted(tmp_path: Path) -> None:
    data, summary = read(write(tmp_path, a_csv="user,item\na,p\na,q\na,p\n"))
    assert pairs(data) == {("a", "p"): 2, ("a", "q"): 1}
    assert (summary.repeated_rows, summary.smallest_weight, summary.looks_like_ratings) == (1, None, False)


def test_rows_below_min_rating_leave_no_trace(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item,rating,timestamp\na,p,3,100\nb,p,2.9,1\na,q,-1,999\na,p,0,5\nc,r,4,200\n")
    data, summary = read(tmp_path, min_rating=3)
    assert pairs(data) == {("a", "p"): 3, ("c", "r"): 4}
    assert (summary.rows, summary.dropped_below_min_rating, summary.repeated_rows) == (5, 3, 0)
    assert (summary.first_time, summary.last_time) == (
        datetime.fromtimestamp(100, tz=UTC),
        datetime.fromtimestamp(200, tz=UTC),
    )
    assert "min_rating=9 drops all 5 rows of the channel" in refusal(tmp_path, min_rating=9)
    assert "min_rating=9 drops the only row of the" in refusal(
        write(tmp_path, a_csv="user,item,rating\na,p,3"), min_rating=9
    )


@pytest.mark.parametrize("weight", ["0", "1e-40"])
def test_min_rating_says_that_it_drops_only_what_is_below_it(tmp_path: Path, weight: str) -> None:
    write(tmp_path, a_csv=f"user,item,rating\na,p,{weight}\n")
    remedy = "or raise min_rating=0: it drops only the rows whose weight is below it"
    assert remedy in refusal(tmp_path, min_rating=0)
    assert read(write(tmp_path, b_csv="user,item,rating\nb,q,1\n"), min_rating=1)[0].n_pairs == 1


def test_times_of_all_kinds_give_the_span(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_csv="user,item,timestamp\na,p,978300760\n",
        b_csv="user,item,unix_timestamp\na,q,1500000000123\n",
        c_csv="user,item,timestamp\na,r,2024-05-31T08:00:00+02:00\na,s,2001-01-01\n",
    )
    _, summary = read(tmp_path)
    assert summary.first_time == datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC)
    assert summary.last_time == datetime(2024, 5, 31, 6, tzinfo=UTC)


def test_rows_kept_are_counted_by_day_over_all_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_csv="user,item,rating,timestamp\na,p,5,0\na,q,5,86399\nb,p,1,86400\nb,q,5,172800\n",
        b_csv="user,item,rating,unix_timestamp\na,p,5,1970-01-03T23:59:59Z\na,p,5,1969-12-31\n",
        c_csv="user,item,rating\nc,p,5\n",
    )
    _, summary = read(tmp_path, min_rating=3)
    assert summary.activity is not None
    assert summary.activity.days.tolist() == [-1, 0, 2]
    assert summary.activity.counts.tolist() == [1, 2, 2]
    assert read(write(tmp_path / "plain", a_csv="user,item\na,p\n"))[1].activity is None


@pytest.mark.parametrize("feedback", [IMPLICIT, RATINGS])
def test_times_are_kept_where_they_are_wanted(tmp_path: Path, feedback: Feedback) -> None:
    write(
        tmp_path,
        a_csv="user,item,rating,timestamp\na,p,1,9\nb,q,2,4\na,p,3,7\n",
        b_csv="user,item,rating,timestamp\na,q,1,1970-01-01T00:00:05.25Z\na,p,1,1970-01-01T00:00:08\n",
    )
    kept, summary = read_interactions(tmp_path, options=ReadOptions(), feedback=feedback, keep_times=True)
    assert kept.times is not None
    assert kept.times.tolist() == [9_000_000, 5_250_000, 4_000_000]
    plain, same = read_interactions(tmp_path, options=ReadOptions(), feedback=feedback)
    assert plain.times is None
    assert pairs(plain) == pairs(kept)
    assert (same.rows, same.repeated_rows) == (summary.rows, summary.repeated_rows) == (5, 2)


def test_without_a_time_column_no_times_are_kept(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item\na,p\n", b_csv="user,item\na,p\n")
    assert read_interactions(tmp_path, options=ReadOptions(), keep_times=True)[0].times is None


def test_files_with_and_without_times_do_not_mix_where_times_are_kept(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item\na,p\n", b_csv="user,item,timestamp\na,p,5\n", c_csv="user,item\n")
    with pytest.raises(UserError) as caught:
        read_interactions(tmp_path, options=ReadOptions(), keep_times=True)
    assert str(caught.value) == (
        "b.csv has the time column 'timestamp' and a.csv has none: give all files one, or none, or choose a validation "
        "that needs no times, such as stratified"
    )
    assert read(tmp_path)[0].n_pairs == 1


@given(
    rows=st.lists(
        st.tuples(
            st.text("ab é7", min_size=1, max_size=2), st.text("xyz0", min_size=1, max_size=2), st.floats(0.01, 1e6)
        ),
        min_size=1,
        max_size=25,
    ),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_result_does_not_depend_on_row_order_or_files(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]], shuffle: random.Random
) -> None:
    def read_split(rows: list[tuple[str, str, float]], cut: int, names: tuple[str, str]) -> Interactions:
        folder = tmp_path_factory.mktemp("channel")
        for name, part in zip(names, (rows[:cut], rows[cut:]), strict=True):
            lines = ["user_id,item_id,weight", *(f"{user},{item},{weight!r}" for user, item, weight in part)]
            (folder / name).write_text("\n".join(lines), encoding="utf-8")
        return read(folder)[0]

    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    first = read_split(rows, 0, ("a.csv", "b.csv"))
    second = read_split(shuffled, shuffle.randint(0, len(rows)), ("z.csv", "1.txt"))
    assert first.user_ids.to_list() == second.user_ids.to_list() == sorted({row[0] for row in rows}, key=str.encode)
    assert first.item_ids.to_list() == second.item_ids.to_list()
    for name in ("indptr", "item_indices", "weights"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert math.isclose(float(first.weights.sum(dtype=float)), sum(row[2] for row in rows), rel_tol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_result_does_not_depend_on_threads(tmp_path: Path, threads: int) -> None:
    body = "".join(f"u{k % 97},i{k % 89},{k % 7 + 0.1}\n" for k in range(5000))
    write(tmp_path, a_csv="user,item,weight\n" + body)
    alone = read(tmp_path)[0]
    data, _ = read_interactions(tmp_path, options=ReadOptions(), threads=threads)
    assert pairs(data) == pairs(alone)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c", "1 field instead of 3 in a.csv, line 4: 'c'"),
        ("c,d,1,2", "4 fields instead of 3 in a.csv, line 4"),
        (",d,1", "bad user '' in a.csv, line 4, column 'user': the id is empty"),
        ('c,"",1', "bad item '' in a.csv, line 4, column 'item': the id is empty"),
        ("c,d,", "bad weight '' in a.csv, line 4, column 'weight': a weight must be a finite number above 0"),
        ("c,d,abc", "bad weight 'abc' in a.csv, line 4"),
        ("c,d,nan", "bad weight 'nan' in a.csv, line 4"),
        ("c,d,inf", "bad weight 'inf' in a.csv, line 4"),
        ("c,d,1_0", "bad weight '1_0' in a.csv, line 4"),
        ("c,d,0x1", "bad weight '0x1' in a.csv, line 4"),
        ("c,d,1e400", "bad weight '1e400' in a.csv, line 4"),
        ("c,d,-1", "or set the hyperparameter min_rating to drop low values (not with filters=any)"),
        ("c,d,0", "bad weight '0' in a.csv, line 4"),
        ('"c,d,1', "a quotation mark is not closed in a.csv, line 4"),
        ('"c"x,d,1', "text after a closing quotation mark in a.csv, line 4"),
        ("c,d,1\re,f,2", "a carriage return alone in a.csv, line 4"),
        ("c,d,-1e400", "a weight must be a finite number above 0 (from 1.2e-38 to 3.4e38); mend or remove the row"),
        (b"\xff,d,1", r"bad user b'\xff' in a.csv, line 4, column 'user': the id is not UTF-8"),
        ("c\0,d,1", "a.csv is no text file: line 4 holds a NUL byte"),
        (f"{'c' * 200_000},d,1", "a field is longer than 131,072 characters in a.csv, line 4"),
        (f"{'c' * 99}é,d,x" + "y" * 100, "bad weight 'x" + "y" * 59 + "'…"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_column_and_value(tmp_path: Path, row: str | bytes, message: str) -> None:
    raw = row.encode() if isinstance(row, str) else row
    write(tmp_path, a_csv=b"user,item,weight\n\na,b,1\n" + raw + b"\ng,h,1\n")
    assert message in refusal(tmp_path)


def test_the_line_counts_line_ends_within_quotes(tmp_path: Path) -> None:
    write(tmp_path, a_csv='user,item,title\na,b,"two\nlines"\n,c,d\n')
    assert "a.csv, line 4" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2024-05-31\n", "seconds stand above it and this is ISO 8601"),
        ("1700000000,1700000000123\n", "seconds stand above it and this is milliseconds"),
        ("2024-05-31,yesterday\n", "bad time 'yesterday' in a.csv, line 3"),
        ("1,\n", "bad time '' in a.csv, line 3"),
        ("1,1700000000123456789\n", "bad time '1700000000123456789' in a.csv, line 3"),
    ],
)
def test_times_of_two_kinds_or_none_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    first, second = rows.rstrip("\n").split(",")
    write(tmp_path, a_csv=f"user,item,timestamp\na,b,{first}\nc,d,{second}\n")
    assert message in refusal(tmp_path)


def test_files_that_are_no_tables_are_refused_by_name(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a.csv", "user,item\na,b\n")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as tarred:
        tarred.addfile(tarfile.TarInfo("a.csv"))
    whole = gzip.compress(b"user,item\n" + os.urandom(20000).hex().encode())
    good = b"user,item\na,b\n"
    for content, message in {
        archive.getvalue(): "x.csv is a zip archive (or an Excel workbook): unpack it",
        tar.getvalue(): "x.csv is a tar archive: unpack it",
        gzip.compress(gzip.compress(good)): "x.csv is compressed with gzip twice",
        whole[:-300]: "x.csv is a broken or incomplete gzip file",
        whole[:500] + b"\0\0\0\0" + whole[504:]: "x.csv is a broken or incomplete gzip file",
        gzip.compress(good) + b"tail": "x.csv is a broken or incomplete gzip file",
        b"\x1f\x8b": "x.csv is a broken or incomplete gzip file",
        b"BZh91AY": "x.csv is compressed with bzip2",
        "user,item".encode("utf-16"): "x.csv is UTF-16 text: save it as UTF-8",
        b"": "x.csv is empty",
        b"\xef\xbb\xbf\n\r\n": "no header in x.csv",
        b"\x7fELF\x02\x01\x00\x00" * 50: "x.csv is no text file: line 1 holds a NUL byte",
        b"PAR1 and then nothing": "x.csv is a broken Parquet file",
    }.items():
        assert message in refusal(write(tmp_path, x_csv=content)), content[:20]
    (tmp_path / "x.csv").rename(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(good)
    assert "x.parquet is no Parquet file, although named so" in refusal(tmp_path)


def test_a_channel_without_rows_is_refused_with_what_is_there(tmp_path: Path) -> None:
    assert "or give the training job a channel named 'training': it takes CSV" in refusal(tmp_path / "training")
    empty = write(tmp_path / "training")
    assert "the channel 'training' holds nothing" in refusal(empty)
    (empty / "_SUCCESS").touch()
    write(empty / ".git", a_csv="user,item\na,b\n")
    assert "holds only .git/, _SUCCESS, which are skipped" in refusal(empty)
    write(empty, a_csv="user,item\n", b_csv="user,item")
    assert "no rows in the channel 'training': its 2 files hold column names only" in refusal(empty)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_single_file_is_read_as_a_channel_that_holds_it_alone(tmp_path: Path, name: str) -> None:
    write(tmp_path, b_csv="user,item,rating\nz,z,1\n")
    text = b"user,item,rating\na,p,2\n"
    if name == "a.parquet":
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(io.BytesIO(text)), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    data, summary = read(tmp_path / name)
    assert pairs(data) == {("a", "p"): 2}
    assert summary.files == 1


def test_a_single_file_without_rows_is_refused_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item,rating\n", b_csv="user,item,rating\na,p,2\n")
    assert refusal(tmp_path / "a.csv").startswith("no rows in a.csv: it holds column names only; put at least one")
    assert refusal(tmp_path / "b.csv", min_rating=3).startswith("min_rating=3 drops the only row of b.csv: give a")
    assert "/gone.csv does not exist" in refusal(tmp_path / "gone.csv")


def test_files_with_and_without_weights_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item\na,b\n", b_csv="user,item,rating\na,b,1\n")
    assert refusal(tmp_path).startswith("b.csv has the weight column 'rating' and a.csv has none")


def test_a_file_without_rows_says_nothing_about_weights_whichever_parser_reads_it(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item\n", b_csv='user,item,a"b\n', c_csv="user,item,rating\na,b,2\n")
    data, summary = read(tmp_path)
    assert pairs(data) == {("a", "b"): 2}
    assert summary.columns["weight"] == ("rating",)
    write(tmp_path, d_csv="user,item\na,b\n")
    assert refusal(tmp_path).startswith("c.csv has the weight column 'rating' and d.csv has none")


def test_a_file_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no regular file" in refusal(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    assert "gone.csv is no regular file" in refusal(tmp_path)


def test_a_file_that_cannot_be_opened_is_a_platform_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path, a_csv="user,item\na,b\n")
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(PlatformError, match=r"a\.csv cannot be read \(Permission denied\): check its permissions"):
        read(tmp_path)


def test_one_endless_line_is_refused_with_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"user,item\na,b\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        message = refusal(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "line 3 of a.csv is longer than 1,048,576 bytes" in message
    assert len(message) < 400
    assert peak < 60_000_000


def test_a_large_file_without_line_feeds_is_refused_with_a_remedy(tmp_path: Path) -> None:
    write(tmp_path, a_csv="user,item\r" + "a,b\r" * 300_000)
    assert "it holds carriage returns alone; end lines with \\n or \\r\\n" in refusal(tmp_path)


def test_one_user_and_one_item_are_enough(tmp_path: Path) -> None:
    data, _ = read(write(tmp_path, a_csv="user,item\na,b"))
    assert (data.n_users, data.n_items, data.n_pairs) == (1, 1, 1)


@pytest.mark.parametrize(
    ("column", "weights", "expected"),
    [
        ("rating", "1 1 1", True),
        ("star_rating", "100", True),
        ("total_interactions", "1 4 5 5", False),
        ("weight", "1 4 5 5", True),
        ("weight", "0.5 3.5 3.5 4", True),
        ("weight", "1 1 1 2 3", False),
        ("weight", "1 4 4 11", False),
        ("weight", "1.2 4 4", False),
        ("weight", "1 1", False),
        ("weight", "1 3e38 3e38", False),
    ],
)
def test_ratings_are_told_from_counts(tmp_path: Path, column: str, weights: str, expected: bool) -> None:
    rows = "".join(f"u{k},i,{weight}\n" for k, weight in enumerate(weights.split()))
    assert read(write(tmp_path, a_csv=f"user,item,{column}\n{rows}"))[1].looks_like_ratings is expected


def test_file_names_of_any_bytes_are_shown_as_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.csv")).write_text("user,item\n,b\n")
    message = refusal(tmp_path)
    assert "\n" not in message and message.encode("utf-8")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        # What only the strict parser sees, and what the fast one finds itself.
        ("user,item,rating\n,p,1\n", "bad user '' in {}, line 2, column 'user'"),
        ("user,rating\na,1\n", "no item column in {}, line 1"),
    ],
)
def test_where_there_are_other_channels_errors_name_that_of_a_file(tmp_path: Path, row: str, fault: str) -> None:
    folder = write(tmp_path / "validation" / "x", a_csv=row).parent
    for with_folder, place in ((False, "x/a.csv"), (True, "validation/x/a.csv")):
        with pytest.raises(UserError) as caught:
            read_interactions(folder, options=ReadOptions(), with_folder=with_folder)
        assert str(caught.value).startswith(fault.format(place))
        # A file by itself is of no channel.
        with pytest.raises(UserError) as caught:
            read_interactions(folder / "x" / "a.csv", options=ReadOptions(), with_folder=with_folder)
        assert str(caught.value).startswith(fault.format("a.csv"))


def test_errors_name_the_channel_of_a_parquet_file_too(tmp_path: Path) -> None:
    folder = tmp_path / "validation"
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"user": ["a", None], "item": ["p", "q"]}), folder / "a.parquet")
    with pytest.raises(UserError, match=r"^bad user 'null' in validation/a\.parquet, row 2, column 'user'"):
        read_interactions(folder, options=ReadOptions(), with_folder=True)
