"""A model of a few users and items whose answers are easy to tell."""

from __future__ import annotations

import numpy as np

from answering_support import Model
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.models.base import RowSystem
from factorbox.recommend.answering import Answering
from factorbox.recommend.answers import Answers
from factorbox.recommend.subjects import Resolved


class SmallModel:
    """Scores item i with 1/(i + 1) for every user; a user with an even index has seen the first item.

    A folded-in history scores the like, times a number that grows with the history.
    """

    def __init__(
        self,
        *,
        users: list[str],
        items: list[str],
        exclude_seen: bool = True,
        item_details: ItemDetails | None = None,
    ) -> None:
        self.user_ids = Ids.from_texts(users)
        self.item_ids = Ids.from_texts(items)
        self.exclude_seen = exclude_seen
        self.item_details = item_details
        seen = np.arange(len(users)) % 2 == 0
        self.history = Rows(
            indptr=np.concatenate([[0], np.cumsum(seen)]).astype(np.int64),
            indices=np.zeros(seen.sum(), dtype=np.int32),
            weights=np.ones(seen.sum(), dtype=np.float32),
        )
        item_factors = (1 / np.arange(1, len(items) + 1)).astype(np.float32)[:, None]
        system = RowSystem(
            item_factors=item_factors,
            has_bias=False,
            gram=np.eye(1),
            constant=np.zeros(1),
            targets=np.ones(len(items), dtype=np.float32),
            offsets=np.zeros(len(items), dtype=np.float32),
            alpha=1.0,
            regularization=0.0,
            frequency_offset=0.0,
            regularization_exponent=0.0,
        )
        model = Model(
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            history=self.history,
            user_factors=np.ones((len(users), 1), dtype=np.float32),
            item_factors=item_factors,
            user_biases=np.zeros(len(users), dtype=np.float32),
            item_biases=np.zeros(len(items), dtype=np.float32),
            mean_user_factors=np.ones(1, dtype=np.float32),
            mean_user_bias=np.zeros(1, dtype=np.float32),
            available=np.ones(len(items), dtype=np.bool_),
        )
        self.answering = Counted(model, row_system=lambda: system)
        self.algorithm = "als"

    def warm_up(self) -> None:
        """Nothing has to be made before the first answer."""


class Counted(Answering):
    """Notes how many rows the answer to each block has."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.rows: list[int] = []

    def answer(self, resolved: Resolved, *, exclude_seen: bool) -> Answers:
        answers = super().answer(resolved, exclude_seen=exclude_seen)
        self.rows.append(len(answers.ranking.scores))
        return answers
