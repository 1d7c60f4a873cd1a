"""What is answered: rankings and their reasons, as columns for many queries at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.queries import Queries
from factorbox.recommend.top_n import Ranking

UNKNOWN_ITEM = -1
"""The item index of an unknown id among `item_ids`; its score is NaN."""


@dataclass(frozen=True, eq=False)
class Explanations:
    """The reasons for each row of a ranking.

    Attributes
    ----------
    indptr
        int64, (rows + 1,): the reasons of row r stand at `indptr[r]:indptr[r + 1]`.
    item_indices
        int32, (reasons,): items of the user's history, by impact from the largest to the most negative, ties by index.
    influences, impacts
        float32, (reasons,): see `factorbox.recommend.explanations`.
    baselines
        float32, (rows,): the part of the score that no history item explains; NaN for a row without explanation.
    own_impacts
        float32, (rows,): the impact of the explained item itself, NaN where it is not in the history.
    """

    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    influences: NDArray[np.float32]
    impacts: NDArray[np.float32]
    baselines: NDArray[np.float32]
    own_impacts: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers to consecutive queries.

    Attributes
    ----------
    queries
        What was asked.
    known
        bool, (queries,): whether the query's user or item is one of the model's; true where none is named.
    ignored
        int64, (queries,): ids in `history` that the model does not know.
    ranking
        One request a query. Its indices are those of users for `similar_users`, of items for all others, and
        `UNKNOWN_ITEM` with a score of NaN for an unknown id among `item_ids`.
    explanations
        For the rows of the ranking; None where no query asks for any.
    """

    queries: Queries
    known: NDArray[np.bool_]
    ignored: NDArray[np.int64]
    ranking: Ranking
    explanations: Explanations | None
