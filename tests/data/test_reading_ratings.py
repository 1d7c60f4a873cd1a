"""Reading ratings: which values are good, and which of several ratings of one pair counts."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.data import csv_fast, folding
from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, PAIRS, RATINGS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.data.reading import ReadOptions, ReadSummary, read_interactions
from factorbox.errors import UserError


def read(
    folder: Path, *, feedback: Feedback = RATINGS, threads: int | None = None, **options: Any
) -> tuple[Interactions, ReadSummary]:
    return read_interactions(folder, options=ReadOptions(**options), feedback=feedback, threads=threads)


def write(folder: Path, **files: str) -> Path:
    """Write files `name` as name.csv."""
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return folder


def ratings(data: Interactions) -> dict[tuple[str, str], float]:
    return {
        (data.user_ids[user], data.item_ids[int(item)]): float(data.weights[data.indptr[user] + k])
        for user in range(data.n_users)
        for k, item in enumerate(data.items_of(user))
    }


def refusal(folder: Path, *, feedback: Feedback = RATINGS, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, feedback=feedback, **options)
    return str(caught.value)


TIME_TEXTS = {
    "seconds": lambda time: str(978307200 + time),
    "milliseconds": lambda time: str((978307200 + time) * 1000),
    "ISO 8601": lambda time: datetime.fromtimestamp(978307200 + time, tz=UTC).isoformat(),
    "ISO 8601 without zone": lambda time: datetime.fromtimestamp(978307200 + time, tz=UTC).isoformat(" ")[:19],
}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("pq"), st.integers(-5, 5), st.integers(0, 3)),
        min_size=1,
        max_size=40,
    ),
    cut=st.integers(0, 40),
    kinds=st.none() | st.tuples(st.sampled_from(sorted(TIME_TEXTS)), st.sampled_from(sorted(TIME_TEXTS))),
    threads=st.sampled_from([1, 2, 5]),
    strict=st.booleans(),
)
def test_the_latest_rating_of_a_pair_counts_whatever_the_files_parsers_and_threads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, int, int]],
    cut: int,
    kinds: tuple[str, str] | None,
    threads: int,
    strict: bool,
) -> None:
    folder = tmp_path_factory.mktemp("channel")
    for name, part, kind in zip("ab", (rows[:cut], rows[cut:]), kinds or ("", ""), strict=True):
        lines = ["user,item,rating" + ",timestamp" * bool(kind)]
        lines += [",".join([u, i, str(r), *([TIME_TEXTS[kind](t)] if kind else [])]) for u, i, r, t in part]
        # The fast parser refuses a quotation mark within a field.
        extra = [",x", *[',a"b'] * len(part)] if strict else [""] * len(lines)
        write(folder, **{name: "\n".join(line + end for line, end in zip(lines, extra, strict=True))})
    expected: dict[tuple[str, str], tuple[int, int]] = {}
    for user, item, rating, time in rows:
        moment = time if kinds else 0
        if moment >= expected.get((user, item), (moment, 0))[0]:
            expected[user, item] = moment, rating
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_fast, "parse", functools.partial(csv_fast.parse, block_bytes=64))
        data, summary = read(folder, threads=threads)
    assert ratings(data) == {pair: rating for pair, (_, rating) in expected.items()}
    assert summary.repeated_rows == len(rows) - len(expected)


@pytest.mark.parametrize("time", ["2024-05-31T08:00:00Z", "1717142400", '"2024-05-31T08:00:00+00:00"', ""])
def test_times_of_all_kinds_use_the_kernels_compiled_for_one(tmp_path: Path, time: str) -> None:
    read(write(tmp_path, a="user,item,rating,timestamp\na,p,1,1\n"))
    kernel: Any = folding._deal_by_item
    compiled = len(kernel.signatures)
    read(write(tmp_path, a=f"user,item,rating{',timestamp' * bool(time)}\na,p,1{',' * bool(time)}{time}\n"))
    assert len(kernel.signatures) == compiled


def test_implicit_rows_add_up_whatever_their_times(tmp_path: Path) -> None:
    write(tmp_path, a="user,item,weight,timestamp\na,p,2,9\na,p,3,1\n")
    for feedback in (IMPLICIT, PAIRS):
        assert ratings(read(tmp_path, feedback=feedback)[0]) == {("a", "p"): 5}
    assert ratings(read(tmp_path, feedback=CELLS)[0]) == {("a", "p"): 2}


def test_a_cell_without_weight_is_one_however_often_it_comes(tmp_path: Path) -> None:
    data, summary = read(write(tmp_path, a="user,item\na,p\na,q\na,p\n"), feedback=CELLS)
    assert ratings(data) == {("a", "p"): 1, ("a", "q"): 1}
    assert (summary.repeated_rows, "weight" in summary.columns) == (1, False)


def test_ratings_may_be_zero_negative_huge_and_tiny(tmp_path: Path) -> None:
    write(tmp_path, a="user,item,score\na,p,0\na,q,-3.4e38\nb,p,3.4e38\nb,q,1e-50\nc,p,-2.5\n")
    data, summary = read(tmp_path, weight_column="score")
    assert data.weights.tolist() == [0.0, float(np.float32(-3.4e38)), float(np.float32(3.4e38)), 0.0, -2.5]
    assert summary.smallest_weight == float(np.float32(-3.4e38))
    assert not summary.looks_like_ratings


def test_values_below_zero_are_not_taken_for_stars(tmp_path: Path) -> None:
    _, summary = read(write(tmp_path, a="user,item,weight\na,p,-1\na,q,1\nb,p,1\nb,q,2\n"))
    assert not summary.looks_like_ratings


def test_rows_below_min_rating_are_dropped_before_the_latest_is_chosen(tmp_path: Path) -> None:
    write(tmp_path, a="user,item,rating,timestamp\na,p,4,1\na,p,-1,2\nb,p,3,1\n")
    data, summary = read(tmp_path, feedback=CELLS, min_rating=3)
    assert ratings(data) == {("a", "p"): 4, ("b", "p"): 3}
    assert (summary.dropped_below_min_rating, summary.repeated_rows) == (1, 0)


def test_a_bad_rating_is_refused_with_what_takes_it(tmp_path: Path) -> None:
    write(tmp_path, a="user,item,rating\na,p,4\na,q,-1\n")
    for feedback in (COUNTS, CELLS):
        assert refusal(tmp_path, feedback=feedback) == (
            "bad weight '-1' in a.csv, line 3, column 'rating': a rating must be a finite number of at least 0 (up to "
            "3.4e38); mend or remove the row, or set the hyperparameter min_rating to drop low values (not with "
            "filters=any); algorithm=explicit with loss=squared takes negative ratings"
        )
    write(tmp_path, a="user,item,rating\na,p,nan\n")
    assert refusal(tmp_path).endswith("a rating must be a finite number (up to 3.4e38); mend or remove the row")


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("user,item,x", "name theirs rating, or set the hyperparameter weight_column to its name"),
        ("user,item,ratings", "rename 'ratings' to rating or set the hyperparameter weight_column to 'ratings'"),
    ],
)
def test_ratings_without_their_column_are_refused_at_the_first_header(tmp_path: Path, header: str, remedy: str) -> None:
    write(tmp_path, a=f"{header}\na,p,1\n,bad row\n", b="user,item,rating\na,p,1\n")
    columns = ", ".join(repr(name) for name in header.split(","))
    for feedback in (RATINGS, COUNTS):
        assert refusal(tmp_path, feedback=feedback) == (
            f"no column with ratings in a.csv, line 1: found {columns}; {remedy}, or choose an algorithm that needs no "
            "ratings, such as als"
        )


def test_files_with_and_without_times_mix_unless_times_decide_between_ratings(tmp_path: Path) -> None:
    write(tmp_path, a="user,item,rating\na,p,1\n", b="user,item,rating,timestamp\na,p,2,5\n", c="user,item,rating\n")
    assert refusal(tmp_path) == (
        "b.csv has the time column 'timestamp' and a.csv has none: give all files one, or none, since of two ratings "
        "of one pair the later counts"
    )
    assert ratings(read(tmp_path, feedback=IMPLICIT)[0]) == {("a", "p"): 3}
