"""What is ranked by dot products: exact, and the same bytes however the users are grouped.

A product of blocks gives other last bits for other sizes, and on other processors, so it only selects candidates: the
top n and every item within twice the float32 error bound of the n-th. What is returned and ordered by is the score of
one dot product with a fixed order of additions. Items go by descending |h| + b, and what |w| |h| + b proves to be below
the n-th best is not multiplied at all (Teflioudi, Gemulla, Mykytiuk 2015, "LEMP").
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.block_kernels import rank_block
from factorbox.recommend.item_tiles import Asking, tiles_of
from factorbox.recommend.lists import Lists
from factorbox.recommend.panel_kernels import fill_scores
from factorbox.recommend.product_kernels import LANES
from factorbox.recommend.top_n import Ranked, Ranking, unfilled_ranking
from factorbox.recommend.top_n_kernels import fixed_order_scores, rank_listed

_BLOCK_ROWS = 256
_BLOCK_CANDIDATES = 1_000_000


class Candidates:
    """What can be ranked by dot products: the items, or for similar users the users.

    Parameters
    ----------
    factors
        float32, (candidates, d), C-contiguous.
    biases
        float32, (candidates,).
    scales
        float64, (candidates,): what each product w·h is multiplied by; None for 1. |h| scale is at most 1.
    available
        bool, (candidates,): what may be ranked at all; None for all.
    """

    def __init__(
        self,
        factors: NDArray[np.float32],
        biases: NDArray[np.float32],
        *,
        scales: NDArray[np.float64] | None = None,
        available: NDArray[np.bool_] | None = None,
    ) -> None:
        self.factors = factors
        self.biases = biases
        self._tiles = tiles_of(factors, biases, scales=scales, available=available)
        self._buffers = threading.local()

    def __len__(self) -> int:
        return len(self.factors)

    def block_scores(self, user_factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (w·h) scale + b in float32, in a buffer of this thread's own.  # (users, candidates).

        The buffer is written over by the next call of the same thread: memory fresh from the system would cost as
        much as the product. These scores may differ from the fixed-order ones in their last bits.
        """
        size = len(user_factors) * len(self)
        buffer: NDArray[np.float32] | None = getattr(self._buffers, "scores", None)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers.scores = np.empty(size, dtype=np.float32)
        scores = buffer[:size].reshape(len(user_factors), len(self))
        fill_scores(np.ascontiguousarray(user_factors), self._tiles, scores)
        return scores

    def block_rows(self, wanted: Ranked) -> tuple[int, int]:
        """Return the largest block, and what a smaller one is a multiple of; see `Rankable`."""
        longest = min(int(wanted.counts.max(initial=1)), len(self))
        return min(_BLOCK_ROWS, max(1, _BLOCK_CANDIDATES // max(1, 2 * longest))), LANES

    def rank_block(self, wanted: Ranked, *, excluded: Lists) -> Ranking:
        """Return the best of all candidates for the requests of a block; see `Rankable`."""
        w = np.ascontiguousarray(wanted.factors)
        scaled = w if wanted.scales is None else (w * wanted.scales[:, None]).astype(np.float32)
        asking = Asking(
            factors=w,
            biases=wanted.biases,
            counts=np.minimum(wanted.counts, len(self)),
            scales=wanted.kernel_scales,
            product_factors=scaled,
        )
        found = unfilled_ranking(asking.counts)
        rank_block(
            asking,
            self._tiles,
            excluded.indptr,
            excluded.indices,
            found.indptr,
            found.item_indices,
            found.scores,
        )
        return found.filled()

    def rank_listed(self, wanted: Ranked, *, included: Lists, excluded: Lists) -> Ranking:
        """Return the best of the candidates that each request lists; see `Rankable`."""
        counts = np.minimum(wanted.counts, np.diff(included.indptr))
        found = unfilled_ranking(counts)
        rank_listed(
            np.ascontiguousarray(wanted.factors),
            wanted.biases,
            wanted.kernel_scales,
            self.factors,
            self.biases,
            self._tiles.scales,
            self._tiles.unavailable,
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
        """Return the fixed-order score of each pair; see `Rankable`."""
        scores = np.empty(len(item_indices), dtype=np.float32)
        fixed_order_scores(
            np.ascontiguousarray(user_factors),
            user_biases,
            self.factors,
            self.biases,
            rows,
            item_indices,
            scores,
        )
        return scores
