"""Exact top-N for a block of users, the same bytes however the users are grouped.

What is ranked says by itself how a block of requests is scored: `Rankable`. For dot products, `Candidates`, a block
product gives other last bits for other block sizes, so it only selects candidates: the top n and every item within
twice the float32 error bound of the n-th. What is returned and ordered by is the score of one dot kernel with a fixed
order of additions; ties go to the smaller item index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.recommend.lists import Lists, starts_of
from factorbox.recommend.top_n_kernels import fixed_order_scores, rank_listed, select_rows

_BLOCK_SCORES = 4_000_000
_BLOCK_ROWS = 256
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, eq=False)
class Ranking:
    """Items, or users, for each of several requests, best first.

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

    def filled(self) -> Ranking:
        """Return what a kernel has filled of an `unfilled_ranking`."""
        end = self.indptr[-1]
        return Ranking(self.indptr, self.item_indices[:end], self.scores[:end])


def unfilled_ranking(counts: NDArray[np.int64]) -> Ranking:
    """Return room for so many candidates of each request, for a kernel to fill."""
    size = int(counts.sum())
    return Ranking(
        indptr=np.zeros(len(counts) + 1, dtype=np.int64),
        item_indices=np.empty(size, dtype=np.int32),
        scores=np.empty(size, dtype=np.float32),
    )


