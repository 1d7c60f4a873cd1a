"""Explanations: what each item of a history adds to the score of an item (Hu, Koren, Volinsky 2008, section 5).

The row v of a folded-in user solves A v = g + Σ_{k∈S} c_k t_k x_k (`factorbox.models.base.RowSystem`), so the score of
item i is a sum over the history:

    score(i) = x_i·v + offset_i = baseline_i + Σ_{k∈S} impact_ik,
    impact_ik = x_iᵀ A⁻¹ x_k c_k t_k,    baseline_i = offset_i + x_iᵀ A⁻¹ g

The influence of history item k is its impact per unit of the value that the model fits (Rastegarpanah, Crovella,
Gummadi 2017). Implicit models fit the value 1 whatever the count, which only sets the confidence c_k: influence and
impact are equal. The least-squares target t_k that stands in for a sampled loss is part of the influence. Both have
signs.

Only m × m systems are solved, one factorization a request: A⁻¹ x_i for each explained item, then a dot product with
each item of the history.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.base import RowSystem
from factorbox.recommend.answers import Explanations
from factorbox.recommend.fold_in import check_solved
from factorbox.recommend.lists import starts_of
from factorbox.recommend.row_kernels import explain_rows, find_own
from factorbox.recommend.top_n import Ranking


def explain(system: RowSystem, *, histories: Rows, ranking: Ranking, counts: NDArray[np.int64]) -> Explanations:
    """Return the history items with the largest impact on each item of a ranking.

    Parameters
    ----------
    system
        The algorithm's problem.
    histories
        The history of each request: distinct items, ascending, with weights > 0. Without items there are no reasons.
    ranking
        The items to explain. A negative index is an unknown item: baseline NaN, no reasons.
    counts
        int64, (requests,): the most reasons for each item of a request; 0 for no explanation at all.

    Returns
    -------
    Explanations
        An explained item that stands in the history is not among its own reasons. Other requests in the call do not
        change a byte.

    Raises
    ------
    AlgorithmError
        See `factorbox.recommend.fold_in.fold_in`.
    """
    explained = ranking.item_indices
    rows = np.diff(ranking.indptr)
    wanted = np.repeat(counts, rows)
    wanted[explained < 0] = 0
    own = np.empty(len(explained), dtype=np.int64)
    find_own(histories.indptr, histories.indices, ranking.indptr, explained, own)
    indptr = starts_of(np.minimum(wanted, np.repeat(histories.counts, rows) - (own >= 0)).clip(min=0))
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    impacts = np.empty(indptr[-1], dtype=np.float32)
    baselines = np.where(wanted > 0, system.offsets[explained], np.float32(np.nan))
    own_impacts = np.full(len(explained), np.nan, dtype=np.float32)
    terms = system.terms(histories)
    failed = explain_rows(
        histories.indptr,
        histories.indices,
        terms.c,
        terms.f * terms.p,
        system.item_factors,
        system.gram,
        system.constant,
        system.penalties(histories.counts),
        ranking.indptr,
        explained,
        own,
        indptr,
        item_indices,
        impacts,
        baselines,
        own_impacts,
    )
    check_solved(failed)
    return Explanations(
        indptr=indptr,
        item_indices=item_indices,
        influences=impacts,
        impacts=impacts,
        baselines=baselines,
        own_impacts=own_impacts,
    )
