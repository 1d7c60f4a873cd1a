"""Exact top-N for a block of users, the same bytes however the users are grouped.

A block product gives other last bits for other block sizes, so it only selects candidates: the top n and every item
within twice the float32 error bound of the n-th. What is returned and ordered by is the score of one dot kernel with
a fixed order of additions; ties go to the smaller item index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.recommend.top_n_kernels import fixed_order_scores, select_rows

_BLOCK_SCORES = 4_000_000
_BLOCK_ROWS = 256
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, eq=False)
class Ranking:
    """Items for each of several requests, best first.

    Attributes
    ----------
    indptr
        int64, (requests + 1,): the items of request r stand at `indptr[r]:indptr[r + 1]`.
    item_indices
        int32, (rows,).
    scores
        float32, (rows,): of the fixed-order kernel, descending within a request, ties by item index.
    """

    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    scores: NDArray[np.float32]


class ItemMatrix:
    """The item side of the score product.

    Parameters
    ----------
    factors
        float32, (items, d), C-contiguous.
    biases
        float32, (items,).
    """

    def __init__(self, factors: NDArray[np.float32], biases: NDArray[np.float32]) -> None:
        self.factors = factors
        self.biases = biases
        self._transposed = torch.from_numpy(factors).T
        self._biases = torch.from_numpy(biases) if biases.any() else None
        self._buffers = threading.local()
        # In float32, since a float64 copy of a large catalogue would cost every worker twice its size; the sum of d
        # squares is off by less than d roundings, which the bound takes up.
        squares = np.einsum("ij,ij->i", factors, factors)  # (items,)
        inflation = 1 + factors.shape[1] * _UNIT_ROUNDOFF
        self._largest_norm = float(np.sqrt(np.float64(squares.max(initial=0.0)) * inflation))
        self._largest_bias = float(np.abs(biases).max(initial=0.0))

    def __len__(self) -> int:
        return len(self.factors)

    def block_scores(self, user_factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return w·h_i + b_i by one matrix product, in a buffer of this thread's own.  # (users, items).

        The buffer is written over by the next call of the same thread: memory fresh from the system would cost as
        much as the product.
        """
        size = len(user_factors) * len(self)
        buffer: torch.Tensor | None = getattr(self._buffers, "scores", None)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers.scores = torch.empty(size)
        out = buffer[:size].view(len(user_factors), len(self))
        if self._biases is None:
            torch.mm(torch.from_numpy(user_factors), self._transposed, out=out)
        else:
            torch.addmm(self._biases, torch.from_numpy(user_factors), self._transposed, out=out)
        return np.asarray(out.numpy())

    def error_bounds(self, user_factors: NDArray[np.float32], user_biases: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bound the difference between a block score plus b_u and the fixed-order score.  # (users,).

        |fl(x) − x| ≤ gamma_n (‖w‖ ‖h‖ + |b_i| + |b_u|) with gamma_n = n u / (1 − n u) for any order of n additions
        (Higham 2002, section 3.1); n counts the d products, both biases and the rounding of the result.
        """
        n = self.factors.shape[1] + 4
        gamma = n * _UNIT_ROUNDOFF / (1 - n * _UNIT_ROUNDOFF)
        norms = np.sqrt(np.square(user_factors, dtype=np.float64).sum(axis=1))
        return np.asarray(gamma * (norms * self._largest_norm + self._largest_bias + np.abs(user_biases)))


def top_n(
    items: ItemMatrix,
    *,
    user_factors: NDArray[np.float32],
    user_biases: NDArray[np.float32],
    counts: NDArray[np.int64],
    excluded_indptr: NDArray[np.int64],
    excluded_items: NDArray[np.int32],
    run: Callable[[Callable[[int], Ranking], Iterable[int]], Iterable[Ranking]] = map,
) -> Ranking:
    """Return the best items of each request.

    Parameters
    ----------
    items
        The item side.
    user_factors, user_biases
        float32, (requests, d) and (requests,): one row a request.
    counts
        int64, (requests,): how many items are wanted, at least 1; fewer come back where fewer are left.
    excluded_indptr, excluded_items
        int64, (requests + 1,) and int32: item indices that a request must not get; repeated ones do no harm.
    run
        How to work off the blocks: `map`, or the `map` of `factorbox.threads.Threads`.

    Returns
    -------
    Ranking
        No padding, no excluded item, independent of the grouping of the requests.
    """
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_SCORES // max(1, len(items))))

    def of_block(start: int) -> Ranking:
        part = slice(start, start + rows)
        w = np.ascontiguousarray(user_factors[part])
        b = user_biases[part]
        wanted = np.minimum(counts[part], len(items))
        scores = items.block_scores(w)
        offsets = np.concatenate([[0], np.cumsum(wanted)])
        item_indices = np.empty(offsets[-1], dtype=np.int32)
        exact = np.empty(offsets[-1], dtype=np.float32)
        indptr = np.zeros(len(w) + 1, dtype=np.int64)
        select_rows(
            scores,
            w,
            b,
            items.factors,
            items.biases,
            wanted,
            2 * items.error_bounds(w, b),
            excluded_indptr[start : start + len(w) + 1],
            excluded_items,
            indptr,
            item_indices,
            exact,
        )
        return Ranking(indptr, item_indices[: indptr[-1]], exact[: indptr[-1]])

    return joined(run(of_block, range(0, len(user_factors), rows)))


def scores_of_pairs(
    items: ItemMatrix,
    *,
    user_factors: NDArray[np.float32],
    user_biases: NDArray[np.float32],
    item_indices: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return the fixed-order score of each row of users with the item beside it.  # (rows,)."""
    scores = np.empty(len(item_indices), dtype=np.float32)
    fixed_order_scores(user_factors, user_biases, items.factors, items.biases, item_indices, scores)
    return scores


def joined(rankings: Iterable[Ranking]) -> Ranking:
    """Put the requests of several rankings one after another."""
    parts = list(rankings)
    lengths = [np.diff(part.indptr) for part in parts]
    return Ranking(
        indptr=np.concatenate([[0], *lengths]).cumsum().astype(np.int64),
        item_indices=np.concatenate([np.zeros(0, np.int32), *(part.item_indices for part in parts)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
    )
