from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from factorbox.errors import AlgorithmError
from factorbox.recommend.queries import Query
from factorbox.serving.queries import BadRecord
from serving.answer_blocks import Answered, Model, Reason, Row, block_of, unknown_row

ODD = Model(users=["u"], items=["a,b", 'c"d', "e\nf", "plain"])
PLAIN = Model(users=["u", 'v"'], items=["a", "b", "c"])
TITLED = Model(
    users=["u"],
    items=["a", "b", "c"],
    details={"title": ["The A", None, 'C, "the\n3rd"'], 'the "year"': ["1999", None, ""]},
)


def test_csv_rows_have_no_header_and_quote_only_what_needs_it() -> None:
    rows = block_of(
        [Answered(Query("u 1"), [Row(3, 0.5), Row(0, 0.25)]), Answered(Query("u,2"), [Row(1, 1), Row(2, -1e-7)])]
    )

    assert ODD.csv(rows) == b'u 1,plain,0.5\nu 1,"a,b",0.25\n"u,2","c""d",1.0\n"u,2","e\nf",-1e-7\n'


def test_a_csv_row_begins_with_the_id_of_its_subject() -> None:
    rows = block_of(
        [
            Answered(Query(user_id="x", history=["a"]), [Row(0, 0.5)], known=False),
            Answered(Query(sequence_id="s", history=["a"]), [Row(1, 0.5)], ignored=3),
            Answered(Query(history=["a"]), [Row(2, 0.5)]),
            Answered(Query(item_id="a"), [Row(1, 0.75)]),
            Answered(Query(user_id="u", similar_users=True), [Row(1, 0.25)]),
            Answered(Query(item_id="new"), known=False),
        ]
    )

    assert PLAIN.csv(rows) == b'x,a,0.5\ns,b,0.5\n,c,0.5\na,b,0.75\nu,"v""",0.25\n'


def test_an_unknown_item_keeps_its_place_and_has_no_score() -> None:
    pairs = Query(user_id="u", item_ids=["b", 'no,"pe"', "a", "b"])
    rows = block_of(
        [Answered(pairs, [Row(1, 0.5), unknown_row(), Row(0, 1), Row(1, 0.5)]), Answered(Query(user_id="u"))]
    )

    assert PLAIN.csv(rows) == b'u,b,0.5\nu,"no,""pe""",\nu,a,1.0\nu,b,0.5\n'
    assert PLAIN.json(rows) == (
        b'{"user_id":"u","recommendations":[{"item_id":"b","score":0.5},{"item_id":"no,\\"pe\\"","score":null},'
        b'{"item_id":"a","score":1.0},{"item_id":"b","score":0.5}]}\n'
        b'{"user_id":"u","recommendations":[]}\n'
    )


def test_json_objects_keep_the_documented_key_order() -> None:
    rows = block_of(
        [
            Answered(Query("known"), [Row(0, 0.5), Row(1, 0.25)]),
            Answered(Query("new"), [Row(1, 1)], known=False),
            Answered(Query("n\n", history=["a", "?", "!"]), [Row(1, 1)], known=False, ignored=2),
            Answered(Query(sequence_id="s", history=["?"]), [Row(2, 1)], ignored=1),
            Answered(Query(history=["a"]), [Row(2, 1)]),
            Answered(Query(history=["?"]), ignored=1),
            Answered(Query(item_id="a"), [Row(1, 0.5)]),
            Answered(Query(item_id="new"), known=False),
            Answered(Query(user_id="u", similar_users=True), [Row(1, 0.5), Row(0, 0.25)]),
            Answered(Query(user_id="new", similar_users=True), known=False),
        ]
    )

    assert PLAIN.json(rows) == (
        b'{"user_id":"known","recommendations":[{"item_id":"a","score":0.5},{"item_id":"b","score":0.25}]}\n'
        b'{"user_id":"new","known_user":false,"recommendations":[{"item_id":"b","score":1.0}]}\n'
        b'{"user_id":"n\\n","known_user":false,"ignored_items":2,"recommendations":[{"item_id":"b","score":1.0}]}\n'
        b'{"sequence_id":"s","ignored_items":1,"recommendations":[{"item_id":"c","score":1.0}]}\n'
        b'{"recommendations":[{"item_id":"c","score":1.0}]}\n'
        b'{"ignored_items":1,"recommendations":[]}\n'
        b'{"item_id":"a","recommendations":[{"item_id":"b","score":0.5}]}\n'
        b'{"item_id":"new","known_item":false,"recommendations":[]}\n'
        b'{"user_id":"u","similar_users":[{"user_id":"v\\"","score":0.5},{"user_id":"u","score":0.25}]}\n'
        b'{"user_id":"new","known_user":false,"similar_users":[]}\n'
    )


