from __future__ import annotations

from pathlib import Path

import pytest

from demo_data import DemoError, above_two, has_times, read_ratings, read_titles

RATINGS = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t1\t891717742\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n196,242,3,881250949\n186,302,1,891717742\n",
    "ml-100k.inter": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t1\t891717742\n"
    ),
}
TITLES = {
    "u.item": b'242|Kolya (1996)|24-Jan-1997||http|0|1\n302|Caf\xe9 "X" (1997)|01-Jan-1997||http|0|0\n',
    "movies.csv": 'movieId,title,genres\n242,Kolya (1996),Comedy\n302,"Café ""X"" (1997)",A|B\n'.encode(),
    "ml-100k.item": (
        b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n242\tKolya\t1996\tComedy\n"
        + '302\tCafé "X"\t1997\tDrama\n'.encode()
    ),
}


@pytest.mark.parametrize("name", RATINGS)
def test_ratings_are_read_as_they_are_shipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(RATINGS[name])
    table = read_ratings(tmp_path / name)
    assert table.to_dict("list") == {
        "user_id": ["196", "186"],
        "item_id": ["242", "302"],
        "rating": ["3", "1"],
        "timestamp": ["881250949", "891717742"],
    }


@pytest.mark.parametrize("name", TITLES)
def test_titles_are_read_as_they_are_shipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(TITLES[name])
    assert read_titles(tmp_path / name) == {"242": "Kolya (1996)", "302": 'Café "X" (1997)'}


def test_ids_stay_as_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("user,item\n007,NA\n")
    assert read_ratings(path).to_dict("list") == {"user_id": ["007"], "item_id": ["NA"]}


def test_only_ratings_above_two_are_kept_best_and_latest_first(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating,timestamp\n1,a,2,9\n1,b,2.5,1\n1,c,5,1\n1,d,5,2\n")
    assert list(above_two(read_ratings(path))["item_id"]) == ["d", "c", "b"]


def test_interactions_without_a_rating_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id\n1,a\n1,b\n")
    assert len(above_two(read_ratings(path))) == 2


@pytest.mark.parametrize(
    ("name", "known"),
    [("u.data", True), ("ratings.csv", True), ("ml-100k.inter", True), ("mine.csv", False), ("mixed.csv", False)],
)
def test_times_are_used_where_every_row_has_one(tmp_path: Path, name: str, known: bool) -> None:
    others = {
        "mine.csv": "user_id,item_id\n1,a\n",
        "mixed.csv": "user_id,item_id,timestamp\n1,a,881250949\n1,b,\n",
    }
    (tmp_path / name).write_text({**RATINGS, **others}[name])
    assert has_times(read_ratings(tmp_path / name)) is known


def test_a_rating_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("user_id,item_id,rating\n1,a,5\n1,b,good\n")
    with pytest.raises(DemoError, match="data row 2 has rating 'good'"):
        above_two(read_ratings(path))


@pytest.mark.parametrize("content", [b"", b"\n", b"one,two\n1,2\n", b"user_id,item_id\n", b"\x00\xff\x00" * 99])
def test_a_file_that_holds_no_ratings_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange"
    path.write_bytes(content)
    with pytest.raises(DemoError, match=str(path)):
        read_ratings(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=f"cannot read {tmp_path}/none"):
        read_titles(tmp_path / "none")
