"""The channel of items: what is read is what was written, and what makes no sense is refused by name."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.columns import ReadOptions
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemRows, ItemsInTraining
from factorbox.data.item_details_reading import read_items_channel
from factorbox.errors import PlatformError, UserError

COMMA = ReadOptions()


def channel(folder: Path, **files: bytes | str) -> Path:
    """Make a channel; `__` in a name stands for a dot, `___` for a slash."""
    for name, content in files.items():
        path = folder / "items" / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "items"


def read(folder: Path, *, options: ReadOptions = COMMA) -> ItemRows:
    rows = read_items_channel(folder, options=options)
    assert rows is not None
    return rows


def of(folder: Path, *items: str, options: ReadOptions = COMMA) -> ItemsInTraining:
    return read(folder, options=options).for_items(Ids.from_texts(items))


def table(found: ItemsInTraining) -> list[dict[str, str] | None]:
    assert found.details is not None
    return [found.details.of(item) for item in range(len(found.available))]


def test_texts_stay_as_they_are_written_and_items_without_a_row_are_available(tmp_path: Path) -> None:
    text = (
        'title,item_id,Available,year\n"Heat, ""the"" film", 007,0, 1995\nNA,NA,TRUE,null\n,x,False,\né🎬,y,1,"a\nb"\n'
    )
    found = of(channel(tmp_path, a__csv=text), " 007", "NA", "x", "y", "nowhere")
    assert table(found) == [
        {"title": 'Heat, "the" film', "year": " 1995"},
        {"title": "NA", "year": "null"},
        None,
        {"title": "", "year": ""},
        {"title": "é🎬", "year": "a\nb"},
    ]
    assert found.available.tolist() == [False, True, True, False, True]
    assert (found.matched, found.unknown, found.unavailable) == (4, 0, 2)


def test_items_that_are_not_in_training_are_counted_and_left_out(tmp_path: Path) -> None:
    found = of(channel(tmp_path, a__csv="item_id,title\n1,One\n2,Two\n3,Three\n"), "2", "4")
    assert table(found) == [{"title": "Two"}, None]
    assert (found.matched, found.unknown, found.unavailable) == (1, 2, 0)


@pytest.mark.parametrize("missing", ["no folder", "empty"])
def test_a_channel_without_files_is_none(tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "items"
    if missing != "no folder":
        folder.mkdir()
    assert read_items_channel(folder, options=COMMA) is None


def test_a_channel_of_files_that_are_all_skipped_is_refused(tmp_path: Path) -> None:
    # `--items _items.csv` once trained without a word, and recommended what was not available.
    folder = channel(tmp_path, _items__csv="item_id,available\n1,0\n", __hidden="garbage", ___deep____x="")
    with pytest.raises(UserError, match=r"the channel 'items' holds only names that begin with .* '.hidden', which"):
        read_items_channel(folder, options=COMMA)


def test_a_channel_that_cannot_be_looked_at_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    # A link into a closed folder; root would pass through a real one.
    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(PlatformError, match="cannot read the channel 'items': Permission denied; make it readable"):
        read_items_channel(tmp_path / "items", options=COMMA)


def test_a_channel_of_availability_alone_has_no_details(tmp_path: Path) -> None:
    found = of(channel(tmp_path, a__csv="product_id,available\nb,0\n"), "a", "b")
    assert found.details is None
    assert found.available.tolist() == [True, False]


def test_a_channel_without_availability_leaves_all_items_available(tmp_path: Path) -> None:
    assert of(channel(tmp_path, a__csv="item,title\nb,B\n"), "a", "b").available.all()


def test_a_header_without_rows_says_nothing_of_any_item(tmp_path: Path) -> None:
    found = of(channel(tmp_path, a__csv="item,title,available\n"), "a", "b")
    assert (found.details, found.matched, found.unavailable) == (None, 0, 0)


def test_folders_compression_marks_line_ends_and_the_order_of_columns_do_not_matter(tmp_path: Path) -> None:
    whole = "item_id,title,available\n1,One,1\n2,Two,0\n3,Three,1\n"
    one = of(channel(tmp_path / "one", z__csv=whole), "1", "2", "3")
    parts: dict[str, bytes | str] = {
        "b__csv": b"\xef\xbb\xbfavailable,title,movieId\r\n1,Three,3\r\n",
        "a___deep___c__csv__gz": gzip.compress(b"item_id,title,available\n\n2,Two,0\n1,One,1"),
        "__hidden__csv": "garbage",
    }
    two = of(channel(tmp_path / "two", **parts), "1", "2", "3")
    assert table(one) == table(two)
    assert one.available.tolist() == two.available.tolist() == [True, False, True]


def test_the_names_of_the_files_do_not_change_the_order_of_the_columns(tmp_path: Path) -> None:
    contents = ("item_id,b,a\n1,x,y\n", "a,b,item_id\nv,u,2\n")
    orders = []
    for k, names in enumerate((("p__csv", "q__csv"), ("q__csv", "p__csv"))):
        rows = read(channel(tmp_path / str(k), **dict(zip(names, contents, strict=True))))
        orders.append(list(rows.columns))
        details = rows.for_items(Ids.from_texts(["1", "2"])).details
        assert details is not None
        assert (details.of(0), details.of(1)) == ({"a": "y", "b": "x"}, {"a": "v", "b": "u"})
    assert orders[0] == orders[1]


def test_the_column_that_the_hyperparameter_names_is_taken_where_it_is_there(tmp_path: Path) -> None:
    options = ReadOptions(item_column="sku")
    there = of(channel(tmp_path / "a", a__csv="item_id,sku\nx,1\n"), "1", options=options)
    assert table(there) == [{"item_id": "x"}]
    elsewhere = of(channel(tmp_path / "b", a__csv="item_id,title\n1,x\n"), "1", options=options)
    assert table(elsewhere) == [{"title": "x"}]


@pytest.mark.parametrize("text", ["item_id;title\n1;a,b\n", 'item_id,title\n1,"a,b"\n', 'item_id,"title"\n1,"a,b"\n'])
def test_a_file_has_the_delimiter_of_the_training_data_or_commas(tmp_path: Path, text: str) -> None:
    found = of(channel(tmp_path, a__csv=text), "1", options=ReadOptions(delimiter=";"))
    assert table(found) == [{"title": "a,b"}]


def test_an_identical_repeat_is_fine_whatever_its_spelling_of_true(tmp_path: Path) -> None:
    found = of(
        channel(
            tmp_path,
            a__csv="item_id,title,available\n1,One,1\n2,Two,0\n1,One,true\n",
            b__csv="item_id,title,available\n2,Two,FALSE\n3,Three,1\n",
        ),
        *"123",
    )
    assert table(found) == [{"title": "One"}, {"title": "Two"}, {"title": "Three"}]
    assert found.available.tolist() == [True, False, True]


REFUSED: dict[str, tuple[dict[str, bytes | str], str]] = {
    "two item columns": (
        {"a__csv": "item_id,movieId,title\n1,1,x\n"},
        r"2 item columns in items/a.csv, line 1: 'item_id' and 'movieId'; choose one with the hyperparameter",
    ),
    "two of one name": ({"a__csv": "item_id,title,title\n1,a,b\n"}, r"two columns 'title' in items/a.csv, line 1"),
    "two available": (
        {"a__csv": "item_id,available,Available\n1,1,1\n"},
        r"2 columns available in items/a.csv, line 1: 'available' and 'Available'",
    ),
    "white space around available": (
        {"a__csv": "item_id,title, available\n1,x,0\n"},
        r"the column ' available' in items/a.csv, line 1 has white space around available: remove it",
    ),
    "no item column": (
        {"a__csv": "\nitemm_id,title\n1,x\n"},
        r"no item column in items/a.csv, line 2: found 'itemm_id', 'title'; rename 'itemm_id' to item_id",
    ),
    "no item column but a title": (
        {"a__csv": "sku,title\n1,x\n"},
        r"no item column in items/a.csv, line 1: found 'sku', 'title'; (?!rename 'title')",
    ),
    "no header": ({"a__csv": "1,Heat\n2,Up\n"}, r"no item column .*: found '1', 'Heat'; .* add a header"),
    "other delimiter": ({"a__csv": "item_id;title\n1;x\n"}, r"found 'item_id;title'; separate its fields by commas"),
    "two marks": ({"a__csv": b"\xef\xbb\xbf" * 2 + b"item_id\n1\n"}, r"remove the byte order mark before 'item_id'"),
    "column without a name": ({"a__csv": ",item_id\n0,1\n"}, r"column 1 of 2 has no name .*: name it or remove it"),
    "header not UTF-8": ({"a__csv": b"item_id,t\xeftre\n1,x\n"}, r"column name b't\\xeftre' .* is not UTF-8"),
    "too few fields": (
        {"a__csv": "item_id,title\n1,x\n2\n"},
        r"1 field instead of 2 in items/a.csv, line 3: '2'; quote fields",
    ),
    "too many fields": (
        {"a__csv": "item_id,title\n1,x\n2,Heat, the\n"},
        r"3 fields instead of 2 in items/a.csv, line 3",
    ),
    "empty id": ({"a__csv": "item_id,title\n1,x\n,y\n"}, r"bad item '' in items/a.csv, line 3, column 'item_id'"),
    "id not UTF-8": ({"a__csv": b"item_id\n\xff\n"}, r"bad item b'\\xff' in items/a.csv, line 2"),
    "text not UTF-8": ({"a__csv": b"item_id,t\n1,\xe9t\xe9\n"}, r"bad text b'\\xe9t\\xe9' .*line 2, column 't'"),
    "available 2": (
        {"a__csv": "item_id,available\n1,1\n\n2,2\n"},
        r"bad value '2' in items/a.csv, line 4, column 'available': write 1 or true",
    ),
    "available empty": ({"a__csv": "item_id,available\n1,\n"}, r"bad value '' in items/a.csv, line 2"),
    "available 1.0": ({"a__csv": "item_id,available\n1,1.0\n"}, r"bad value '1.0'"),
    "two titles": (
        {"a__csv": "item_id,title,x\n1,One,x\n2,Two,x\n1,Uno,x\n"},
        r"item '1' has two values in column 'title': 'One' in items/a.csv, line 2 and 'Uno' in items/a.csv, line 4",
    ),
    "two availabilities in two files": (
        {"a__csv": "item_id,Available\n0,1\n1,1\n", "b__csv": "item_id,available\n1,0\n"},
        r"item '1' has two values in column 'Available': 'True' in items/a.csv, line 3 and 'False' in items/b.csv, "
        r"line 2",
    ),
    "unlike columns": (
        {"a__csv": "item_id,title\n1,x\n", "b__csv": "item_id,title,year\n2,y,1\n"},
        r"items/b.csv has the column 'year' and items/a.csv has none",
    ),
    "available in one file": (
        {"a__csv": "item_id,available\n1,1\n", "b__csv": "item_id\n2\n"},
        r"items/a.csv has the column 'available' and items/b.csv has none",
    ),
    "binary": ({"a__csv": b"item_id,title\n1,\0\1\n"}, r"items/a.csv is no text file: line 2 holds a NUL byte"),
    "Parquet": ({"a__csv": b"PAR1....PAR1"}, r"items/a.csv is Parquet, which this channel does not take: give CSV"),
    "zip": ({"a__csv": b"PK\x03\x04.."}, r"items/a.csv is a zip archive .*; the channel takes CSV .* column item_id"),
    "broken gzip": ({"a__csv__gz": gzip.compress(b"item_id\n1\n")[:-6]}, r"items/a.csv.gz is a broken or incomplete"),
    "empty file": ({"a__csv": ""}, r"items/a.csv is empty"),
    "blank lines only": ({"a__csv": "\n\n"}, r"no header in items/a.csv"),
    "open quotation mark": (
        {"a__csv": 'item_id,title\n1,"x\n'},
        r"quotation mark is not closed in items/a.csv, line 2",
    ),
    "all unavailable": (
        {"a__csv": "item_id,available\n1,0\n2,0\n"},
        r"all 2 items of the model are unavailable, .* give at least one available=1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, case: str) -> None:
    files, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        of(channel(tmp_path, **files), "1", "2")


def test_a_conflict_is_refused_for_an_item_that_is_not_in_training_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="item '9' has two values"):
        of(channel(tmp_path, a__csv="item_id,title\n9,a\n9,b\n"), "1")


def test_a_file_in_the_place_of_the_channel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items").write_text("item_id,title\n1,x\n")
    with pytest.raises(UserError, match="the channel 'items' is a file: make it a folder"):
        read_items_channel(tmp_path / "items", options=COMMA)


def test_places_are_right_beyond_the_first_block(tmp_path: Path) -> None:
    rows = [f"{k},title {k}" for k in range(70_000)]
    text = "\n".join(["item_id,title", *rows, "66000,another"])
    with pytest.raises(UserError, match=r"'title 66000' in items/a.csv, line 66002 and 'another' .*, line 70002"):
        of(channel(tmp_path, a__csv=text), "1")
    found = of(channel(tmp_path, a__csv="\n".join(["item_id,title", *rows])), "69999")
    assert table(found) == [{"title": "title 69999"}]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3)


@given(
    rows=st.dictionaries(ids, st.tuples(texts, texts, st.booleans()), min_size=1, max_size=12),
    known=st.sets(ids, max_size=8),
    cut=st.integers(0, 12),
    repeats=st.integers(0, 3),
    data=st.data(),
)
def test_whatever_is_written_is_found_again(
    tmp_path_factory: pytest.TempPathFactory,
    rows: dict[str, tuple[str, str, bool]],
    known: set[str],
    cut: int,
    repeats: int,
    data: st.DataObject,
) -> None:
    known |= set(data.draw(st.lists(st.sampled_from(sorted(rows)), min_size=1)))
    written = [(item, *values) for item, values in rows.items()]
    written = data.draw(st.permutations(written + written[:repeats]))
    files: dict[str, bytes | str] = {}
    for name, part in (("a__csv", written[:cut]), ("b__csv", written[cut:])):
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerow(["title", "item_id", "available", "x"])
        writer.writerows([title, item, "1" if flag else "false", x] for item, title, x, flag in part)
        files[name] = text.getvalue()
    item_ids = Ids.from_texts(sorted(known))
    expected = [rows.get(item) for item in item_ids.to_list()]
    available = [values is None or values[2] for values in expected]
    items = read(channel(tmp_path_factory.mktemp("channel"), **files))
    if not any(available):
        with pytest.raises(UserError, match="are unavailable"):
            items.for_items(item_ids)
        return
    found = items.for_items(item_ids)
    assert found.available.tolist() == available
    assert found.unavailable == available.count(False)
    assert found.matched == sum(values is not None for values in expected)
    assert found.unknown == len(rows) - found.matched
    assert table(found) == [None if v is None else {"title": v[0], "x": v[1]} for v in expected]
    assert found.available.dtype == np.bool_
