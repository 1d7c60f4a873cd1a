"""Frames: columns under names that are free, and ids read from columns of every type that pandas has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.errors import PlatformError, UserError
from factorbox.frames import framed, ids_in, ranking_table, reasons_table, require_pandas
from factorbox.recommend.answers import Answers, Explanations
from factorbox.recommend.queries import Queries, Query
from factorbox.recommend.top_n import Ranking
from factorbox.recommender import Recommender
from film_model import save_films


def answers(queries: list[Query], rankings: list[list[int]], explanations: Explanations | None = None) -> Answers:
    """Return answers with these items, the best of each with a score of 1."""
    indptr = np.cumsum([0, *map(len, rankings)])
    indices = np.array([i for ranking in rankings for i in ranking], dtype=np.int32)
    scores = np.array([1 / (k + 1) for ranking in rankings for k in range(len(ranking))], dtype=np.float32)
    return Answers(
        queries=Queries.of(queries),
        known=np.ones(len(queries), dtype=np.bool_),
        ignored=np.zeros(len(queries), dtype=np.int64),
        ranking=Ranking(indptr, indices, scores),
        explanations=explanations,
    )


def details(**columns: list[str | None]) -> ItemDetails:
    return ItemDetails({name: pa.array(texts, type=pa.large_string()) for name, texts in columns.items()})


ITEMS = Ids.from_texts(["a", "b", "c"])


def test_rows_stand_in_the_order_of_the_queries_and_of_the_blocks() -> None:
    first = answers([Query(user_id="u"), Query(user_id="none"), Query(sequence_id="v")], [[2, 0], [], [1]])
    second = answers([Query(user_id="u")], [[0]])
    frame = framed(ranking_table(part, columns=("user_id", "item_id"), ids=ITEMS) for part in (first, second))
    assert frame["user_id"].to_list() == ["u", "u", "v", "u"]
    assert frame["item_id"].to_list() == ["c", "a", "b", "a"]
    assert frame["score"].to_list() == [1, 0.5, 1, 1]
    assert frame.dtypes.astype(str).to_list() == ["str", "str", "float32"]
    assert isinstance(frame.index, pd.RangeIndex)


def test_an_unknown_item_keeps_its_place_and_its_id() -> None:
    pairs = answers([Query(user_id="u", item_ids=["c", "zzz"]), Query(user_id="v", item_ids=["yyy"])], [[2, -1], [-1]])
    frame = framed([ranking_table(pairs, columns=("user_id", "item_id"), ids=ITEMS, details=details(title=["A"] * 3))])
    assert frame["item_id"].to_list() == ["c", "zzz", "yyy"]
    assert frame["title"].isna().to_list() == [False, True, True]


def test_a_column_of_the_items_whose_name_is_taken_gets_another_one() -> None:
    columns = details(score=["8"] * 3, item_score=["9"] * 3, user_id=["x"] * 3, title=["A", None, "C"])
    frame = framed(
        [
            ranking_table(
                answers([Query(user_id="u")], [[0]]), columns=("user_id", "item_id"), ids=ITEMS, details=columns
            )
        ]
    )
    assert list(frame) == ["user_id", "item_id", "score", "item_item_score", "item_score", "item_user_id", "title"]
    assert frame.iloc[0].to_list() == ["u", "a", 1.0, "8", "9", "x", "A"]


def test_the_columns_of_reasons_have_names_of_their_own() -> None:
    found = Explanations(
        indptr=np.array([0, 2]),
        item_indices=np.array([1, 0], dtype=np.int32),
        influences=np.array([0.5, -0.5], dtype=np.float32),
        impacts=np.array([0.25, -0.25], dtype=np.float32),
        baselines=np.array([1], dtype=np.float32),
        own_impacts=np.array([np.nan], dtype=np.float32),
    )
    columns = details(title=["A", "B", "C"], because_title=["x", "y", "z"], item_id=["1", "2", "3"])
    explained = answers([Query(user_id="u", explain=2)], [[2]], found)
    frame = framed([reasons_table(explained, item_ids=ITEMS, details=columns)])
    assert frame[["because_item_id", "influence", "impact"]].to_numpy().tolist() == [
        ["b", 0.5, 0.25],
        ["a", -0.5, -0.25],
    ]
    assert frame["title"].to_list() == ["C", "C"]
    assert frame["because_title"].to_list() == ["z", "z"]
    assert frame["item_because_title"].to_list() == ["B", "A"]
    assert frame["item_item_id"].to_list() == ["3", "3"]
    assert len(set(frame.columns)) == frame.shape[1] == 8 + 3 + 3


def test_probabilities_have_a_label_behind_the_score_and_none_where_there_is_no_score() -> None:
    pairs = answers([Query(user_id="u", item_ids=["c", "zzz", "a"])], [[2, -1, 0]])
    pairs.ranking.scores[:] = [0.5, np.nan, np.nextafter(np.float32(0.5), np.float32(0))]
    frame = framed([ranking_table(pairs, columns=("user_id", "item_id"), ids=ITEMS, labelled=True)])
    assert list(frame) == ["user_id", "item_id", "score", "predicted_label"]
    assert frame["predicted_label"].fillna(-1).to_list() == [1, -1, 0]
    assert frame["predicted_label"].dtype == pd.Int8Dtype()


def test_rows_without_reasons_stand_between_those_that_have_some() -> None:
    found = Explanations(
        indptr=np.array([0, 0, 2, 2]),
        item_indices=np.array([1, 0], dtype=np.int32),
        influences=np.array([3, 2], dtype=np.float32),
        impacts=np.array([3, 2], dtype=np.float32),
        baselines=np.array([1, 2, 3], dtype=np.float32),
        own_impacts=np.array([np.nan, 5, 6], dtype=np.float32),
    )
    explained = answers([Query(user_id="u", explain=2)], [[0, 2, 1]], found)
    frame = framed([reasons_table(explained, item_ids=ITEMS)])
    assert frame["item_id"].to_list() == ["a", "c", "c", "b"]
    assert frame["because_item_id"].fillna("").to_list() == ["", "b", "a", ""]
    assert frame["impact"].fillna(0).to_list() == [0, 3, 2, 0]
    assert frame["own_impact"].fillna(0).to_list() == [0, 5, 5, 6]


TEXTS = ["7", "007", "7", "12", "12"]
NUMBERS = [7, 12, 7, 3, -1]


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string[python]", pd.ArrowDtype(pa.string())])
def test_text_columns_of_every_type_are_read(dtype: Any) -> None:
    frame = pd.DataFrame({"user_id": pd.Series(TEXTS, dtype=dtype, index=list("abcde"))})
    found = ids_in(frame, "user", named=None)
    assert [found.texts[code] for code in found.codes] == TEXTS
    assert len(found.texts) == 3


@pytest.mark.parametrize("dtype", ["int64", "int8", "Int64", "object", "category", pd.ArrowDtype(pa.int32())])
def test_number_columns_of_every_type_are_read(dtype: Any) -> None:
    found = ids_in(pd.DataFrame({"item_id": pd.Series(NUMBERS, dtype=dtype)}), "item", named=None)
    assert [found.texts[code] for code in found.codes] == [str(number) for number in NUMBERS]


@given(st.lists(st.one_of(st.integers(-9, 9), st.text("0123456789", min_size=1, max_size=2))))
def test_texts_and_numbers_may_be_mixed(values: list[str | int]) -> None:
    found = ids_in(pd.DataFrame({"user": pd.Series(values, dtype="object")}), "user", named=None)
    assert [found.texts[code] for code in found.codes] == [str(value) for value in values]


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([1.0, 2.0, 3.0], "float64", r"user_id of row 'x' is 1\.0, a float, which is no id: .*pandas turns"),
        ([1, None, 3], None, r"user_id of row 'y' is nan, a missing value: drop"),
        ([1, None, 3], "Int64", r"user_id of row 'y' is <NA>, a missing value: drop what has no id"),
        (["a", "b", None], "str", r"user_id of row 'z' is nan, a missing value"),
        (["a", None, "b"], "category", r"user_id of row 'y' is nan, a missing value"),
        (["a", "b", ""], "str", r"user_id of row 'z' is an empty text"),
        ([1, True, 1], "object", r"user_id of row 'y' is True, of type bool"),
        ([1, 1, 1.0], "object", r"user_id of row 'z' is 1\.0, a float"),
        (["1", None, "2"], "object", r"user_id of row 'y' is None, a missing value"),
        ([True, False, True], "bool", r"user_id of row 'x' is True, of type bool"),
        (pd.to_datetime(["2024-01-01"] * 3), None, r"user_id of row 'x' is Timestamp.*, of type Timestamp"),
    ],
)
def test_what_is_no_id_is_named_with_its_row(values: Any, dtype: Any, words: str) -> None:
    column = pd.Series(list(values), dtype=dtype)
    column.index = pd.Index(["x", "y", "z"])
    with pytest.raises(UserError, match=words):
        ids_in(pd.DataFrame({"user_id": column}), "user", named=None)


def test_an_index_that_repeats_labels_does_no_harm() -> None:
    frame = pd.DataFrame({"user_id": ["a", "b", ""]}, index=[5, 5, 5])
    with pytest.raises(UserError, match="user_id of row 5 is an empty text"):
        ids_in(frame, "user", named=None)
    assert ids_in(frame.iloc[:2], "user", named=None).codes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "named", "taken"),
    [
        (["viewer", "user_id"], None, "user_id"),
        (["viewer", "user_id"], "viewer", "viewer"),
        (["User", "x"], "viewer", "User"),
        (["Customer_ID", 3], None, "Customer_ID"),
    ],
)
def test_a_column_is_found_as_in_training(columns: list[Any], named: str | None, taken: str) -> None:
    frame = pd.DataFrame([columns], columns=pd.Index(columns, dtype="object"))
    assert ids_in(frame, "user", named=named).texts == [taken]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["item_id", "product_id", "x"], "the frame has 2 item columns, 'item_id' and 'product_id': drop all but one"),
        (["item_id", "item_id", "x"], "2 item columns, 'item_id' and 'item_id'"),
        (["sku", "x"], "no item column in the frame, whose columns are 'sku', 'x': give .* one called item_id"),
        ([f"c{k}" for k in range(20)], "'c6', 'c7' and 12 more: give"),
    ],
)
def test_a_column_that_is_missing_or_there_twice_is_refused(columns: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ids_in(pd.DataFrame([columns], columns=columns), "item", named=None)


def test_the_columns_of_the_training_are_found_by_predict(tmp_path: Path) -> None:
    model = Recommender.load(save_films(tmp_path / "model"))
    pairs = pd.DataFrame({"user_id": ["bob"], "viewer": ["ann"], "movie_id": ["diva"]})
    # For user_id it would be 0.8, of bob.
    assert model.predict(pairs).round(3).to_list() == [np.float32(0.7)]


def test_without_pandas_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PlatformError, match="pandas is not installed: pip install pandas"):
        require_pandas()
