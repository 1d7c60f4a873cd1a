"""The ranking by popularity alone, which every model has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.evaluation.ranking import NO_ITEM


def most_popular(
    interactions: Interactions, *, user_indices: NDArray[np.integer] | Sequence[int], k: int
) -> NDArray[np.int64]:
    """Rank for each user the items that most users have, without those the user has.  # (rows, k).

    Ties go to the lower item index; `NO_ITEM` where a user has fewer than k items left.
    """
    popularity = np.bincount(interactions.item_indices, minlength=interactions.n_items)
    order = np.argsort(-popularity, kind="stable")
    rows = np.full((len(user_indices), k), NO_ITEM, dtype=np.int64)
    for row, user_index in enumerate(user_indices):
        seen = interactions.items_of(int(user_index))
        head = order[: k + len(seen)]  # at least k of them are unseen, if k are left at all
        unseen = head[~np.isin(head, seen)][:k]
        rows[row, : len(unseen)] = unseen
    return rows
