"""The ranking by popularity alone, which every model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.evaluation.auc_kernels import popular_shares_above
from factorbox.evaluation.popularity_kernels import first_unseen
from factorbox.evaluation.ranking import NO_ITEM, Relevant
from factorbox.recommend.lists import Lists, taken


@dataclass(frozen=True, eq=False)
class Popularity:
    """How many users have each item in training.

    Attributes
    ----------
    users
        int64, (items,).
    available
        bool, (items,): what may be recommended at all.
    """

    users: NDArray[np.int64]
    available: NDArray[np.bool_]

    @classmethod
    def of(
        cls, item_indices: NDArray[np.integer], *, n_items: int, available: NDArray[np.bool_] | None = None
    ) -> Popularity:
        """Count the users of each item.

        Parameters
        ----------
        item_indices
            (pairs,): the item of each distinct (user, item) pair of training.
        available
            bool, (items,): what may be recommended at all; None for all.
        """
        return cls(
            users=np.bincount(item_indices, minlength=n_items).astype(np.int64),
            # A copy: kernels are compiled for arrays that can be written, and those of a loaded model cannot.
            available=np.ones(n_items, dtype=np.bool_) if available is None else available.copy(),
        )

    @property
    def order(self) -> NDArray[np.int64]:
        """The items that may be recommended, the most popular first, ties by item index."""
        order = np.argsort(-self.users, kind="stable")
        return order[self.available[order]]

    def top_items(self, seen: Lists, *, k: int) -> NDArray[np.int64]:
        """Rank for each user the items that most users have, without those the user has.  # (rows, k).

        Ties go to the lower item index; `NO_ITEM` where a user has fewer than k items left.
        """
        rows = np.full((len(seen.indptr) - 1, k), NO_ITEM, dtype=np.int64)
        first_unseen(self.order, len(self.users), seen.indptr, seen.indices, rows)
        return rows

    def shares_above(self, *, seen: Lists, relevant: Relevant) -> NDArray[np.float64]:
        """Return `factorbox.evaluation.auc.shares_above` where the score of an item is the number of its users."""
        distinct, place, counts = np.unique(self.users[self.available], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        twice_below = np.zeros(len(self.users), dtype=np.int64)
        twice_below[self.available] = (2 * ends - counts)[place] if len(distinct) else 0
        shares = np.full(len(relevant.item_indices), np.nan)
        popular_shares_above(
            self.users,
            twice_below,
            self.available,
            seen.indptr,
            seen.indices,
            relevant.indptr,
            relevant.item_indices,
            shares,
        )
        return shares


def most_popular(
    interactions: Interactions,
    *,
    user_indices: NDArray[np.integer] | Sequence[int],
    k: int,
    available: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Rank for each user the items that most users have, without those the user has.  # (rows, k).

    Ties go to the lower item index; `NO_ITEM` where a user has fewer than k items left. Items that are not `available`,
    where it is given, are never ranked.
    """
    popularity = Popularity.of(interactions.item_indices, n_items=interactions.n_items, available=available)
    seen = taken(interactions.by_user(), np.asarray(user_indices, dtype=np.int64))
    return popularity.top_items(Lists(seen.indptr, seen.indices), k=k)
