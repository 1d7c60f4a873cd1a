"""How good rankings are: metrics at k.

Every metric of a ranking is a mean over the users who have at least one held-out item. For one user, R is the
set of held-out items, and rel(p) is 1 where the item at position p of the user's ranking is in R, else 0.
Rankings come without the items of training, and may be shorter than k: a missing position counts as a miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.errors import UserError

NO_ITEM = -1
"""Stands in a top-k matrix where a user has no item left to rank."""


@dataclass(frozen=True, eq=False)
class Relevant:
    """The held-out items of each user, in the rows of a compressed matrix.

    Attributes
    ----------
    indptr
        int64, (users + 1,): the held-out items of user u stand at `indptr[u]:indptr[u + 1]`.
    item_indices
        int32, (pairs,): strictly increasing within a user.
    """

    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]

    @classmethod
    def from_pairs(cls, user_indices: NDArray[np.int64], item_indices: NDArray[np.int64], *, n_users: int) -> Relevant:
        """Group pairs by user; a repeated pair counts once."""
        pairs = np.unique(np.stack([user_indices, item_indices]).astype(np.int64), axis=1)
        counts = np.bincount(pairs[0], minlength=n_users)
        return cls(
            indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item_indices=pairs[1].astype(np.int32),
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of held-out items of each user.  # (users,)."""
        return np.diff(self.indptr)


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the evaluated users.

    Attributes
    ----------
    k
        Length of the rankings that were looked at.
    users
        Users with at least one held-out item, the denominator of every mean.
    precision
        hits / k, where hits = Σ_{p ≤ k} rel(p).
    recall
        hits / |R|.
    ndcg
        Σ_{p ≤ k} rel(p) / log2(p + 1), divided by the same sum for a perfect ranking, whose first
        min(k, |R|) positions are all relevant (Järvelin and Kekäläinen 2002, binary gains).
    map
        Σ_{p ≤ k} rel(p) · hits(p) / p, divided by |R|, where hits(p) counts the hits up to position p.
    map_min
        The same sum divided by min(k, |R|), so that a perfect ranking reaches 1 for any |R|.
    """

    k: int
    users: int
    precision: float
    recall: float
    ndcg: float
    map: float
    map_min: float


def ranking_metrics(
    top_items: NDArray[np.integer], *, user_indices: NDArray[np.integer], relevant: Relevant, k: int
) -> RankingMetrics:
    """Measure rankings against held-out items.

    Parameters
    ----------
    top_items
        (rows, at least k where the rankings are that long): item indices, best first, `NO_ITEM` where
        a ranking has ended. No item twice in a row.
    user_indices
        (rows,): whose ranking each row is. Rows of users without held-out items are left out of the means.
    relevant
        The held-out items of all users.
    k
        Positions to look at, ≥ 1.

    Raises
    ------
    UserError
        Where no user of `user_indices` has a held-out item, so that every mean would be 0 / 0.
    """
    n_relevant = relevant.counts[user_indices]
    evaluated = n_relevant > 0
    if not evaluated.any():
        raise UserError(
            "no user to evaluate has a held-out item: hold out some interactions of users who are in training"
        )
    hits = _hits(top_items[evaluated, :k], user_indices=user_indices[evaluated], relevant=relevant)
    n_relevant = n_relevant[evaluated]
    positions = np.arange(1, hits.shape[1] + 1)
    n_hits = hits.sum(axis=1)

    discounts = 1.0 / np.log2(np.arange(1, k + 1) + 1.0)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]  # (users,)
    ndcg = (hits * discounts[: hits.shape[1]]).sum(axis=1) / ideal
    precision_sum = (hits * np.cumsum(hits, axis=1) / positions).sum(axis=1)
    return RankingMetrics(
        k=k,
        users=len(n_relevant),
        precision=float(np.mean(n_hits / k)),
        recall=float(np.mean(n_hits / n_relevant)),
        ndcg=float(np.mean(ndcg)),
        map=float(np.mean(precision_sum / n_relevant)),
        map_min=float(np.mean(precision_sum / np.minimum(n_relevant, k))),
    )


def top_items_matrix(indptr: NDArray[np.int64], item_indices: NDArray[np.integer], *, k: int) -> NDArray[np.int64]:
    """Lay rankings of different lengths, one after the other, into rows of k items.  # (rows, k).

    Row r is `item_indices[indptr[r]:indptr[r + 1]]`, cut after k or filled up with `NO_ITEM`.
    """
    rows = np.full((len(indptr) - 1, k), NO_ITEM, dtype=np.int64)
    columns = np.arange(k)
    present = columns < np.diff(indptr)[:, None]
    rows[present] = item_indices[(indptr[:-1, None] + columns)[present]]
    return rows


def _hits(
    top_items: NDArray[np.integer], *, user_indices: NDArray[np.integer], relevant: Relevant
) -> NDArray[np.bool_]:
    """Mark the positions whose item is relevant, by bisection in the sorted (user, item) keys."""
    stride = max(int(relevant.item_indices.max()), int(top_items.max(initial=0))) + 1
    owners = np.repeat(np.arange(len(relevant.indptr) - 1), relevant.counts)
    keys = owners * stride + relevant.item_indices  # (pairs,), strictly increasing
    wanted = user_indices[:, None] * np.int64(stride) + top_items  # (rows, k)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    hits: NDArray[np.bool_] = (keys[at] == wanted) & (top_items != NO_ITEM)
    return hits