@dataclass(frozen=True, eq=False)
class Ranked:
    """Whose rankings are wanted, and how long.

    Attributes
    ----------
    factors, biases
        float32, (requests, d) and (requests,): one row a request.
    counts
        int64, (requests,): how many candidates are wanted; fewer come back where fewer are left.
    scales
        float64, (requests,): what each product w·h is multiplied by, with |w| scale at most 1; None where the
        candidates are not scaled.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    counts: NDArray[np.int64]
    scales: NDArray[np.float64] | None = None

    def part(self, which: slice | NDArray[np.int64]) -> Ranked:
        """Return some of the requests."""
        scales = None if self.scales is None else self.scales[which]
        return Ranked(self.factors[which], self.biases[which], self.counts[which], scales)

    @property
    def kernel_scales(self) -> NDArray[np.float64]:
        """The scales as kernels take them: empty where there are none."""
        return np.zeros(0) if self.scales is None else self.scales


class Rankable(Protocol):
    """What can be ranked for somebody: its scores are the same bytes in any block and alone."""

    def __len__(self) -> int:
        """Return the number of candidates."""
        ...

    def rank_block(self, wanted: Ranked, *, excluded: Lists) -> Ranking:
        """Return the best of all candidates for the few requests of a block; see `top_n`."""
        ...

    def rank_listed(self, wanted: Ranked, *, included: Lists, excluded: Lists) -> Ranking:
        """Return the best of the candidates that each request lists; see `top_n_of`."""
        ...

    def pair_scores(
        self,
        user_factors: NDArray[np.float32],
        user_biases: NDArray[np.float32],
        *,
        rows: NDArray[np.int64],
        item_indices: NDArray[np.int32],
    ) -> NDArray[np.float32]:
        """Return the score of each pair; see `scores_of_pairs`."""
        ...


class Candidates:
    """What can be ranked: the items, or for similar users the users.

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
        all_available = available is None or bool(available.all())
        self.factors = factors
        self.biases = biases
        self.scales = np.zeros(0) if scales is None else scales
        self.unavailable = np.zeros(0, dtype=np.bool_) if available is None or all_available else ~available
        self.n_available = len(factors) - int(self.unavailable.sum())
        self._transposed = torch.from_numpy(factors).T
        self._factor_scales = None if scales is None else torch.from_numpy(scales.astype(np.float32))
        # In a block −inf stands for "never": the selection passes over it.
        added = biases if all_available else np.where(self.unavailable, np.float32(-np.inf), biases)
        self._added = torch.from_numpy(added) if added.any() else None
        self._buffers = threading.local()
        self._largest_bias = float(np.abs(biases).max(initial=0.0))
        if scales is None:
            # In float32, since a float64 copy of a large catalogue would cost every worker twice its size; the sum of
            # d squares is off by less than d roundings, which the bound takes up.
            squares = np.einsum("ij,ij->i", factors, factors)  # (candidates,)
            inflation = 1 + factors.shape[1] * _UNIT_ROUNDOFF
            self._largest_norm = float(np.sqrt(np.float64(squares.max(initial=0.0)) * inflation))
        else:
            self._largest_norm = 1.0

    def __len__(self) -> int:
        return len(self.factors)

    def block_scores(self, user_factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (w·h) scale + b by one matrix product, in a buffer of this thread's own.  # (users, candidates).

        The buffer is written over by the next call of the same thread: memory fresh from the system would cost as
        much as the product.
        """
        size = len(user_factors) * len(self)
        buffer: torch.Tensor | None = getattr(self._buffers, "scores", None)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers.scores = torch.empty(size)
        out = buffer[:size].view(len(user_factors), len(self))
        w = torch.from_numpy(user_factors)
        if self._factor_scales is not None:
            torch.mm(w, self._transposed, out=out).mul_(self._factor_scales)
            if self._added is not None:
                out.add_(self._added)
        elif self._added is not None:
            torch.addmm(self._added, w, self._transposed, out=out)
        else:
            torch.mm(w, self._transposed, out=out)
        return np.asarray(out.numpy())

    def error_bounds(self, user_factors: NDArray[np.float32], user_biases: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bound the difference between a block score plus b_u and the fixed-order score.  # (users,).

        |fl(x) − x| ≤ gamma_n (‖w‖ ‖h‖ + |b_i| + |b_u|) with gamma_n = n u / (1 − n u) for any order of n additions
        (Higham 2002, section 3.1); n counts the d products, the scaling of both sides, both biases and the rounding of
        the result.
        """
        n = self.factors.shape[1] + 8
        gamma = n * _UNIT_ROUNDOFF / (1 - n * _UNIT_ROUNDOFF)
        norms = np.sqrt(np.square(user_factors, dtype=np.float64).sum(axis=1))
        return np.asarray(gamma * (norms * self._largest_norm + self._largest_bias + np.abs(user_biases)))

    def rank_block(self, wanted: Ranked, *, excluded: Lists) -> Ranking:
        """Return the best of all candidates for the requests of a block; see `Rankable`."""
        w = np.ascontiguousarray(wanted.factors)
        scaled = w if wanted.scales is None else (w * wanted.scales[:, None]).astype(np.float32)
        counts = np.minimum(wanted.counts, len(self))
        found = unfilled_ranking(counts)
        select_rows(
            self.block_scores(scaled),
            self.n_available,
            w,
            wanted.biases,
            wanted.kernel_scales,
            self.factors,
            self.biases,
            self.scales,
            counts,
            2 * self.error_bounds(scaled, wanted.biases),
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
            self.scales,
            self.unavailable,
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


def top_n(
    candidates: Rankable,
    wanted: Ranked,
    *,
    excluded: Lists,
    run: Callable[[Callable[[int], Ranking], Iterable[int]], Iterable[Ranking]] = map,
) -> Ranking:
    """Return the best candidates of each request.

    Parameters
    ----------
    candidates
        What is ranked.
    wanted
        The requests.
    excluded
        Candidates that a request must not get; repeated ones do no harm.
    run
        How to work off the blocks: `map`, or the `map` of `factorbox.threads.Threads`.

    Returns
    -------
    Ranking
        No padding, no excluded candidate, independent of the grouping of the requests.
    """
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_SCORES // max(1, len(candidates))))

    def of_block(start: int) -> Ranking:
        part = wanted.part(slice(start, start + rows))
        bounds = excluded.indptr[start : start + len(part.factors) + 1]
        return candidates.rank_block(part, excluded=Lists(bounds, excluded.indices))

    return joined(run(of_block, range(0, len(wanted.factors), rows)))


def top_n_of(candidates: Rankable, wanted: Ranked, *, included: Lists, excluded: Lists) -> Ranking:
    """Return the best of the candidates that each request lists; see `top_n`.

    Only these are scored, by the same kernel, so that a filter changes no score and no order.
    """
    return candidates.rank_listed(wanted, included=included, excluded=excluded)


def scores_of_pairs(
    candidates: Rankable,
    *,
    user_factors: NDArray[np.float32],
    user_biases: NDArray[np.float32],
    rows: NDArray[np.int64],
    item_indices: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return the fixed-order score of user `rows[r]` with item `item_indices[r]`, NaN for a negative one.  # (rows,).

    Whether an item is available does not matter here.
    """
    return candidates.pair_scores(user_factors, user_biases, rows=rows, item_indices=item_indices)


def joined(rankings: Iterable[Ranking]) -> Ranking:
    """Put the requests of several rankings one after another."""
    parts = list(rankings)
    lengths = [np.diff(part.indptr) for part in parts]
    return Ranking(
        indptr=starts_of(np.concatenate([np.zeros(0, np.int64), *lengths])),
        item_indices=np.concatenate([np.zeros(0, np.int32), *(part.item_indices for part in parts)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
    )
