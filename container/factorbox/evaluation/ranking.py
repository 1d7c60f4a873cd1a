"""How good rankings are: metrics at k.

Every metric of a ranking is a mean over the users who have at least one held-out item. For one user, R is the
set of held-out items, and rel(p) is 1 where the item at position p of the user's ranking is in R, else 0.
Rankings come without the items of training, and may be shorter than k: a missing position counts as a miss. So does a
held-out item that is never ranked, as one that may not be recommended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.errors import UserError
from factorbox.recommend.lists import ranges, starts_of

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
    def from_pairs(
        cls, user_indices: NDArray[np.integer], item_indices: NDArray[np.integer], *, n_users: int
    ) -> Relevant:
        """Group pairs by user; a repeated pair counts once."""
        stride = int(item_indices.max(initial=0)) + 1
        pairs = np.unique(user_indices.astype(np.int64) * stride + item_indices)
        counts = np.bincount(pairs // stride, minlength=n_users)
        return cls(
            indptr=starts_of(counts),
            item_indices=(pairs % stride).astype(np.int32),
        )

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of held-out items of each user.  # (users,)."""
        return np.diff(self.indptr)

    @property
    def owners(self) -> NDArray[np.int64]:
        """User of each pair.  # (pairs,)."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.counts)

    def taken(self, users: NDArray[np.int64]) -> Relevant:
        """Return the held-out items of some users, as users 0, 1, …"""  # noqa: D400
        counts = self.counts[users]
        return Relevant(starts_of(counts), self.item_indices[ranges(self.indptr[users], counts)])

    def part(self, users: slice) -> Relevant:
        """Return the held-out items of some users that follow one another, as users 0, 1, …"""  # noqa: D400
        indptr = self.indptr[users.start : users.stop + 1]
        return Relevant(indptr - indptr[0], self.item_indices[indptr[0] : indptr[-1]])


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the evaluated users, each within [0, 1].

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
    mrr
        1 / p for the first position p ≤ k with rel(p) = 1; 0 where there is none.
    hit_rate
        1 where hits > 0, else 0.
    """

    k: int
    users: int
    precision: float
    recall: float
    ndcg: float
    map: float
    map_min: float
    mrr: float
    hit_rate: float


@dataclass(frozen=True, eq=False)
class UserMetrics:
    """The metrics of each evaluated user; what they are stands in `RankingMetrics`, whose means are over these.

    Attributes
    ----------
    k
        Length of the rankings that were looked at.
    precision, recall, ndcg, map, map_min, mrr, hit_rate
        float64, (users,), each within [0, 1].
    """

    k: int
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    map: NDArray[np.float64]
    map_min: NDArray[np.float64]
    mrr: NDArray[np.float64]
    hit_rate: NDArray[np.float64]

    def means(self) -> RankingMetrics:
        """Return the means over the users."""
        return RankingMetrics(
            k=self.k,
            users=len(self.ndcg),
            precision=float(np.mean(self.precision)),
            recall=float(np.mean(self.recall)),
            ndcg=float(np.mean(self.ndcg)),
            map=float(np.mean(self.map)),
            map_min=float(np.mean(self.map_min)),
            mrr=float(np.mean(self.mrr)),
            hit_rate=float(np.mean(self.hit_rate)),
        )

    def by_name(self) -> dict[str, NDArray[np.float64]]:
        """Return those that a job reports by the names of `factorbox.evaluation.metrics`."""
        k = self.k
        return {
            f"ndcg@{k}": self.ndcg,
            f"precision@{k}": self.precision,
            f"recall@{k}": self.recall,
            f"map@{k}": self.map,
            f"mrr@{k}": self.mrr,
            f"hit_rate@{k}": self.hit_rate,
        }


def ranking_metrics(
    top_items: NDArray[np.integer], *, user_indices: NDArray[np.integer], relevant: Relevant, k: int
) -> RankingMetrics:
    """Measure rankings against held-out items: the means of `user_metrics`, whose parameters and errors it has."""
    return user_metrics(top_items, user_indices=user_indices, relevant=relevant, k=k).means()


