"""Exact top-N by a network, the same bytes however users and items are grouped.

No bound is needed here, as for dot products: one kernel scores all items, and its scores are those returned.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factorbox.models.network import PackedNetwork
from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists
from factorbox.recommend.network_kernels import best_of_listed, best_of_rows, score_pairs, score_rows
from factorbox.recommend.top_n import Rankable, Ranked, Ranking, unfilled_ranking

_BLOCK_SCORES = 4_000_000
_BLOCK_ROWS = 256


class NetworkCandidates:
    """Items that a network ranks (`factorbox.recommend.top_n.Rankable`).

    Parameters
    ----------
    factors
        float32, (items, h1), C-contiguous.
    layers
        The network; see `factorbox.models.network`.
    available
        bool, (items,): what may be ranked at all; None for all.
    """

    def __init__(
        self,
        factors: NDArray[np.float32],
        *,
        layers: Mapping[str, NDArray[np.float32]],
        available: NDArray[np.bool_] | None = None,
    ) -> None:
        self._factors = factors
        self._network = PackedNetwork.of(layers)
        taken_out = np.zeros(len(factors), dtype=np.bool_) if available is None else ~available
        self._unavailable = taken_out if taken_out.any() else np.zeros(0, dtype=np.bool_)
        self._unavailable_items = np.flatnonzero(taken_out).astype(np.int32)
        self._buffers = threading.local()

    def __len__(self) -> int:
        return len(self._factors)

    def block_rows(self, wanted: Ranked) -> tuple[int, int]:
        """Return how many requests a block has at most; see `factorbox.recommend.top_n.Rankable`."""
        return max(1, min(_BLOCK_ROWS, _BLOCK_SCORES // max(1, len(self)))), 1

    def rank_block(self, wanted: Ranked, *, excluded: Lists) -> Ranking:
        """Return the best of all items for the requests of a block; see `factorbox.recommend.top_n.Rankable`."""
        net = self._network
        counts = np.minimum(wanted.counts, len(self))
        scores = self._scores(len(counts))
        found = unfilled_ranking(counts)
        score_rows(
            self._shifted(wanted.factors),
            wanted.biases,
            self._factors,
            net.sizes,
            net.weights,
            net.biases,
            net.output_weights,
            net.output_bias,
            scores,
        )
        best_of_rows(
            scores,
            self._unavailable_items,
            len(self) - len(self._unavailable_items),
            counts,
            excluded.indptr,
            excluded.indices,
            found.indptr,
            found.item_indices,
            found.scores,
        )
        return found.filled()

    def rank_listed(self, wanted: Ranked, *, included: Lists, excluded: Lists) -> Ranking:
        """Return the best of the items that each request lists; see `factorbox.recommend.top_n.Rankable`."""
        net = self._network
        counts = np.minimum(wanted.counts, np.diff(included.indptr))
        found = unfilled_ranking(counts)
        best_of_listed(
            self._shifted(wanted.factors),
            wanted.biases,
            self._factors,
            net.sizes,
            net.weights,
            net.biases,
            net.output_weights,
            net.output_bias,
            self._unavailable,
            counts,
            included.indptr,
            included.indices,
            excluded.indptr,
            excluded.indices,
            found.indptr,
            found.item_indices,
            found.scores,
        )
        return found.filled()

    def pair_scores(
        self,
        user_factors: NDArray[np.float32],
        user_biases: NDArray[np.float32],
        *,
        rows: NDArray[np.int64],
        item_indices: NDArray[np.int32],
    ) -> NDArray[np.float32]:
        """Return the score of each pair; see `factorbox.recommend.top_n.Rankable`."""
        net = self._network
        scores = np.empty(len(item_indices), dtype=np.float32)
        score_pairs(
            self._shifted(user_factors),
            user_biases,
            self._factors,
            rows,
            item_indices,
            net.sizes,
            net.weights,
            net.biases,
            net.output_weights,
            net.output_bias,
            scores,
        )
        return scores

    def _shifted(self, user_factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return p + c_1.  # (rows, h1)."""
        return np.ascontiguousarray(user_factors + self._network.hidden_bias)

    def _scores(self, rows: int) -> NDArray[np.float32]:
        """Return room for the scores of a block, this thread's own and kept.  # (rows, items)."""
        size = rows * len(self)
        buffer: NDArray[np.float32] | None = getattr(self._buffers, "scores", None)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers.scores = np.empty(size, dtype=np.float32)
        return buffer[:size].reshape(rows, len(self))


def candidates_of(
    item_factors: NDArray[np.float32],
    *,
    item_biases: NDArray[np.float32],
    layers: Mapping[str, NDArray[np.float32]],
    available: NDArray[np.bool_] | None = None,
) -> Rankable:
    """Return the items of a model as what can be ranked: by its network, or by dot products where it has none.

    A user's bias, and μ, come with the requests; a network's items have no biases.
    """
    if layers:
        return NetworkCandidates(item_factors, layers=layers, available=available)
    return Candidates(item_factors, item_biases, available=available)
