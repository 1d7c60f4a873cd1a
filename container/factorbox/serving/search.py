"""Finding users and items of a served model by what a person types, and what is stored of a user."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows

TITLE_COLUMN = "title"
"""The item column that is searched before all others, in any case."""


class Searched(Protocol):
    """What is looked at (`factorbox.recommender.Recommender`)."""

    @property
    def algorithm(self) -> str:
        """The algorithm that the model was trained by."""
        ...

    @property
    def user_ids(self) -> Ids:
        """The users."""
        ...

    @property
    def item_ids(self) -> Ids:
        """The items."""
        ...

    @property
    def history(self) -> Rows:
        """The items of each user."""
        ...

    @property
    def item_details(self) -> ItemDetails | None:
        """Titles and the like."""
        ...


class Search:
    """Looks users and items up; used by all threads of a process.

    Every answer is a mapping ready for JSON: the `model` in numbers, a list of `users`, and a list of `items`.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: Searched) -> None:
        self._model = model

    def overview(self, *, limit: int) -> dict[str, Any]:
        """Return users spread evenly over the ids, and the items that most users have."""
        n_users = len(self._model.user_ids)
        spread = np.linspace(0, n_users - 1, num=min(limit, n_users)).astype(np.int64)
        popular = self._most_popular(np.arange(len(self._model.item_ids)), limit=limit)
        return self._answer(users=spread, items=popular)

    def find(self, text: str, *, limit: int) -> dict[str, Any]:
        """Return users and items by a part of their id or title.

        Users whose id begins with the text come in the order of the ids, so that the id itself is first. Items come
        the same way, and after them those with the text anywhere in their title, then in another column, in any case,
        those that most users have first.

        Parameters
        ----------
        text
            What to look for, not empty; case matters in ids alone.
        limit
            How many users, and how many items, at most.
        """
        return self._answer(users=_beginning_with(self._model.user_ids, text, limit), items=self._items(text, limit))

    def of_user(self, user_id: str, *, limit: int) -> dict[str, Any]:
        """Return one user and the items of that user's history, the largest weights first; nothing if unknown."""
        user = self._model.user_ids.indices_of([user_id])
        if user[0] < 0:
            return self._answer(users=user[:0], items=user[:0])
        history = self._model.history
        row = slice(history.indptr[user[0]], history.indptr[user[0] + 1])
        largest = np.argsort(-history.weights[row], kind="stable")[:limit]
        answer = self._answer(users=user, items=history.indices[row][largest].astype(np.int64))
        for item, weight in zip(answer["items"], history.weights[row][largest].tolist(), strict=True):
            item["weight"] = weight
        return answer

    @cached_property
    def _users_of_items(self) -> NDArray[np.int64]:
        """How many users have each item: counted at the first request, since most servers never show the page."""
        return np.bincount(self._model.history.indices, minlength=len(self._model.item_ids))

    def _answer(self, *, users: NDArray[np.int64], items: NDArray[np.int64]) -> dict[str, Any]:
        model = self._model
        starts = model.history.indptr
        return {
            "model": {"algorithm": model.algorithm, "users": len(model.user_ids), "items": len(model.item_ids)},
            "users": [{"user_id": model.user_ids[u], "items": int(starts[u + 1] - starts[u])} for u in users.tolist()],
            "items": [self._item(index) for index in items.tolist()],
        }

    def _item(self, index: int) -> dict[str, Any]:
        shown: dict[str, Any] = {"item_id": self._model.item_ids[index], "users": int(self._users_of_items[index])}
        details = self._model.item_details
        if details is not None and (columns := details.of(index)) is not None:
            shown["item"] = columns
        return shown

    def _items(self, text: str, limit: int) -> NDArray[np.int64]:
        """Return the items by id, then by one column after the other, until there are enough."""
        found = _beginning_with(self._model.item_ids, text, limit)
        for column in self._columns():
            if len(found) == limit:
                break
            holds = pc.fill_null(pc.match_substring(column, text, ignore_case=True), False)
            matches = np.flatnonzero(holds.to_numpy(zero_copy_only=False))
            fresh = matches[~np.isin(matches, found)]
            found = np.concatenate([found, self._most_popular(fresh, limit=limit - len(found))])
        return found

    def _columns(self) -> Iterator[pa.LargeStringArray]:
        """Give the item columns, titles first."""
        details = self._model.item_details
        columns: Mapping[str, pa.LargeStringArray] = {} if details is None else details.columns
        for name in sorted(columns, key=lambda name: name.lower() != TITLE_COLUMN):
            yield columns[name]

    def _most_popular(self, items: NDArray[np.int64], *, limit: int) -> NDArray[np.int64]:
        """Return the items that most users have, ties by index."""
        # Distinct, so that a partition without regard to ties is exact.
        keys = items - self._users_of_items[items] * len(self._model.item_ids)
        if limit < len(items):
            items = items[np.argpartition(keys, limit)[:limit]]
            keys = items - self._users_of_items[items] * len(self._model.item_ids)
        return items[np.argsort(keys)]


def _beginning_with(ids: Ids, text: str, limit: int) -> NDArray[np.int64]:
    """Return the first ids that begin with a text, by bisection: ids are in the order of their bytes."""
    prefix = text.encode()

    def start_of(index: int) -> bytes:
        return ids.texts[index].as_buffer().to_pybytes()[: len(prefix)]  # type: ignore[no-any-return]

    first = bisect_left(range(len(ids)), prefix, key=start_of)
    end = bisect_right(range(len(ids)), prefix, lo=first, key=start_of)
    return np.arange(first, min(end, first + limit))
