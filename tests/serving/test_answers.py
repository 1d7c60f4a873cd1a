from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from factorbox.data.ids import Ids
from factorbox.errors import AlgorithmError
from factorbox.recommend.top_n import Ranking
from factorbox.serving.answers import Block, EscapedIds, escape_csv, escape_json, render_csv, render_json
from factorbox.serving.queries import BadRecord, Query, Record

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
scores = hnp.arrays(np.float32, st.integers(0, 6), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


def block(records: list[Record], rows: list[list[tuple[int, float]]], *, known: list[bool] | None = None) -> Block:
    flat = [pair for row in rows for pair in row]
    return Block(
        records=records,
        known=np.array(known if known is not None else [True] * len(records)),
        ranking=Ranking(
            np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
            np.array([item for item, _ in flat], dtype=np.int32),
            np.array([score for _, score in flat], dtype=np.float32),
        ),
        first_number=7,
    )


@settings(deadline=None)
@given(user=ids, items=st.lists(ids, min_size=1, max_size=5, unique=True), values=scores)
def test_both_formats_read_back_whatever_the_ids_hold(user: str, items: list[str], values: np.ndarray) -> None:
    catalogue = Ids.from_texts(items)
    wanted = [(k % len(catalogue), value) for k, value in enumerate(values.tolist())]
    one = block([Query(user)], [wanted])
    pairs = [(catalogue[item], np.float32(score)) for item, score in wanted]

    text = render_csv(one, items=EscapedIds(catalogue)).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [(item, np.float32(score)) for _, item, score in rows] == pairs
    assert {row[0] for row in rows} <= {user}

    answer = json.loads(render_json(one, items=EscapedIds(catalogue)))
    assert answer["user_id"] == user
    assert [(row["item_id"], np.float32(row["score"])) for row in answer["recommendations"]] == pairs


@settings(deadline=None)
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_score_is_the_shortest_text_that_reads_back(value: float) -> None:
    text = render_csv(block([Query("u")], [[(0, value)]]), items=EscapedIds(Ids.from_texts(["i"]))).decode()
    score = text.removeprefix("u,i,").removesuffix("\n")

    assert np.float32(float(score)) == np.float32(value)
    digits = [t.partition("e")[0].replace("-", "").replace(".", "").strip("0") for t in (score, str(np.float32(value)))]
    assert len(digits[0]) <= len(digits[1])


def test_csv_rows_have_no_header_and_quote_only_what_needs_it() -> None:
    items = EscapedIds(Ids.from_texts(["a,b", 'c"d', "e\nf", "plain"]))
    one = block([Query("u 1"), Query("u,2")], [[(3, 0.5), (0, 0.25)], [(1, 1), (2, -1e-7)]])

    assert render_csv(one, items=items) == (b'u 1,plain,0.5\nu 1,"a,b",0.25\n"u,2","c""d",1.0\n"u,2","e\nf",-1e-7\n')


def test_json_objects_keep_the_documented_key_order() -> None:
    one = block(
        [Query("known"), Query("new"), Query("none")], [[(0, 0.5), (1, 0.25)], [(1, 1)], []], known=[True, False, True]
    )

    assert render_json(one, items=EscapedIds(Ids.from_texts(["a", 'b"']))) == (
        b'{"user_id":"known","recommendations":[{"item_id":"a","score":0.5},{"item_id":"b\\"","score":0.25}]}\n'
        b'{"user_id":"new","known_user":false,"recommendations":[{"item_id":"b\\"","score":1.0}]}\n'
        b'{"user_id":"none","recommendations":[]}\n'
    )


def test_bad_records_are_marked_in_their_place() -> None:
    bad = BadRecord('is bad, "very"', field="top_n", value="x", user_id="b")
    records: list[Record] = [Query("a"), bad, Query("c"), BadRecord("is not JSON", value="junk")]
    one = block(records, [[(0, 0.5)], [], [(0, 0.25)], []])
    items = EscapedIds(Ids.from_texts(["i"]))

    assert list(csv.reader(io.StringIO(render_csv(one, items=items).decode()))) == [
        ["a", "i", "0.5"],
        ["b", "ERROR", 'record 8: top_n "x" is bad, "very"'],
        ["c", "i", "0.25"],
        ["", "ERROR", 'record 10: "junk" is not JSON'],
    ]
    lines = [json.loads(line) for line in render_json(one, items=items).splitlines()]
    assert list(lines[1]) == ["user_id", "error"]
    assert lines[1]["error"] == {
        "record": 8,
        "field": "top_n",
        "value": "x",
        "message": 'record 8: top_n "x" is bad, "very"',
    }
    assert lines[3] == {
        "error": {"record": 10, "field": None, "value": "junk", "message": 'record 10: "junk" is not JSON'}
    }
    assert [line.get("user_id") for line in lines] == ["a", "b", "c", None]


def test_a_block_without_rows_is_written() -> None:
    none = block([Query("u")], [[]])

    assert render_csv(none, items=EscapedIds(Ids.from_texts(["i"]))) == b""
    assert render_json(none, items=EscapedIds(Ids.from_texts(["i"]))) == b'{"user_id":"u","recommendations":[]}\n'


def test_a_score_that_is_no_number_is_never_written() -> None:
    with pytest.raises(AlgorithmError, match="not a finite number"):
        render_json(block([Query("u")], [[(0, float("nan"))]]), items=EscapedIds(Ids.from_texts(["i"])))


def test_ids_that_need_no_escaping_are_used_as_they_are() -> None:
    texts = pa.array(["1", "é", "a b"], type=pa.large_string())

    assert escape_csv(texts) is texts
    assert escape_json(texts) is texts
