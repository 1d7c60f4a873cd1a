"""What callers give: ids of every kind that pandas, numpy and Python have, and what is refused."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.arguments import (
    Items,
    history_of,
    id_text,
    id_texts,
    new_users_of,
    switch,
    users_of,
    whole_number,
)
from factorbox.data.feedback import COUNTS, IMPLICIT, RATINGS
from factorbox.errors import UserError
from factorbox.recommend.queries import MAX_TOP_N, Query

texts = st.text(st.characters(codec="utf-8"), min_size=1)


@given(st.one_of(texts, st.integers()))
def test_texts_stand_for_themselves_and_whole_numbers_for_their_decimal_text(value: str | int) -> None:
    assert id_text(value, place="user_ids") == str(value)


@pytest.mark.parametrize(
    "values",
    [
        ["7", 8],
        ("7", "8"),
        np.array([7, 8]),
        np.array([7, 8], dtype=np.uint8),
        np.array(["7", "8"]),
        np.array(["7", 8], dtype=object),
        pd.Series([7, 8]),
        pd.Series(["7", "8"]),
        pd.Series([7, 8], dtype="Int64"),
        pd.Series(["7", "8"], dtype="category"),
        pd.Index([7, 8]),
        (str(n) for n in (7, 8)),
        {"7": 1, "8": 2}.keys(),
    ],
)
def test_ids_come_in_anything_that_lists_them(values: Any) -> None:
    found = id_texts(values, place="user_ids")
    assert found == ["7", "8"]
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize("value", ["7", 7, np.int64(7), np.str_("7")])
def test_one_id_needs_no_list(value: Any) -> None:
    assert id_texts(value, place="user_ids") == ["7"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7.0, r"user_ids\[1\] is 7\.0, a float, which is no id: .*drop the gaps, then convert it with \.astype\(int\)"),
        (np.float32(7), "a float, which is no id"),
        (None, r"user_ids\[1\] is None, a missing value: drop what has no id"),
        (float("nan"), "is nan, a missing value"),
        (pd.NA, "is <NA>, a missing value"),
        (pd.NaT, "is NaT, a missing value"),
        (True, r"user_ids\[1\] is True, of type bool, which is no id: give a text or a whole number"),
        (np.True_, "of type bool"),
        (b"7", "of type bytes"),
        (decimal.Decimal(7), "of type Decimal"),
        (["7"], "of type list"),
        (np.arange(2), "of type ndarray"),
        ("", r"user_ids\[1\] is an empty text: give an id"),
        ("\ud800", "holds half a character"),
    ],
)
def test_what_is_no_id_is_named_with_its_place_and_a_remedy(value: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        id_texts(["1", value], place="user_ids")


@pytest.mark.parametrize(
    ("value", "words"),
    [(7.0, "user_ids is 7.0, a float"), (None, "user_ids is None, a missing value"), (object(), "of type object")],
)
def test_what_is_neither_an_id_nor_a_list_is_refused_as_an_id(value: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        id_texts(value, place="user_ids")


@pytest.mark.parametrize("value", [b"78", {"7": 1}])
def test_what_is_no_list_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"user_ids is .*, which is no list: give a list, such as"):
        id_texts(value, place="user_ids")


def test_a_table_in_place_of_a_column_is_refused() -> None:
    # Its elements are the names of its columns: unknown users, all of them.
    frame = pd.DataFrame({"user_id": ["1"]})
    with pytest.raises(UserError, match=r"user_ids is a table: give one of its columns"):
        id_texts(frame, place="user_ids")
    with pytest.raises(UserError, match=r"histories is a table: .*groupby\('user_id'\)\['item_id'\]\.agg\(list\)"):
        new_users_of(frame, feedback=IMPLICIT)


@pytest.mark.parametrize(("value", "number"), [(1, 1), (np.int32(5), 5), (10**30, MAX_TOP_N)])
def test_whole_numbers_are_cut_where_no_catalogue_is_larger(value: Any, number: int) -> None:
    assert whole_number(value, place="top_n") == number


@pytest.mark.parametrize("value", [0, -1, 1.0, "5", True, None])
def test_what_is_no_number_of_things_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"top_n is .*: give a whole number of at least 1"):
        whole_number(value, place="top_n")


def test_a_switch_is_a_truth_value() -> None:
    assert switch(np.False_, place="titles") is False
    with pytest.raises(UserError, match="titles is 'false': give True or False"):
        switch("false", place="titles")


def test_a_history_is_a_list_or_weights() -> None:
    assert history_of([50, "172", 50], place="histories[0]", feedback=IMPLICIT) == ["50", "172", "50"]
    assert history_of(pd.Series([50, 172], index=["x", "y"]), place="histories[0]", feedback=IMPLICIT) == ["50", "172"]
    assert history_of({50: 2, "172": np.float32(0.5)}, place="histories[0]", feedback=IMPLICIT) == {
        "50": 2.0,
        "172": 0.5,
    }


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), 10**400, 1e-40, "2", None, True])
def test_what_is_no_weight_is_named(weight: object) -> None:
    with pytest.raises(UserError, match=r"histories\[0\]\['50'\] is .*, which is no weight: give a number above 0"):
        history_of({"50": weight}, place="histories[0]", feedback=IMPLICIT)


@pytest.mark.parametrize("value", [0, -1.5, 1e-40, np.float32(-3.5), 10**30, -3.4e38])
def test_any_finite_number_is_a_rating(value: float) -> None:
    assert history_of({"50": value}, place="histories[0]", feedback=RATINGS) == {"50": float(value)}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**400, 3.5e38, -3.5e38, "2", None, True]
)
def test_what_is_no_rating_is_named(value: object) -> None:
    words = r"histories\[0\]\['50'\] is .*, which is no rating: give a finite number \(up to 3\.4e\+38\), or leave"
    with pytest.raises(UserError, match=words):
        history_of({"50": value}, place="histories[0]", feedback=RATINGS)


def test_a_rating_that_may_not_be_negative_is_named() -> None:
    assert history_of({"50": 0}, place="histories[0]", feedback=COUNTS) == {"50": 0.0}
    with pytest.raises(
        UserError, match=r"histories\['v'\]\['50'\] is -0\.5, which is no rating: give a number of at least 0"
    ):
        new_users_of({"v": {50: -0.5}}, feedback=COUNTS)
    with pytest.raises(UserError, match=r"histories\[0\]\['50'\] is -1, which is no rating"):
        users_of("7", [{50: -1}], feedback=COUNTS)


def test_an_item_with_two_values_is_refused() -> None:
    with pytest.raises(UserError, match="has the item '50' twice, as text and as number: add the two up"):
        history_of({"50": 1, 50: 2}, place="histories[0]", feedback=IMPLICIT)
    with pytest.raises(UserError, match="has the item '50' twice, as text and as number: keep one"):
        history_of({"50": 1, 50: 2}, place="histories[0]", feedback=RATINGS)


@pytest.mark.parametrize(
    "histories",
    [
        {"b": ["50"], "a": {"51": 2.0}},
        pd.Series({"b": ["50"], "a": {"51": 2.0}}),
    ],
)
def test_histories_alone_describe_new_users_in_their_order(histories: Any) -> None:
    asked = new_users_of(histories, feedback=IMPLICIT)
    # A label that is a user's id by chance brings no stored history in: it is a label.
    assert asked.queries(0, 2) == [
        Query(sequence_id="b", history=["50"]),
        Query(sequence_id="a", history={"51": 2.0}),
    ]
    assert asked.queries(1, 2, top_n=3) == [Query(sequence_id="a", history={"51": 2.0}, top_n=3)]


def test_listed_histories_are_called_by_their_positions() -> None:
    assert new_users_of([["50"], {"51": 2.0}], feedback=IMPLICIT).labels == ["0", "1"]


def test_histories_beside_users_add_to_theirs() -> None:
    by_label = users_of([1, 2, 1], {1: ["50"]}, feedback=IMPLICIT)
    aligned = users_of(["1", "2", "1"], [["50"], None, ["50"]], feedback=IMPLICIT)
    assert by_label == aligned
    assert by_label.queries(0, 2) == [Query(user_id="1", history=["50"]), Query(user_id="2")]


@pytest.mark.parametrize(
    ("user_ids", "histories", "words"),
    [
        (["1"], {"2": ["50"]}, "histories has a history of '2', who is not among user_ids"),
        (["1"], [["50"], ["51"]], "histories has 2 entries for 1 user_ids"),
        ("1", ["50"], r"histories\[0\] is '50', which is no list: give a list, such as \['50', '172'\]"),
        ("1", "50", "histories is '50', which is no list"),
        (["1"], {"1": [1.0]}, r"histories\['1'\]\[0\] is 1\.0, a float"),
        (["1"], {"1": ["50"], 1: ["51"]}, "histories has the label '1' twice"),
        (["1"], {None: ["50"]}, "a label of histories is None, a missing value"),
        (["1"], pd.Series([["50"], ["51"]], index=["1", "1"]), "the label '1' twice"),
    ],
)
def test_histories_of_nobody_are_refused(user_ids: Any, histories: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        users_of(user_ids, histories, feedback=IMPLICIT)


def test_items_ask_for_their_like() -> None:
    assert Items(["a", "b"]).queries(1, 2, top_n=3) == [Query(item_id="b", top_n=3)]
