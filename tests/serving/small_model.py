"""A model of a few users and items whose answers are easy to tell."""

from __future__ import annotations

import numpy as np

from answering_support import Model
from factorbox.data.feedback import CELLS, COUNTS, IMPLICIT, PAIRS, RATINGS
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.models.base import Link
from factorbox.models.row_system import RatingLoss, RowSystem
from factorbox.recommend.answering import Answering
from factorbox.recommend.answers import Answers
from factorbox.recommend.queries import Query
from factorbox.recommend.subjects import Resolved
from factorbox.recommend.traits import Misfit, Traits

ALS = Traits(algorithm="als", feedback=IMPLICIT)
SQUARED = Traits(algorithm="explicit", feedback=RATINGS, listed_value=4.0)
LOGISTIC = Traits(algorithm="explicit", feedback=RATINGS, link="sigmoid")
POISSON = Traits(algorithm="explicit", feedback=COUNTS, link="exp", listed_value=3.0)
NMF = Traits(algorithm="nmf", feedback=CELLS, listed_value=4.0)
MLP = Traits(algorithm="mlp", feedback=PAIRS, explains=False)

_LOSSES: dict[Link, RatingLoss] = {"identity": "squared", "sigmoid": "logistic", "exp": "poisson"}


class SmallModel:
    """Scores item i with 1/(i + 1) for every user; a user with an even index has seen the first item.

    A folded-in history scores the like, times a number that grows with the history. A model of ratings adds a mean
    of 0.5.
    """

    def __init__(
        self,
        *,
        users: list[str],
        items: list[str],
        exclude_seen: bool = True,
        item_details: ItemDetails | None = None,
        traits: Traits = ALS,
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
        rated = traits.feedback.kind == "ratings"
        mean = 0.5 if rated else 0.0
        system = RowSystem(
            item_factors=item_factors,
            has_bias=False,
            gram=np.eye(1),
            constant=np.zeros(1),
            targets=np.full(len(items), -mean if rated else 1.0, dtype=np.float32),
            offsets=np.full(len(items), mean, dtype=np.float32),
            alpha=None if rated else 1.0,
            regularization=0.0,
            frequency_offset=0.0,
            regularization_exponent=0.0,
            ratings=rated,
            loss=_LOSSES[traits.link],
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
            global_mean=mean,
        )
        self.answering = Counted(model, row_system=lambda: system, traits=traits)
        self.algorithm = traits.algorithm

    def warm_up(self) -> None:
        """Nothing has to be made before the first answer."""


class Counted(Answering):
    """Notes how many rows the answer to each block has, what was folded in for it, and which queries were judged."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.rows: list[int] = []
        self.folded: list[list[int]] = []
        self.judged: list[Query] = []

    def answer(self, resolved: Resolved, *, exclude_seen: bool) -> Answers:
        self.folded.append(resolved.given.counts.tolist())
        answers = super().answer(resolved, exclude_seen=exclude_seen)
        self.rows.append(len(answers.ranking.scores))
        return answers

    def misfit(self, query: Query) -> Misfit | None:
        self.judged.append(query)
        return super().misfit(query)
