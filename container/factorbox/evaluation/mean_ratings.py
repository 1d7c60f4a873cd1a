"""Ratings predicted by means and biases alone, which every model of ratings has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows

ITEM_SHRINKAGE, USER_SHRINKAGE = 25.0, 10.0
"""Those of Koren 2010, "Factor in the Neighbors: Scalable and Accurate Collaborative Filtering", section 2.1."""

_BLOCK_PAIRS = 1 << 20


@dataclass(frozen=True, eq=False)
class MeanRatings:
    """The mean rating with a bias of each user and each item:

        r̂_ui = μ + b_u + b_i,
        b_i = Σ_{u rated i} (r_ui − μ) / (n_i + 25), then b_u = Σ_{i rated by u} (r_ui − μ − b_i) / (n_u + 10),

    where n_i and n_u count ratings, so that the biases of those with few are drawn to 0; without any they are 0.

    Attributes
    ----------
    mean
        μ, the mean of all ratings.
    user_biases, item_biases
        float64, (users,) and (items,).
    """  # noqa: D400 - the sentence goes on in the formula

    mean: float
    user_biases: NDArray[np.float64]
    item_biases: NDArray[np.float64]

    @classmethod
    def of(cls, trained: Rows, *, n_items: int) -> MeanRatings:
        """Work out means and biases.

        Parameters
        ----------
        trained
            Ratings in rows by user, at least one: `weights` may be labels 0 and 1 as well.
        n_items
            Number of items.
        """
        rest = trained.weights.astype(np.float64)
        mean = float(rest.mean())
        rest -= mean
        item_biases = _shrunk(_sums_by_item(rest, trained.indices, n_items=n_items), shrinkage=ITEM_SHRINKAGE)
        for block in _blocks(len(rest)):
            rest[block] -= item_biases[trained.indices[block]]
        return cls(mean, _shrunk(_sums_by_user(rest, trained), shrinkage=USER_SHRINKAGE), item_biases)

    def predicted(self, user_indices: NDArray[np.integer], item_indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return r̂ of each pair.  # (pairs,)."""
        return np.asarray(self.mean + self.user_biases[user_indices] + self.item_biases[item_indices])


def _shrunk(sums_and_counts: tuple[NDArray[np.float64], NDArray[np.int64]], *, shrinkage: float) -> NDArray[np.float64]:
    sums, counts = sums_and_counts
    return np.asarray(sums / (counts + shrinkage))


def _sums_by_item(
    values: NDArray[np.float64], items: NDArray[np.int32], *, n_items: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum over each item's pairs, and how many it has.  # both (items,)."""
    sums, counts = np.zeros(n_items), np.zeros(n_items, dtype=np.int64)
    for block in _blocks(len(values)):
        sums += np.bincount(items[block], weights=values[block], minlength=n_items)
        counts += np.bincount(items[block], minlength=n_items)
    return sums, counts


def _sums_by_user(values: NDArray[np.float64], rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum over each user's pairs, and how many they are.  # both (users,)."""
    counts = rows.counts
    sums, some = np.zeros(len(counts)), np.flatnonzero(counts)
    # The slice of a user without pairs would be read as one pair.
    sums[some] = np.add.reduceat(values, rows.indptr[some])
    return sums, counts


def _blocks(size: int) -> Iterator[slice]:
    """Cut a length into parts, so that what is worked out of each needs little memory."""
    for start in range(0, size, _BLOCK_PAIRS):
        yield slice(start, min(start + _BLOCK_PAIRS, size))
