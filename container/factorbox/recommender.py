"""A model that answers: the Python side of what the server offers over HTTP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.recommend.top_n import ItemMatrix, Ranking, top_n

MEAN_USER = -1
"""The user index that stands for the mean user, who answers for an unknown one."""


class Recommender:
    """Answers requests from a loaded artifact, whose arrays stay mapped."""

    def __init__(self, model: artifact.Artifact) -> None:
        self._model = model
        self._items: ItemMatrix | None = None
        self.user_ids: Ids = model.user_ids
        self.item_ids: Ids = model.item_ids
        self.exclude_seen: bool = bool(model.manifest["hyperparameters"].get("exclude_seen", True))

    @classmethod
    def load(cls, folder: Path) -> Recommender:
        """Check and map a model folder.

        No product is run: a server forks after this, and a product before the fork makes every product after it
        hang.

        Raises
        ------
        PlatformError
            Where the folder holds no sound model.
        """
        return cls(artifact.load(folder))

    def warm_up(self) -> None:
        """Run the first product of this process."""
        self.top_n(np.array([MEAN_USER]), counts=np.ones(1, dtype=np.int64), exclude_seen=np.zeros(1, dtype=np.bool_))

    def top_n(
        self,
        user_indices: NDArray[np.int64],
        *,
        counts: NDArray[np.int64],
        exclude_seen: NDArray[np.bool_],
    ) -> Ranking:
        """Rank items for each of several users.

        Parameters
        ----------
        user_indices
            (requests,): index of the user, or `MEAN_USER`, who has seen nothing.
        counts
            (requests,): how many items are wanted, at least 1; fewer come back where fewer are left.
        exclude_seen
            (requests,): whether the items of the user's training history are left out.
        """
        model = self._model
        known = user_indices != MEAN_USER
        factors = np.where(known[:, None], model.user_factors[user_indices], model.mean_user_factors)
        biases = np.where(known, model.user_biases[user_indices], model.mean_user_bias)
        starts = model.history.indptr[user_indices]
        lengths = np.where(known & exclude_seen, model.history.indptr[user_indices + 1] - starts, 0)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        # Position k of the joined lists stands at starts[r] + (k − indptr[r]) of the history.
        at = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        return top_n(
            self._item_matrix(),
            user_factors=factors,
            user_biases=biases,
            counts=counts,
            excluded_indptr=indptr,
            excluded_items=model.history.indices[at],
        )

    def _item_matrix(self) -> ItemMatrix:
        if self._items is None:
            self._items = ItemMatrix(self._model.item_factors, self._model.item_biases)
        return self._items
