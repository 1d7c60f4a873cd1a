"""Ratings predicted by means and biases alone, which every model of ratings has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows

ITEM_SHRINKAGE, USER_SHRINKAGE = 25.0, 10.0
"""Those of Koren 2010, "Factor in the Neighbors: Scalable and Accurate Collaborative Filtering", section 2.1."""


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
        n_users, items = len(trained.counts), trained.indices
        users = np.repeat(np.arange(n_users), trained.counts)
        ratings = trained.weights.astype(np.float64)
        mean = float(ratings.mean())
        rest = ratings - mean
        item_biases = _shrunk_means(rest, items, rows=n_items, shrinkage=ITEM_SHRINKAGE)
        rest -= item_biases[items]
        return cls(mean, _shrunk_means(rest, users, rows=n_users, shrinkage=USER_SHRINKAGE), item_biases)

    def predicted(self, user_indices: NDArray[np.integer], item_indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return r̂ of each pair.  # (pairs,)."""
        return np.asarray(self.mean + self.user_biases[user_indices] + self.item_biases[item_indices])


def _shrunk_means(
    values: NDArray[np.float64], rows_of: NDArray[np.integer], *, rows: int, shrinkage: float
) -> NDArray[np.float64]:
    sums, counts = np.bincount(rows_of, weights=values, minlength=rows), np.bincount(rows_of, minlength=rows)
    return np.asarray(sums / (counts + shrinkage))