def user_metrics(
    top_items: NDArray[np.integer], *, user_indices: NDArray[np.integer], relevant: Relevant, k: int
) -> UserMetrics:
    """Measure the ranking of each user against the held-out items.

    Parameters
    ----------
    top_items
        (rows, at least k where the rankings are that long): item indices, best first, `NO_ITEM` where
        a ranking has ended. No item twice in a row.
    user_indices
        (rows,): whose ranking each row is. Rows of users without held-out items are left out.
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
    rel = places_of_hits(top_items[evaluated, :k], user_indices=user_indices[evaluated], relevant=relevant) >= 0
    n_relevant = n_relevant[evaluated]
    # Positions that the matrix does not have are misses; those where even a perfect ranking has ended need no place.
    depth = min(k, max(rel.shape[1], int(n_relevant.max())))
    rel = np.pad(rel, ((0, 0), (0, depth - rel.shape[1])))  # (users, depth)
    positions = np.arange(1, depth + 1)
    n_hits = rel.sum(axis=1)
    n_perfect = np.minimum(n_relevant, depth)  # min(k, |R|)

    discounts = 1.0 / np.log2(positions + 1.0)
    # Both sums one position after another: then rounding cannot lift the ratio above 1.
    gain = np.cumsum(rel * discounts, axis=1)[:, -1]
    ideal = np.cumsum(discounts)[n_perfect - 1]  # (users,)
    precision_sum = (rel * np.cumsum(rel, axis=1) / positions).sum(axis=1)
    return UserMetrics(
        k=k,
        precision=n_hits / float(k),
        recall=n_hits / n_relevant,
        ndcg=gain / ideal,
        map=precision_sum / n_relevant,
        map_min=precision_sum / n_perfect,
        mrr=(rel / positions).max(axis=1),
        hit_rate=(n_hits > 0).astype(np.float64),
    )


def coverage(top_items: NDArray[np.integer], *, n_recommendable: int) -> float:
    """Return the share of the catalogue that is ranked for anybody, within [0, 1].

    It is the number of distinct items in all rankings, divided by that of the items that may be recommended; 0 where
    none may. The more users are ranked for, the larger it is.

    Parameters
    ----------
    top_items
        As in `user_metrics`, k columns: no item in it that may not be recommended.
    n_recommendable
        Items that may be recommended at all.
    """
    ranked = np.unique(top_items[top_items != NO_ITEM])
    return len(ranked) / n_recommendable if n_recommendable else 0.0


def top_items_matrix(indptr: NDArray[np.int64], item_indices: NDArray[np.integer], *, k: int) -> NDArray[np.int64]:
    """Lay rankings of different lengths, one after the other, into rows of k items.  # (rows, k).

    Row r is `item_indices[indptr[r]:indptr[r + 1]]`, cut after k or filled up with `NO_ITEM`.
    """
    rows = np.full((len(indptr) - 1, k), NO_ITEM, dtype=np.int64)
    columns = np.arange(k)
    present = columns < np.diff(indptr)[:, None]
    rows[present] = item_indices[(indptr[:-1, None] + columns)[present]]
    return rows


def places_of_hits(
    top_items: NDArray[np.integer], *, user_indices: NDArray[np.integer], relevant: Relevant
) -> NDArray[np.int64]:
    """Return for each position which pair of `relevant` its item is, −1 for none: rel(p) = 0.  # (rows, positions).

    The parameters are those of `user_metrics`; there is at least one pair in `relevant`.
    """
    # By bisection in the sorted (user, item) keys.
    stride = max(int(relevant.item_indices.max()), int(top_items.max(initial=0))) + 1
    keys = relevant.owners * stride + relevant.item_indices  # (pairs,), strictly increasing
    wanted = user_indices[:, None] * np.int64(stride) + top_items  # (rows, positions)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[at] == wanted) & (top_items != NO_ITEM), at, -1)