def test_titles_are_every_column_of_an_item_that_has_a_row() -> None:
    rows = block_of(
        [
            Answered(Query("u", titles=True), [Row(0, 0.5), Row(1, 0.5), Row(2, 0.5)]),
            Answered(Query("u"), [Row(0, 0.5)]),
            Answered(Query("u", titles=True, item_ids=["?", "a"]), [unknown_row(), Row(0, 0.5)]),
        ]
    )
    the_a = b'"item":{"title":"The A","the \\"year\\"":"1999"}'

    assert TITLED.json(rows) == (
        b'{"user_id":"u","recommendations":[{"item_id":"a","score":0.5,' + the_a + b'},{"item_id":"b","score":0.5},'
        b'{"item_id":"c","score":0.5,"item":{"title":"C, \\"the\\n3rd\\"","the \\"year\\"":""}}]}\n'
        b'{"user_id":"u","recommendations":[{"item_id":"a","score":0.5}]}\n'
        b'{"user_id":"u","recommendations":[{"item_id":"?","score":null},{"item_id":"a","score":0.5,' + the_a + b"}]}\n"
    )


def test_titles_of_a_model_without_details_and_titles_in_csv_change_nothing() -> None:
    plain, titled = (block_of([Answered(Query("u", titles=titles), [Row(0, 0.5)])]) for titles in (False, True))

    assert PLAIN.json(titled) == PLAIN.json(plain)
    assert TITLED.csv(titled) == TITLED.csv(plain) == b"u,a,0.5\n"


def test_reasons_stand_with_the_rows_that_are_explained() -> None:
    because = [Reason(2, 0.5, 0.25), Reason(0, -0.125, -1)]
    rows = block_of(
        [
            Answered(Query("u"), [Row(0, 0.5)]),
            Answered(
                Query("u", explain=2, titles=True), [Row(1, 1, baseline=0, reasons=because), Row(0, 0.5, 0.5, -0.75)]
            ),
            Answered(Query("u", explain=1, item_ids=["?", "b"]), [unknown_row(), Row(1, 1, 0, reasons=because[:1])]),
        ]
    )

    assert TITLED.json(rows) == (
        b'{"user_id":"u","recommendations":[{"item_id":"a","score":0.5}]}\n'
        b'{"user_id":"u","recommendations":['
        b'{"item_id":"b","score":1.0,"baseline":0.0,"because":['
        b'{"item_id":"c","influence":0.5,"impact":0.25,'
        b'"item":{"title":"C, \\"the\\n3rd\\"","the \\"year\\"":""}},'
        b'{"item_id":"a","influence":-0.125,"impact":-1.0,"item":{"title":"The A","the \\"year\\"":"1999"}}]},'
        b'{"item_id":"a","score":0.5,"item":{"title":"The A","the \\"year\\"":"1999"},'
        b'"baseline":0.5,"own_impact":-0.75,"because":[]}]}\n'
        b'{"user_id":"u","recommendations":[{"item_id":"?","score":null},'
        b'{"item_id":"b","score":1.0,"baseline":0.0,"because":[{"item_id":"c","influence":0.5,"impact":0.25}]}]}\n'
    )


def test_reasons_that_were_not_asked_for_are_not_written() -> None:
    explained = Row(1, 0.5, baseline=0.25, own_impact=0.125, reasons=[Reason(0, 1, 1)])
    rows = block_of([Answered(Query("u"), [explained]), Answered(Query("u", explain=1), [explained])])

    assert PLAIN.json(rows) == (
        b'{"user_id":"u","recommendations":[{"item_id":"b","score":0.5}]}\n'
        b'{"user_id":"u","recommendations":[{"item_id":"b","score":0.5,"baseline":0.25,"own_impact":0.125,'
        b'"because":[{"item_id":"a","influence":1.0,"impact":1.0}]}]}\n'
    )


