from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.serving.search import Search

# Letters in two cases, of one byte and of two, and signs that mean something to a regular expression.
TEXTS = st.text(st.sampled_from("aAbBéÉ1 .*\\(E"), max_size=4)
IDS = TEXTS.filter(bool)


@dataclass(frozen=True, eq=False)
class Shown:
    """A model to look at."""

    user_ids: Ids
    item_ids: Ids
    history: Rows
    item_details: ItemDetails | None = None
    algorithm: str = "als"


def shown(
    histories: dict[str, dict[str, float]], items: list[str], *, columns: dict[str, list[str | None]] | None = None
) -> Shown:
    """Build a model from the weights of each user's items; `items` is sorted, and each column in its order."""
    user_ids, item_ids = Ids.from_texts(list(histories)), Ids.from_texts(items)
    rows = [sorted((items.index(i), w) for i, w in histories[user].items()) for user in user_ids.to_list()]
    flat = [pair for row in rows for pair in row]
    details = None
    if columns:
        details = ItemDetails({name: pa.array(texts, type=pa.large_string()) for name, texts in columns.items()})
    return Shown(
        user_ids=user_ids,
        item_ids=item_ids,
        history=Rows(
            indptr=np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
            indices=np.array([index for index, _ in flat], dtype=np.int32),
            weights=np.array([weight for _, weight in flat], dtype=np.float32),
        ),
        item_details=details,
    )


FILMS = shown(
    {
        "7": {"1": 1.0},
        "70": {"1": 3.0, "2": 1.0, "3": 2.0},
        "71": {"2": 1.0, "3": 1.0},
        "8": {"3": 1.0, "star": 1.0},
        "9": {},
    },
    ["1", "2", "3", "star"],
    columns={"genre": ["lonestar", "western", None, "drama"], "Title": ["Alien", "Star Wars", None, "Lone STAR"]},
)


def item_ids(answer: dict[str, object]) -> list[str]:
    items = answer["items"]
    assert isinstance(items, list)
    return [item["item_id"] for item in items]


def user_ids(answer: dict[str, object]) -> list[str]:
    users = answer["users"]
    assert isinstance(users, list)
    return [user["user_id"] for user in users]


def test_the_id_itself_comes_before_those_that_begin_with_it() -> None:
    assert user_ids(Search(FILMS).find("7", limit=10)) == ["7", "70", "71"]
    assert user_ids(Search(FILMS).find("7", limit=2)) == ["7", "70"]


def test_items_are_found_by_id_then_title_then_any_other_column() -> None:
    # "star" is an id, then in the title of 2 and of itself, then in the genre of 1.
    assert item_ids(Search(FILMS).find("star", limit=10)) == ["star", "2", "1"]
    assert item_ids(Search(FILMS).find("star", limit=2)) == ["star", "2"]


def test_case_matters_in_ids_alone() -> None:
    # Two users have item 2 and one has the item "star".
    assert item_ids(Search(FILMS).find("STAR", limit=10)) == ["2", "star", "1"]


def test_an_answer_says_how_much_is_known_of_each() -> None:
    assert Search(FILMS).find("7", limit=1)["users"] == [{"user_id": "7", "items": 1}]
    assert Search(FILMS).find("3", limit=1)["items"] == [{"item_id": "3", "users": 3}]
    assert Search(FILMS).find("wars", limit=1) == {
        "model": {"algorithm": "als", "users": 5, "items": 4},
        "users": [],
        "items": [{"item_id": "2", "users": 2, "item": {"genre": "western", "Title": "Star Wars"}}],
    }


def test_a_user_has_the_items_of_the_history_by_weight() -> None:
    answer = Search(FILMS).of_user("70", limit=2)

    assert answer["users"] == [{"user_id": "70", "items": 3}]
    assert [(item["item_id"], item["weight"]) for item in answer["items"]] == [("1", 3.0), ("3", 2.0)]


@pytest.mark.parametrize(("user", "found"), [("9", ["9"]), ("nobody", []), ("", [])])
def test_a_user_without_history_or_unknown_has_no_items(user: str, found: list[str]) -> None:
    answer = Search(FILMS).of_user(user, limit=10)

    assert (user_ids(answer), answer["items"]) == (found, [])


def test_the_overview_spreads_users_over_the_ids_and_has_the_most_popular_items() -> None:
    answer = Search(FILMS).overview(limit=3)

    assert user_ids(answer) == ["7", "71", "9"]
    assert item_ids(answer) == ["3", "1", "2"]


def test_a_model_without_item_columns_is_searched_by_id() -> None:
    model = shown({"u": {"a": 1.0}}, ["a", "b"])

    assert item_ids(Search(model).find("a", limit=5)) == ["a"]
    assert item_ids(Search(model).find("b", limit=5)) == ["b"]
    assert item_ids(Search(model).find("c", limit=5)) == []


@given(
    data=st.data(),
    users=st.lists(IDS, unique=True, min_size=1, max_size=8),
    items=st.lists(IDS, unique=True, min_size=1, max_size=8),
    text=IDS,
    limit=st.integers(1, 9),
)
def test_search_is_what_a_plain_reading_of_all_texts_gives(
    data: st.DataObject, users: list[str], items: list[str], text: str, limit: int
) -> None:
    items = sorted(items, key=str.encode)
    histories = {user: dict.fromkeys(data.draw(st.sets(st.sampled_from(items))), 1.0) for user in users}
    # Items of which nothing more is known have nulls in every column.
    rows = [data.draw(st.just((None, None)) | st.tuples(TEXTS, TEXTS)) for _ in items]
    columns: dict[str, list[str | None]] = {
        "year": [year for year, _ in rows],
        "title": [title for _, title in rows],
    }
    found = Search(shown(histories, items, columns=columns)).find(text, limit=limit)

    expected = [item for item in items if item.startswith(text)][:limit]
    popular = sorted(items, key=lambda item: -sum(item in history for history in histories.values()))
    for name in ("title", "year"):
        texts = dict(zip(items, columns[name], strict=True))
        hits = [item for item in popular if text.lower() in (texts[item] or "").lower()]
        expected += [item for item in hits if item not in expected]
    assert item_ids(found) == expected[:limit]
    assert user_ids(found) == [user for user in sorted(users, key=str.encode) if user.startswith(text)][:limit]
