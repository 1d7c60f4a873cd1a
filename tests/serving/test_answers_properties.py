"""Whatever is answered reads back from its text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.recommend.answers import UNKNOWN_ITEM
from factorbox.recommend.queries import Query
from factorbox.serving.queries import BadRecord
from serving.answer_blocks import Answered, Model, Reason, Recorded, Row, block_of, unknown_row

letters = st.sampled_from('ab1,";:|\\\n\r\t \0\x7fé€𝄞\u2028{}[]') | st.characters(exclude_categories=["Cs"])
ids = st.text(letters, min_size=1, max_size=4)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
catalogues = st.lists(ids, min_size=1, max_size=4, unique=True).map(lambda texts: sorted(texts, key=str.encode))

PLAIN = Model(users=["u"], items=["a", "b"])


@st.composite
def models(draw: st.DrawFn) -> Model:
    users, items = draw(catalogues), draw(catalogues)
    columns = draw(st.lists(ids, max_size=2, unique=True))
    if not columns:
        return Model(users, items)
    rowless = draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
    texts = st.text(letters, max_size=4)
    return Model(users, items, {name: [None if without else draw(texts) for without in rowless] for name in columns})


@st.composite
def answers(draw: st.DrawFn, model: Model, *, explaining: bool) -> Answered:
    """Draw a query of any kind with an answer of its form."""
    subject = draw(st.sampled_from(["user_id", "sequence_id", "history", "item_id", "similar_users"]))
    label = draw(ids)
    history = draw(st.none() | st.just(["h"])) if subject == "user_id" else ["h"]
    known, ignored = draw(st.booleans()), draw(st.integers(0, 2)) if history else 0
    titles = draw(st.booleans())
    item = st.integers(0, len(model.items) - 1)
    if subject == "similar_users":
        user = st.integers(0, len(model.users) - 1)
        rows = draw(st.lists(st.builds(Row, user, numbers), max_size=3))
        return Answered(Query(user_id=label, similar_users=True), rows, known=known)
    if subject == "item_id":
        rows = draw(st.lists(st.builds(Row, item, numbers), max_size=3))
        return Answered(Query(item_id=label, titles=titles), rows, known=known)
    explain = draw(st.integers(0, 3)) if explaining else 0
    reasons = st.lists(st.builds(Reason, item, numbers, numbers), max_size=explain)
    own = numbers | st.just(float("nan"))
    explained = st.builds(Row, item, numbers, numbers, own, reasons)
    rows = draw(st.lists(explained if explain else st.builds(Row, item, numbers), max_size=3))
    item_ids = None
    if draw(st.booleans()):
        rows = [draw(st.just(row) | st.builds(unknown_row)) for row in rows]
        # An unknown id may look like anything; whether the model has it was decided elsewhere.
        item_ids = [draw(ids) if row.index == UNKNOWN_ITEM else model.items[row.index] for row in rows]
    query = Query(
        user_id=label if subject == "user_id" else None,
        sequence_id=label if subject == "sequence_id" else None,
        history=history,
        item_ids=item_ids,
        explain=explain,
        titles=titles,
    )
    return Answered(query, rows, known=known or subject != "user_id", ignored=ignored)


bad_records = st.builds(
    BadRecord,
    ids,
    st.none() | ids,
    st.none() | ids,
    st.none() | st.tuples(st.sampled_from(["user_id", "sequence_id", "item_id"]), ids),
)


@st.composite
def recorded(draw: st.DrawFn, *, explaining: bool) -> tuple[Model, list[Recorded]]:
    model = draw(models())
    return model, draw(st.lists(answers(model, explaining=explaining) | bad_records, min_size=1, max_size=5))


@given(recorded(explaining=True))
def test_json_lines_say_what_the_answers_say(drawn: tuple[Model, list[Recorded]]) -> None:
    model, records = drawn
    text = model.json(block_of(records, first_number=3))

    assert text.endswith(b"\n")
    lines = [json.loads(line, parse_float=np.float32) for line in text[:-1].split(b"\n")]
    wanted = [_object(model, record, number) for number, record in enumerate(records, start=3)]
    assert [_ordered(line) for line in lines] == [_ordered(line) for line in wanted]


@given(recorded(explaining=False))
def test_csv_rows_say_what_the_answers_say(drawn: tuple[Model, list[Recorded]]) -> None:
    model, records = drawn
    text = model.csv(block_of(records, first_number=3)).decode()

    found = [
        [subject, item, score if item == "ERROR" or not score else np.float32(score)]
        for subject, item, score in csv.reader(io.StringIO(text, newline=""))
    ]
    assert found == [row for number, record in enumerate(records, start=3) for row in _csv_rows(model, record, number)]


@given(recorded(explaining=True))
def test_a_record_reads_the_same_alone_and_among_others(drawn: tuple[Model, list[Recorded]]) -> None:
    model, records = drawn
    whole = block_of(records, first_number=1)
    alone = [block_of([record], first_number=number) for number, record in enumerate(records, start=1)]

    assert model.json(whole) == b"".join(model.json(one) for one in alone)
    assert model.csv(whole) == b"".join(model.csv(one) for one in alone)


@pytest.mark.parametrize("reasons", [1, 100_000])
def test_a_long_list_of_reasons_is_complete(reasons: int) -> None:
    because = [Reason(number % 2, number, -number) for number in range(reasons)]
    rows = block_of([Answered(Query("u", explain=reasons), [Row(0, 1, 0, 1, because), Row(1, 1, 0)])])

    first, second = json.loads(PLAIN.json(rows))["recommendations"]
    assert [reason["impact"] for reason in first["because"]] == [-number for number in range(reasons)]
    assert [reason["item_id"] for reason in first["because"]] == [PLAIN.items[k % 2] for k in range(reasons)]
    assert second["because"] == []


def _object(model: Model, record: Recorded, number: int) -> dict[str, Any]:
    """Say in plain Python what a line of JSON has to hold."""
    if isinstance(record, BadRecord):
        error = {
            "record": number,
            "field": record.field,
            "value": record.value,
            "message": record.message(number),
        }
        return ({record.label[0]: record.label[1]} if record.label else {}) | {"error": error}
    query = record.query
    line: dict[str, Any] = {}
    for field in ("user_id", "sequence_id", "item_id"):
        if (label := getattr(query, field)) is not None:
            line[field] = label
    if not record.known:
        line["known_user" if query.user_id is not None else "known_item"] = False
    if record.ignored:
        line["ignored_items"] = record.ignored
    if query.similar_users:
        line["similar_users"] = [
            {"user_id": model.users[row.index], "score": np.float32(row.score)} for row in record.rows
        ]
    else:
        line["recommendations"] = [_row(model, query, row, place) for place, row in enumerate(record.rows)]
    return line


def _row(model: Model, query: Query, row: Row, place: int) -> dict[str, Any]:
    if row.index == UNKNOWN_ITEM:
        assert query.item_ids is not None
        return {"item_id": query.item_ids[place], "score": None}
    said: dict[str, Any] = {"item_id": model.items[row.index], "score": np.float32(row.score)}
    said |= _details(model, query, row.index)
    if query.explain:
        said["baseline"] = np.float32(row.baseline)
        if not np.isnan(row.own_impact):
            said["own_impact"] = np.float32(row.own_impact)
        said["because"] = [
            {
                "item_id": model.items[reason.item],
                "influence": np.float32(reason.influence),
                "impact": np.float32(reason.impact),
            }
            | _details(model, query, reason.item)
            for reason in row.reasons
        ]
    return said


def _details(model: Model, query: Query, item: int) -> dict[str, Any]:
    if not query.titles or model.details is None:
        return {}
    texts = {name: column[item] for name, column in model.details.items()}
    return {} if None in texts.values() else {"item": texts}


def _csv_rows(model: Model, record: Recorded, number: int) -> Sequence[list[Any]]:
    if isinstance(record, BadRecord):
        return [[record.label[1] if record.label else "", "ERROR", record.message(number)]]
    query = record.query
    label = next((text for text in (query.user_id, query.sequence_id, query.item_id) if text is not None), "")
    names = model.users if query.similar_users else model.items
    return [
        [label, (query.item_ids or ())[place], ""]
        if row.index == UNKNOWN_ITEM
        else [label, names[row.index], np.float32(row.score)]
        for place, row in enumerate(record.rows)
    ]


def _ordered(value: Any) -> Any:
    """Make the order of keys part of what is compared."""
    if isinstance(value, dict):
        return tuple((key, _ordered(inner)) for key, inner in value.items())
    return [_ordered(inner) for inner in value] if isinstance(value, list) else value
