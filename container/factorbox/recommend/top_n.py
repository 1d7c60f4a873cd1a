"""Exact top-N for a block of users, the same bytes however the users are grouped.

What is ranked says by itself how a block of requests is scored: `Rankable`. What is returned and ordered by is a score
with a fixed order of additions; ties go to the smaller item index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.lists import Lists, starts_of

_LEAST_BLOCKS = 8
"""What few requests are cut into at least, so that threads share them."""


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

    def block_rows(self, wanted: Ranked) -> tuple[int, int]:
        """Return how many requests a block has at most, and what the size of a smaller block is a multiple of."""
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
    most, together = candidates.block_rows(wanted)
    share = -(-len(wanted.factors) // _LEAST_BLOCKS)
    rows = min(most, -(-share // together) * together)

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
    if len(parts) == 1:
        return parts[0]
    lengths = [np.diff(part.indptr) for part in parts]
    return Ranking(
        indptr=starts_of(np.concatenate([np.zeros(0, np.int64), *lengths])),
        item_indices=np.concatenate([np.zeros(0, np.int32), *(part.item_indices for part in parts)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
    )
