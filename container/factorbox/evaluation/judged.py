"""What one way to rank and to rate comes to, for each user and each held-out pair, before anything is averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.evaluation.auc import user_aucs
from factorbox.evaluation.intervals import Ratio
from factorbox.evaluation.ranking import Relevant, places_of_hits, user_metrics


@dataclass(frozen=True, eq=False)
class Judged:
    """The model, or a baseline, as the held-out pairs judge it.

    Attributes
    ----------
    top_items
        int64, (users, k), as `factorbox.evaluation.ranking.user_metrics` takes it.
    relevant
        The held-out pairs; each user has some.
    shares
        float64, (pairs,): a_i of `factorbox.evaluation.auc`, NaN where there is none.
    errors
        float64, (pairs,): predicted ratings less observed ones; None where no ratings are predicted.
    """

    top_items: NDArray[np.int64]
    relevant: Relevant
    shares: NDArray[np.float64]
    errors: NDArray[np.float64] | None

    def by_user(self) -> dict[str, Ratio]:
        """Return each metric over all users, by name: means over users, but errors over pairs."""
        users = np.arange(len(self.top_items))
        k = self.top_items.shape[1]
        metrics = user_metrics(self.top_items, user_indices=users, relevant=self.relevant, k=k)
        return {
            **{name: Ratio.mean(values) for name, values in metrics.by_name().items()},
            "auc": Ratio.mean(user_aucs(self.shares, relevant=self.relevant)),
            **self._errors_of(np.ones(len(self.shares), dtype=np.bool_)),
        }

    def by_pair(self, which: NDArray[np.bool_]) -> dict[str, Ratio]:
        """Return what can be said of some of the pairs, by name: each is a mean over these pairs.

        Parameters
        ----------
        which
            bool, (pairs,).

        Returns
        -------
        dict
            Recall is hits / pairs; the AUC is the mean of a_i over those that have one.
        """
        users = np.arange(len(self.top_items))
        places = places_of_hits(self.top_items, user_indices=users, relevant=self.relevant)
        hits = np.zeros(len(self.shares))
        hits[places[places >= 0]] = 1
        return {
            f"recall@{self.top_items.shape[1]}": self._pooled(hits, which),
            "auc": self._pooled(np.nan_to_num(self.shares), which & np.isfinite(self.shares)),
            **self._errors_of(which),
        }

    def _errors_of(self, which: NDArray[np.bool_]) -> dict[str, Ratio]:
        if self.errors is None:
            return {}
        return {
            "rmse": self._pooled(np.square(self.errors), which, is_root=True),
            "mae": self._pooled(np.abs(self.errors), which),
        }

    def _pooled(self, values: NDArray[np.float64], which: NDArray[np.bool_], *, is_root: bool = False) -> Ratio:
        """Return the mean of pairs' values as a ratio of sums over users."""
        owners, n_users = self.relevant.owners[which], len(self.top_items)
        return Ratio(
            np.bincount(owners, weights=values[which], minlength=n_users).astype(np.float64),
            np.bincount(owners, minlength=n_users).astype(np.float64),
            is_root=is_root,
        )
