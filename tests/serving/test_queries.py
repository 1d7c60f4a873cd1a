from __future__ import annotations

import pytest

from factorbox.recommend.queries import Query
from factorbox.serving.queries import BadRecord, Record, record_from
from factorbox.serving.values import JsonFields


def read(**fields: object) -> Record:
    return record_from(JsonFields(list(fields.items())))


def bad(**fields: object) -> BadRecord:
    record = read(**fields)
    assert isinstance(record, BadRecord)
    return record


def test_a_sequence_is_the_history_of_a_labelled_user() -> None:
    assert read(sequence_id="s", sequence=["a"]) == Query(sequence_id="s", history=["a"])


@pytest.mark.parametrize("off", [False, "false"])
def test_a_wish_that_is_off_goes_with_everything(off: object) -> None:
    assert read(item_id="a", similar_users=off) == Query(item_id="a")
    assert read(user_id="a", item_ids=["b"], similar_users=off) == Query("a", item_ids=["b"])
    assert read(user_id="a", similar_users="true", titles=off) == Query("a", similar_users=True)


def test_a_wish_that_is_off_is_for_nobody_by_itself() -> None:
    assert bad(similar_users=False).field is None


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"user_id": "u", "item_id": "i"}, ("user_id", "u")),
        ({"sequence_id": "s", "top_n": 0}, ("sequence_id", "s")),
        ({"item_id": "i", "explain": "1"}, ("item_id", "i")),
        ({"user_id": "", "item_id": "i"}, ("item_id", "i")),
        ({"user_id": "", "top_n": "1"}, None),
        ({"history": ["a", ""]}, None),
        ({"user_id": "u", "colour": "red"}, ("user_id", "u")),
    ],
)
def test_a_bad_record_is_known_by_its_first_good_id(fields: dict[str, object], label: tuple[str, str] | None) -> None:
    assert bad(**fields).label == label


def test_a_repeated_id_is_nothing_to_be_known_by() -> None:
    record = record_from(JsonFields([("user_id", "a"), ("user_id", "b"), ("item_id", "i")]))

    assert isinstance(record, BadRecord)
    assert (record.field, record.label) == ("user_id", ("item_id", "i"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user_id": "u", "history": ["a", "b", "c", ""]}, 'record 2: history[3] "" is empty: give the id of an item'),
        ({"item_id": "i", "explain": "2"}, 'record 2: explain "2" does not go with item_id: leave one of them out'),
        (
            {"user_id": "u", "colour": "red"},
            'record 2: colour "red" is an unknown field: the fields are user_id, top_n',
        ),
        ({"user_id": "u", "item": "a"}, 'record 2: item "a" is an unknown field: did you mean item_id?'),
        (
            {"user_id": "u", "include_items": "a"},
            'record 2: include_items "a" is not a list of item ids: give one such',
        ),
        ({"top_n": "3"}, "record 2: has no subject"),
        ({"sequence": ["a"]}, "record 2: sequence [...] needs sequence_id beside it"),
        ({"user_id": "u", "similar_users": None}, "record 2: similar_users null is neither true nor false"),
    ],
)
def test_the_message_names_field_value_and_remedy(fields: dict[str, object], message: str) -> None:
    assert bad(**fields).message(2).startswith(message)
