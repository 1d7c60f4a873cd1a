"""A model of a few users and items whose answers are easy to tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.recommend.top_n import Ranking


class FakeRecommender:
    """Ranks the items in index order, scored 1/(position + 1); a user with an even index has seen the first item."""

    def __init__(self, *, users: list[str], items: list[str], exclude_seen: bool = True) -> None:
        self.user_ids = Ids.from_texts(users)
        self.item_ids = Ids.from_texts(items)
        self.exclude_seen = exclude_seen
        self.calls: list[int] = []

    def warm_up(self) -> None:
        self.calls.append(0)

    def top_n(
        self, user_indices: NDArray[np.int64], *, counts: NDArray[np.int64], exclude_seen: NDArray[np.bool_]
    ) -> Ranking:
        assert len(user_indices) == len(counts) == len(exclude_seen)
        assert (counts >= 1).all()
        self.calls.append(len(user_indices))
        rows = [
            np.arange(bool(seen and user % 2 == 0 and user >= 0), len(self.item_ids))[:count]
            for user, count, seen in zip(user_indices, counts, exclude_seen, strict=True)
        ]
        item_indices = np.concatenate(rows).astype(np.int32)
        return Ranking(
            np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
            item_indices,
            (1 / (item_indices + 1)).astype(np.float32),
        )