def test_where_scores_are_probabilities_each_is_followed_by_the_label_that_it_predicts() -> None:
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    rows = block_of(
        [
            Answered(Query("u"), [Row(0, 0.75), Row(1, 0.5), Row(2, below), Row(0, 0)]),
            Answered(Query("u", item_ids=["?", "a"], titles=True), [unknown_row(), Row(0, 1)]),
            Answered(Query("u", explain=1), [Row(1, 0.25, baseline=-1.0)]),
            Answered(Query(item_id="a"), [Row(1, 0.75)]),
            Answered(Query("u", similar_users=True), [Row(0, 0.75)]),
            BadRecord("is bad"),
            Answered(Query("u")),
        ]
    )
    labelled = replace(TITLED, labels=True)

    lines = [json.loads(line) for line in labelled.json(rows).splitlines()]
    assert labelled.json(rows).startswith(
        b'{"user_id":"u","recommendations":[{"item_id":"a","score":0.75,"predicted_label":1},'
        b'{"item_id":"b","score":0.5,"predicted_label":1},{"item_id":"c","score":0.49999997,"predicted_label":0},'
        b'{"item_id":"a","score":0.0,"predicted_label":0}]}\n'
    )
    unknown, known = lines[1]["recommendations"]
    assert unknown == {"item_id": "?", "score": None}
    assert list(known) == ["item_id", "score", "predicted_label", "item"]
    assert list(lines[2]["recommendations"][0]) == ["item_id", "score", "predicted_label", "baseline", "because"]
    assert lines[3]["recommendations"] == [{"item_id": "b", "score": 0.75}]
    assert lines[4]["similar_users"] == [{"user_id": "u", "score": 0.75}]
    assert list(lines[5]) == ["error"]
    assert lines[6]["recommendations"] == []
    assert labelled.csv(rows) == TITLED.csv(rows)


def test_bad_records_are_marked_in_their_place() -> None:
    rows = block_of(
        [
            Answered(Query("a"), [Row(0, 0.5)]),
            BadRecord('is bad, "very"', field="top_n", value="x", label=("user_id", "b")),
            Answered(Query("c"), [Row(0, 0.25)]),
            BadRecord("is not JSON", value="junk"),
            BadRecord("is bad", label=("sequence_id", "s,1")),
            BadRecord("is bad", label=("item_id", "i")),
        ]
    )

    assert list(csv.reader(io.StringIO(PLAIN.csv(rows).decode()))) == [
        ["a", "a", "0.5"],
        ["b", "ERROR", 'record 8: top_n "x" is bad, "very"'],
        ["c", "a", "0.25"],
        ["", "ERROR", 'record 10: "junk" is not JSON'],
        ["s,1", "ERROR", "record 11: is bad"],
        ["i", "ERROR", "record 12: is bad"],
    ]
    lines = [json.loads(line) for line in PLAIN.json(rows).splitlines()]
    assert lines[1] == {
        "user_id": "b",
        "error": {"record": 8, "field": "top_n", "value": "x", "message": 'record 8: top_n "x" is bad, "very"'},
    }
    assert list(lines[1]["error"]) == ["record", "field", "value", "message"]
    assert lines[3] == {
        "error": {"record": 10, "field": None, "value": "junk", "message": 'record 10: "junk" is not JSON'}
    }
    assert [list(line) for line in lines] == [
        ["user_id", "recommendations"],
        ["user_id", "error"],
        ["user_id", "recommendations"],
        ["error"],
        ["sequence_id", "error"],
        ["item_id", "error"],
    ]


def test_a_block_without_rows_is_written() -> None:
    none = block_of([Answered(Query("u", explain=1, titles=True))])

    assert TITLED.csv(none) == b""
    assert TITLED.json(none) == b'{"user_id":"u","recommendations":[]}\n'


@pytest.mark.parametrize(
    "row",
    [
        Row(0, float("nan"), baseline=0),
        Row(0, float("inf"), baseline=0),
        Row(0, 1, baseline=float("nan")),
        Row(0, 1, baseline=0, own_impact=float("inf")),
        Row(0, 1, baseline=0, reasons=[Reason(1, float("nan"), 1)]),
        Row(0, 1, baseline=0, reasons=[Reason(1, 1, float("-inf"))]),
    ],
)
def test_what_is_no_number_is_never_written(row: Row) -> None:
    rows = block_of([Answered(Query("u", item_ids=["?", "a"], explain=1), [unknown_row(), row])])

    with pytest.raises(AlgorithmError, match="not a finite number"):
        PLAIN.json(rows)


def test_a_score_that_is_no_number_is_never_written_in_csv() -> None:
    rows = block_of([Answered(Query("u", item_ids=["?", "a"]), [unknown_row(), Row(0, float("nan"))])])

    with pytest.raises(AlgorithmError, match="not a finite number"):
        PLAIN.csv(rows)
